"""Records on the local disk, on their way to a database. An appended record survives the death of the process.

Each process appends to its own segments in a shared folder, and holds a lock while it lives. A segment is closed,
read, and deleted once its records are stored elsewhere; a process that finds the segments of a dead one (whose lock is
free) does so in its place. A record may thus be read twice, but is always read: its reader recognises it by its id.
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
_fdatasync = os.fdatasync if hasattr(os, "fdatasync") else os.fsync
#: A segment that has so many bytes is closed.
MAX_SEGMENT_BYTES = 8 * 1024 * 1024
#: Bytes of a segment that are read at once.
BLOCK_BYTES = 512 * 1024


@dataclass(frozen=True, slots=True)
class JournalSegment:
    """A closed file."""

    path: Path

    def blocks(self) -> Iterator[list[bytes]]:
        """The records, some at a time; without the last one if the machine died while it was written."""
        with self.path.open("rb") as file:
            rest = b""
            while block := file.read(BLOCK_BYTES):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                if newline:
                    yield whole.split(b"\n")

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)


class Journal:
    """The segments of this process. ``power``: `sync` waits for the disk, and not only for the system's cache."""

    def __init__(self, directory: Path, *, power: bool = False) -> None:
        self._directory = directory
        self.needs_sync = power
        #: The prefix of this process's file names, which no other process has.
        self.owner = secrets.token_hex(8)
        self._number = 0
        self._lock: int | None = None
        self._file: int | None = None
        self._open_bytes = 0
        #: Segments that are closed and not deleted, the oldest first, and their bytes.
        self._closed: dict[Path, int] = {}
        #: Bytes of this process's segments, the open one included.
        self.size = 0
        #: How many records were appended, and how many of them are on the disk; files that were closed before that.
        self._appended = self._synced = 0
        self._unsynced: list[int] = []
        #: The folder has a new file, whose name may not be on the disk yet.
        self._is_folder_dirty = False
        self._syncing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Raises OSError if the folder cannot be written."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            lock = os.open(self._directory / f"{self.owner}{LOCK}", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                break
            # Another process took the new file for a dead process's and removed it before it was locked.
            os.close(lock)
        self._lock = lock

    def append(self, record: bytes) -> None:
        """One line, without its newline. Raises OSError if the disk is full, and then stores nothing of the record."""
        file = self._file if self._file is not None else self._begin()
        line = record + b"\n"
        if os.write(file, line) != len(line):
            os.ftruncate(file, self._open_bytes)
            raise OSError("the disk is full")
        self._open_bytes += len(line)
        self.size += len(line)
        self._appended += 1
        if self._open_bytes >= MAX_SEGMENT_BYTES:
            self.rotate()

    def _begin(self) -> int:
        self._number += 1
        self._file = os.open(self._segment(), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        self._is_folder_dirty = True
        return self._file

    def _segment(self) -> Path:
        return self._directory / f"{self.owner}-{self._number:08}{SEGMENT}"

    async def sync(self) -> None:
        """Returns when what was appended up to now is as safe as promised; those who wait share one sync.

        Raises OSError if the disk fails.
        """
        target = self._appended
        while self.needs_sync and self._synced < target:
            if self._syncing is None:
                self._syncing = asyncio.ensure_future(self._sync_once())
            await asyncio.shield(self._syncing)

    async def _sync_once(self) -> None:
        closed, self._unsynced = self._unsynced, []
        files = [*closed, *([os.dup(self._file)] if self._file is not None else [])]
        appended, self._is_folder_dirty, is_folder_dirty = self._appended, False, self._is_folder_dirty
        try:
            await asyncio.to_thread(_sync_and_close, files, self._directory if is_folder_dirty else None)
            self._synced = max(self._synced, appended)
        finally:
            self._syncing = None

    def rotate(self) -> None:
        """Close the open segment, unless it is empty."""
        if self._file is None or not self._open_bytes:
            return
        if self.needs_sync and self._synced < self._appended:
            self._unsynced.append(self._file)
        else:
            os.close(self._file)
        self._file = None
        self._closed[self._segment()] = self._open_bytes
        self._open_bytes = 0

    def closed(self) -> list[JournalSegment]:
        """This process's closed segments, the oldest first."""
        return [JournalSegment(path) for path in self._closed]

    def done(self, segment: JournalSegment) -> None:
        """Delete a segment whose records are stored elsewhere."""
        segment.delete()
        self.size -= self._closed.pop(segment.path, 0)

    @contextmanager
    def orphans(self) -> Iterator[list[JournalSegment]]:
        """The segments of dead processes; until the end of the block no other process gets them."""
        segments: list[JournalSegment] = []
        locks: list[tuple[Path, int]] = []
        try:
            for path in sorted(self._directory.glob(f"*{LOCK}")):
                if path.stem == self.owner or (lock := _try_lock(path)) is None:
                    continue
                locks.append((path, lock))
                segments += map(JournalSegment, sorted(self._directory.glob(f"{path.stem}-*{SEGMENT}")))
            yield segments
        finally:
            for path, lock in locks:
                if not any(self._directory.glob(f"{path.stem}-*{SEGMENT}")):
                    path.unlink(missing_ok=True)
                os.close(lock)

    def close(self) -> None:
        """Release the lock. Other processes take over the remaining segments."""
        self.rotate()
        if self._file is not None:  # empty
            os.close(self._file)
            self._file = None
            self._segment().unlink(missing_ok=True)
        _sync_and_close(self._unsynced)
        self._unsynced = []
        if self._lock is None:
            return
        if not self._closed:
            (self._directory / f"{self.owner}{LOCK}").unlink(missing_ok=True)
        os.close(self._lock)
        self._lock = None


def _sync_and_close(files: list[int], folder: Path | None = None) -> None:
    """Write the files to the disk and close them; of the folder, the names of its files."""
    try:
        for file in files:
            _fdatasync(file)
        if folder is not None:
            files = [*files, os.open(folder, os.O_RDONLY)]
            os.fsync(files[-1])
    finally:
        for file in files:
            os.close(file)


def _try_lock(path: Path) -> int | None:
    """The lock of a dead process; None if that process lives, or if another one was faster."""
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
