"""Uploads in transit: small ones in memory, larger ones in an unlinked temporary file, all under one quota.

Disk work runs in separate threads, in large pieces, so that a slow disk stalls one upload and not the server.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import IO, Any, TypeVar, cast

from proxy.audio.labels import label
from proxy.errors import Overloaded, Saturated

#: Bytes of an upload that stay in memory before it goes to the disk.
MEMORY_BYTES = 1 << 20
#: Bytes of one read or write of the disk.
IO_BYTES = 1 << 19
#: Pieces with fewer bytes are joined: each one by itself would cost more memory than its content.
SMALL_BYTES = 1 << 14

T = TypeVar("T")


class SpoolRoom:
    """The quota of all spools of this process, and the threads that write them."""

    def __init__(self, *, limit: int, directory: str | None = None, threads: int = 4) -> None:
        self.limit = limit
        self.directory = directory
        #: Bytes held by open spools, in memory and on disk.
        self.used = 0
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="spool")

    def open(self) -> Spool:
        return Spool(self)

    def reserve(self, size: int) -> None:
        """Raises Overloaded if the quota would be exceeded."""
        if self.used + size > self.limit:
            raise Overloaded(
                "The server has no room for another upload right now. Please try again.",
                retry_after=5,
                detail=f"spool_limit_mb reached: {self.used} of {self.limit} bytes in use",
            )
        self.used += size

    def submit(self, work: Callable[[], T]) -> Future[T]:
        return self._threads.submit(work)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class Spool:
    """One upload. ``write`` takes bytes immediately; ``settle`` moves them to the disk if there are too many."""

    def __init__(self, room: SpoolRoom) -> None:
        #: True to the bytes, once the upload is finished.
        self.filename = self.content_type = ""
        self.container: str | None = None
        self.size = 0
        self._room = room
        #: What is in memory, with small pieces joined, and how many bytes it has.
        self._pieces: list[memoryview | bytearray] = []
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._job: Future[Any] | None = None
        self._closed = False

    def write(self, data: memoryview) -> None:
        """Stores ``data`` without a copy. Raises Overloaded if the quota is exceeded."""
        size = len(data)
        self._room.reserve(size)
        self.size += size
        self._in_memory += size
        if size >= SMALL_BYTES:
            self._pieces.append(data)
        elif self._pieces and isinstance(self._pieces[-1], bytearray):
            self._pieces[-1] += data
        else:
            self._pieces.append(bytearray(data))

    async def settle(self) -> None:
        """Await it between writes. Raises Overloaded if the disk is full."""
        if self._in_memory > (MEMORY_BYTES if self._file is None else IO_BYTES):
            await self._flush()

    async def finish(self, filename: str, content_type: str) -> None:
        """Await it after the last write. If there is a file, all of it is in there then.

        The upload gets a true label; the client's ``filename`` and ``content_type`` stay where they are true.
        """
        if self._file is not None and self._pieces:
            await self._flush()
        self.filename, self.content_type, self.container = label(self.read_at, filename, content_type)

    async def chunks(self) -> AsyncIterator[bytes]:
        if self._file is None:
            for piece in self._pieces:
                # The buffer is no longer modified, so it can serve as bytes; a copy would cost memory bandwidth.
                yield cast(bytes, piece)
            return
        descriptor, offset = self._file.fileno(), 0
        while offset < self.size:
            try:
                block = await self._in_thread(partial(os.pread, descriptor, IO_BYTES, offset))
            except OSError as error:
                raise _unreadable(error) from error
            if not block:
                raise Saturated("The server cannot read the upload back.", detail="spool: the file is too short")
            offset += len(block)
            yield block

    def read_at(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``. Await `finish` before."""
        if self._file is not None:
            try:
                return os.pread(self._file.fileno(), size, offset)
            except OSError as error:
                raise _unreadable(error) from error
        found = bytearray()
        for piece in self._pieces:
            found += piece[offset : offset + size - len(found)]
            offset = max(0, offset - len(piece))
            if len(found) == size:
                break
        return bytes(found)

    def fileno(self) -> int | None:
        """The descriptor of the temporary file; None while the upload is in memory."""
        return self._file.fileno() if self._file is not None else None

    def getbuffer(self) -> memoryview | bytearray:
        """What is in memory: the whole upload, if ``fileno`` is None."""
        if len(self._pieces) != 1:
            self._pieces = [bytearray().join(self._pieces)]
        return self._pieces[0]

    def close(self) -> None:
        """Release memory, disk and quota. May be called again, and while a thread still works on the file."""
        if self._closed:
            return
        self._closed = True
        self._room.used -= self.size
        self._pieces = []
        if self._file is None:
            return
        if self._job is not None and not self._job.done():
            file = self._file
            self._job.add_done_callback(lambda _: file.close())
        else:
            self._file.close()

    async def _flush(self) -> None:
        pieces, self._pieces, self._in_memory = self._pieces, [], 0
        try:
            if self._file is None:
                self._file = await self._in_thread(self._open_file)
            file = self._file
            await self._in_thread(partial(_write_all, file, pieces))
        except OSError as error:
            raise Overloaded(
                "The server cannot store the upload right now. Please try again.",
                retry_after=5,
                detail=f"spool: {error}",
            ) from error

    def _open_file(self) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=self._room.directory, prefix="audio-proxy-", buffering=0)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        job = self._job = self._room.submit(work)
        return await asyncio.wrap_future(job)


def _unreadable(error: OSError) -> Saturated:
    return Saturated("The server cannot read the upload back.", detail=f"spool: {error}")


def _write_all(file: IO[bytes], pieces: list[memoryview | bytearray]) -> None:
    for piece in pieces:
        view = memoryview(piece)
        while view:
            view = view[file.write(view) :]
