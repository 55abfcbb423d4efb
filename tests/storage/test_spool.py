"""Uploads on their way: small ones in memory, large ones in an unlinked file, all under one quota."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.errors import Overloaded
from proxy.storage.spool import MEMORY_BYTES, Spool, SpoolRoom


@pytest.fixture
def room(tmp_path: Path) -> Iterator[SpoolRoom]:
    room = SpoolRoom(limit=16 * MEMORY_BYTES, directory=str(tmp_path))
    yield room
    room.close()


async def fill(spool: Spool, *pieces: bytes) -> None:
    for piece in pieces:
        spool.write(memoryview(piece))
        await spool.settle()
    await spool.finish("a.wav", "audio/wav")


async def read(spool: Spool) -> bytes:
    return b"".join([bytes(chunk) async for chunk in spool.chunks()])


def test_a_small_upload_touches_no_disk(room: SpoolRoom, tmp_path: Path) -> None:
    async def main() -> None:
        spool = room.open()
        await fill(spool, b"ab", b"cd")
        assert (spool.fileno(), await read(spool), spool.getbuffer()) == (None, b"abcd", b"abcd")
        spool.close()

    asyncio.run(main())
    assert not list(tmp_path.iterdir())


def test_a_large_upload_lies_in_an_unlinked_file_of_mode_0600(room: SpoolRoom, tmp_path: Path) -> None:
    async def main() -> None:
        spool = room.open()
        content = os.urandom(3 * MEMORY_BYTES + 17)
        await fill(spool, *(content[at : at + 70_000] for at in range(0, len(content), 70_000)))
        descriptor = spool.fileno()
        assert descriptor is not None
        found = os.fstat(descriptor)
        assert (found.st_nlink, stat.S_IMODE(found.st_mode), found.st_size) == (0, 0o600, len(content))
        assert not os.listdir(tmp_path)
        assert await read(spool) == content
        assert await read(spool) == content, "it can be read again from the beginning"
        spool.close()

    asyncio.run(main())


def test_the_quota_counts_all_spools_and_is_given_back(room: SpoolRoom) -> None:
    async def main() -> None:
        first, second = room.open(), room.open()
        await fill(first, bytes(15 * MEMORY_BYTES))
        with pytest.raises(Overloaded) as caught:
            await fill(second, bytes(2 * MEMORY_BYTES))
        assert (caught.value.status, caught.value.retry_after) == (503, 5)
        first.close()
        first.close()
        await fill(second, bytes(2 * MEMORY_BYTES))
        assert room.used == 2 * MEMORY_BYTES
        second.close()
        assert room.used == 0

    asyncio.run(main())


def test_a_full_disk_is_503(room: SpoolRoom, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("proxy.storage.spool._write_all", full)

    async def main() -> None:
        spool = room.open()
        with pytest.raises(Overloaded, match="cannot store"):
            await fill(spool, bytes(2 * MEMORY_BYTES))
        spool.close()

    asyncio.run(main())


def test_a_missing_folder_is_503() -> None:
    async def main() -> None:
        room = SpoolRoom(limit=16 * MEMORY_BYTES, directory="/does/not/exist")
        spool = room.open()
        with pytest.raises(Overloaded):
            await fill(spool, bytes(2 * MEMORY_BYTES))
        spool.close()
        room.close()

    asyncio.run(main())


def test_closing_while_a_thread_writes_closes_the_file_after_it(room: SpoolRoom) -> None:
    async def main() -> None:
        spool = room.open()
        await fill(spool, bytes(2 * MEMORY_BYTES))
        descriptor = spool.fileno()
        assert descriptor is not None
        spool.write(memoryview(bytes(8 * MEMORY_BYTES)))
        writing = asyncio.create_task(spool.settle())
        await asyncio.sleep(0)
        writing.cancel()
        spool.close()
        await asyncio.gather(writing, return_exceptions=True)
        await asyncio.to_thread(room.close)

    asyncio.run(main())


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, MEMORY_BYTES), max_size=8), st.randoms())
def test_any_pieces_come_back_as_they_were(sizes: list[int], random: object) -> None:
    async def main() -> None:
        room = SpoolRoom(limit=64 * MEMORY_BYTES)
        spool = room.open()
        pieces = [bytes([index]) * size for index, size in enumerate(sizes)]
        await fill(spool, *pieces)
        assert await read(spool) == b"".join(pieces)
        assert spool.size == sum(sizes)
        spool.close()
        room.close()

    asyncio.run(main())
