"""Uploads that mean harm, or are merely broken: each is refused or bounded, and the pool serves the next caller."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import tempfile
from pathlib import Path
from typing import Any

import av
import pytest

from proxy.audio.codec import decode
from proxy.audio.limits import Limits
from proxy.audio.pool import WorkerPool
from proxy.audio.probe import AudioInfo, probe
from proxy.audio.source import READABLE
from proxy.errors import InvalidAudio
from tests.audio import sounds
from tests.audio.conftest import WithPool, proc_file

SPEECH = sounds.pcm(2)


async def refused(pool: WorkerPool, data: bytes, **options: Any) -> str:
    """What `decode` says; the pool must be well afterwards."""
    with pytest.raises(InvalidAudio) as caught:
        async for _ in decode(pool, data, **options):
            pass
    assert (await probe(pool, sounds.wav(SPEECH))).duration == 2
    return caught.value.message


def playlists(secret: Path) -> dict[str, bytes]:
    return {
        "ffconcat": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile://{secret}\n#EXT-X-ENDLIST\n".encode(),
        "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
        "dash": f"<?xml version='1.0'?><MPD><BaseURL>file://{secret}</BaseURL></MPD>".encode(),
        "json": b'{"error": "no audio"}',
    }


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """Another file of the host, which FFmpeg could well read."""
    path = tmp_path / "secret.wav"
    path.write_bytes(sounds.wav(SPEECH))
    return path


def test_playlists_are_refused_whatever_they_are_called(warm_pool: WithPool, secret: Path) -> None:
    with av.open(io.BytesIO(playlists(secret)["ffconcat"]), "r", options={"safe": "0"}) as attack:
        assert sum(frame.samples for frame in attack.decode(audio=0)) == 48_000  # it would read the secret

    async def test(pool: WorkerPool) -> None:
        for text in playlists(secret).values():
            with tempfile.NamedTemporaryFile(suffix=".wav") as file:
                file.write(text)
                file.flush()
                with pytest.raises(InvalidAudio, match="not audio"):
                    await probe(pool, file.fileno())
            assert "not audio" in await refused(pool, text)

    warm_pool(test)


def test_the_workers_do_not_rely_on_the_magic_bytes(warm_pool: WithPool, secret: Path) -> None:
    async def test(pool: WorkerPool) -> None:
        async def every_container(text: bytes) -> None:
            for container in (*READABLE, "concat", "hls", "sdp"):
                job = {"op": "decode", "container": container, "rate": 16_000}
                output = pool.run(job, fault=InvalidAudio, source=text + bytes(5000))
                with pytest.raises(InvalidAudio):
                    await anext(output)

        await asyncio.gather(*map(every_container, playlists(secret).values()))

    warm_pool(test)


def test_a_movie_cannot_name_other_files(warm_pool: WithPool, tmp_path: Path) -> None:
    secret = tmp_path / "secret.raw"
    secret.write_bytes(SPEECH)
    movie = sounds.mov_that_names(str(secret).encode(), len(SPEECH) // 2)
    allowing = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(io.BytesIO(movie), "r", format="mov", options=allowing) as attack:
        assert b"".join(bytes(packet) for packet in attack.demux(audio=0)) == SPEECH  # the attack is a real one

    async def test(pool: WorkerPool) -> None:
        assert "no audio" in await refused(pool, movie)
        with pytest.raises(InvalidAudio):
            await probe(pool, movie)

    warm_pool(test)


def test_an_upload_may_not_be_written(with_pool: WithPool) -> None:
    """The descriptor that a worker gets may be open for writing; the worker's own limit on file sizes is zero."""

    async def test(pool: WorkerPool) -> None:
        await probe(pool, sounds.wav(SPEECH))
        (worker,) = pool._idle
        limits = proc_file(worker.process.pid, "limits").decode()
        shown = {line[:25].strip(): line[25:].split()[:2] for line in limits.splitlines()}
        assert shown["Max file size"] == ["0", "0"]
        assert shown["Max core file size"] == ["0", "0"]
        assert shown["Max open files"] == ["4", "4"]
        assert shown["Max address space"] == [str(pool.limits.memory_bytes)] * 2
        assert shown["Max cpu time"][0] != "unlimited"

    with_pool(test)


