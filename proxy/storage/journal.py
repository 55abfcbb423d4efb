"""Records on the local disk, on their way to a database: what was appended survives the death of the process.

Each process appends to segments of its own in a folder that all share, and holds a lock while it lives. A segment is
closed, read, and deleted once its records are safe elsewhere; whoever finds the segments of a dead process (its lock is
free) does that in its place. A record may so be read twice, never not at all: whoever stores it tells by its id.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

LOCK = ".lock"
SEGMENT = ".log"
#: macOS has no fdatasync.
_sync = getattr(os, "fdatasync", os.fsync)
#: Bytes of a segment that is closed for its size.
LARGE = 8 * 1024 * 1024
#: Bytes of a segment that are read at once.
BLOCK = 512 * 1024


@dataclass(frozen=True, slots=True)
class JournalSegment:
    """A file that nobody appends to any more."""

    path: Path

    def blocks(self) -> Iterator[list[bytes]]:
        """The records, some at a time; without the last one where the machine died in the middle of it."""
        with self.path.open("rb") as file:
            rest = b""
            while block := file.read(BLOCK):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    yield whole.split(b"\n")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)


class Journal:
    """The segments of this process. ``power``: `settled` waits for the disk, and not only for the system's cache."""

    def __init__(self, directory: Path, *, power: bool = False) -> None:
        self._directory = directory
        self.power = power
        #: Names the segments of this process, and no other's.
        self.owner = secrets.token_hex(8)
        self._number = 0
        self._lock: int | None = None
        self._file: int | None = None
        self._open_bytes = 0
        #: Segments that are closed and not deleted, oldest first, and their bytes.
        self._closed: dict[Path, int] = {}
        #: Bytes that this process has appended and nobody has deleted.
        self.size = 0
        #: Records appended, and those of them that are on the disk; files that were closed before they were.
        self._appended = self._synced = 0
        self._unsynced: list[int] = []
        #: The folder has a file that a power cut might make it forget.
        self._is_new = False
        self._syncing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Raises OSError where the folder cannot be written."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            lock = os.open(self._directory / f"{self.owner}{LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                break
            # Another process took the new file for a dead one's, before it was locked.
            os.close(lock)
        self._lock = lock

    def append(self, record: bytes) -> None:
        """One line, without its end. Raises OSError, and nothing of the record stays, where the disk is full."""
        file = self._file if self._file is not None else self._begin()
        line = record + b"\n"
        if os.write(file, line) != len(line):
            os.ftruncate(file, self._open_bytes)
            raise OSError("the disk is full")
        self._open_bytes += len(line)
        self.size += len(line)
        self._appended += 1
        if self._open_bytes >= LARGE:
            self.rotate()

    def _begin(self) -> int:
        self._number += 1
        self._file = os.open(self._segment(), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._is_new = True
        return self._file

    def _segment(self) -> Path:
        return self._directory / f"{self.owner}-{self._number:08}{SEGMENT}"

    async def settled(self) -> None:
        """Returns when what was appended up to now is as safe as promised; those who wait share one sync.

        Raises OSError where the disk refuses.
        """
        mine = self._appended
        while self.power and self._synced < mine:
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        closed, self._unsynced = self._unsynced, []
        files = [*closed, *([os.dup(self._file)] if self._file is not None else [])]
        upto, self._is_new, is_new = self._appended, False, self._is_new
        try:
            await asyncio.to_thread(_sync_all, files, self._directory if is_new else None)
            self._synced = max(self._synced, upto)
        finally:
            self._syncing = None

    def rotate(self) -> None:
        """Close the segment that is appended to, if there is anything in it."""
        if self._file is None or not self._open_bytes:
            return
        if self.power and self._synced < self._appended:
            self._unsynced.append(self._file)
        else:
            os.close(self._file)
        self._file = None
        self._closed[self._segment()] = self._open_bytes
        self._open_bytes = 0

    def closed(self) -> list[JournalSegment]:
        """This process's, oldest first."""
        return [JournalSegment(path) for path in self._closed]

    def done(self, segment: JournalSegment) -> None:
        """Its records are safe elsewhere."""
        segment.delete()
        self.size -= self._closed.pop(segment.path, 0)

    @contextmanager
    def orphans(self) -> Iterator[list[JournalSegment]]:
        """The segments of dead processes, which are this process's until the end of the block."""
        found: list[JournalSegment] = []
        locks: list[tuple[Path, int]] = []
        try:
            for path in sorted(self._directory.glob(f"*{LOCK}")):
                if path.stem == self.owner or (lock := _taken(path)) is None:
                    continue
                locks.append((path, lock))
                found += map(JournalSegment, sorted(self._directory.glob(f"{path.stem}-*{SEGMENT}")))
            yield found
        finally:
            for path, lock in locks:
                if not any(self._directory.glob(f"{path.stem}-*{SEGMENT}")):
                    path.unlink(missing_ok=True)
                os.close(lock)

    def close(self) -> None:
        """Give the folder back; segments that are left are for whoever comes next."""
        self.rotate()
        if self._file is not None:  # with nothing in it
            os.close(self._file)
            self._file = None
            self._segment().unlink(missing_ok=True)
        _sync_all(self._unsynced)
        self._unsynced = []
        if self._lock is None:
            return
        if not self._closed:
            (self._directory / f"{self.owner}{LOCK}").unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None


def _sync_all(files: list[int], folder: Path | None = None) -> None:
    """To the disk, and closed; of the folder, the names of its files."""
    try:
        for file in files:
            _sync(file)
        if folder is not None:
            files = [*files, os.open(folder, os.O_RDONLY)]
            os.fsync(files[-1])
    finally:
        for file in files:
            os.close(file)


def _taken(path: Path) -> int | None:
    """The lock of a process that is dead; None where it lives, or where another one was faster."""
    try:
        lock = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    if os.fstat(lock).st_nlink == 0:
        os.close(lock)
        return None
    return lock