def test_ten_hours_of_silence_in_three_megabytes(with_pool: WithPool) -> None:
    bomb = sounds.aac_silence(36_000)

    async def test(pool: WorkerPool) -> None:
        assert (await probe(pool, bomb)).duration == pytest.approx(36_000, rel=0.001)
        assert "longer than 60 seconds" in await refused(pool, bomb, max_seconds=60)
        assert pool.workers == 1  # a refusal is no reason to start another one

    with_pool(test)


def test_the_pools_own_bound_on_decoding(with_pool: WithPool) -> None:
    bomb = sounds.flac_silence(3600)
    assert len(bomb) < 20_000

    async def test(pool: WorkerPool) -> None:
        assert "longer than 600 seconds" in await refused(pool, bomb, max_seconds=10**6)

    with_pool(test, limits=Limits(decoded_seconds=600))


def test_cpu_time_is_bounded(with_pool: WithPool) -> None:
    bomb = sounds.aac_silence(360_000)

    async def test(pool: WorkerPool) -> None:
        assert "limits" in await refused(pool, bomb)

    with_pool(test, limits=Limits(cpu_seconds=1, decoded_seconds=1e9))


def test_too_many_channels_and_too_high_a_rate(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        for data in (sounds.wav(bytes(128_000), channels=64), sounds.wav(bytes(1800), channels=9)):
            assert "channels" in await refused(pool, data)
        assert "sample rate" in await refused(pool, sounds.wav(SPEECH, rate=1_000_000))
        eight = await probe(pool, sounds.wav(bytes(16_000), channels=8, rate=1000))
        assert (eight.channels, eight.duration) == (8, 1)

    warm_pool(test)


def test_empty_files_and_bare_headers(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        assert await refused(pool, b"") == "The file is empty."
        with tempfile.TemporaryFile() as file, pytest.raises(InvalidAudio, match="empty"):
            await probe(pool, file.fileno())
        for begin in (
            b"ID3",
            b"OggS",
            b"fLaC",
            b"RIFF",
            b"\x1a\x45\xdf\xa3",
            b"\0\0\0\x10ftypM4A ",
            b"\xff\xf1",
            b"caff",
        ):
            await refused(pool, begin)
            await refused(pool, begin + bytes(3000))
            await refused(pool, begin + random.Random(1).randbytes(70_000))
        with pytest.raises(InvalidAudio, match="no audio"):
            await probe(pool, sounds.wav(b""))

    warm_pool(test)


def test_truncated_and_damaged_files(warm_pool: WithPool) -> None:
    """Each ends in audio or in InvalidAudio, never in a stuck or a broken pool."""
    chance = random.Random(7)

    async def outcome(pool: WorkerPool, data: bytes) -> None:
        with contextlib.suppress(InvalidAudio):
            info = await probe(pool, data)
            assert isinstance(info, AudioInfo)
            async for _ in decode(pool, data, max_seconds=30):
                pass

    async def test(pool: WorkerPool) -> None:
        for name in sounds.FILES:
            whole = sounds.file(name, SPEECH)
            await outcome(pool, whole[: len(whole) // 2])
            for _ in range(4):
                damaged = bytearray(whole)
                for _ in range(20):
                    damaged[chance.randrange(min(len(damaged), 4000))] = chance.randrange(256)
                await outcome(pool, bytes(damaged))
        half = await probe(pool, sounds.file("mp3 without a header", SPEECH)[:8000])
        assert half.duration == pytest.approx(1, rel=0.1)
        assert (await probe(pool, sounds.wav(SPEECH))).duration == 2

    warm_pool(test)
