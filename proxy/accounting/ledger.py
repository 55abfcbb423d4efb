"""The ledger: one row for each call, however it ended. Rows go to the journal, and in batches to the database.

A row contains no text, no audio and no key. For each row the event loop writes one line; everything else is done for a
thousand rows at once, in threads or in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import structlog
from pydantic_core import to_json

from proxy.errors import Overloaded, ProxyError
from proxy.storage.call_writer import CallWriter, RowRejected
from proxy.storage.journal import Journal, JournalSegment

#: Seconds between two moves of rows to the database, between two searches for journals of dead processes, and between
#: two deletions of expired rows.
INTERVAL = 1.0
ORPHAN_INTERVAL = 10.0
RETENTION_INTERVAL = 3600.0
#: Rows in one transaction; few enough that no other process waits long for it.
BATCH = 1000
ALARM_SHARE = 0.8
#: Rows held in memory while the disk cannot be written.
MAX_BUFFERED = 10_000
LAST_MOVE_SECONDS = 10.0
DAY = 86_400
#: NUL in JSON; PostgreSQL's text type cannot store it.
_NUL = b"\\u0000"


class LedgerFull(Overloaded):
    """Rows can no longer be stored: the journal has reached its limit, or the disk cannot be written."""

    code = "ledger_full"


@dataclass(frozen=True, slots=True)
class LedgerLimits:
    """``spool`` in bytes; ``retention`` in days, None to store rows forever."""

    spool: int
    deny_when_full: bool = True
    retention: int | None = None


class Ledger:
    """Stores rows. Call `open` first, in a running event loop, and `aclose` at the end."""

    def __init__(
        self,
        writer: CallWriter,
        journal: Journal,
        limits: LedgerLimits,
        directory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._writer = writer
        self._journal = journal
        self._limits = limits
        self._rejected_file = directory / "rejected.jsonl"
        self._clock = clock
        self._log = structlog.get_logger()
        self._is_alarmed = self._is_waiting = False
        self._next_orphans = self._next_retention = 0.0
        self._numbers = count()
        #: Rows that could not be written to the disk; they go to the database from here.
        self._buffer: deque[bytes] = deque()
        #: Rows that could not be stored anywhere.
        self.lost = 0
        #: Rows that are not in the database yet, and since when the oldest one has waited.
        self.waiting = 0
        self._oldest: float | None = None
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """Bytes of the journal."""
        return self._journal.size

    @property
    def lag(self) -> float:
        """Seconds that the oldest row has waited for the database."""
        return 0.0 if self._oldest is None else max(0.0, self._clock() - self._oldest)

    def open(self) -> None:
        """Start to move rows. Raises OSError if the folder cannot be written."""
        self._journal.open()
        self._running = asyncio.get_running_loop().create_task(self._run())

    def new_id(self) -> str:
        """The id of a row: 32 characters, unique among all processes."""
        return f"{self._journal.owner}{next(self._numbers):016x}"

    # -- for calls -----------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Raises LedgerFull if a call could not be recorded and calls must be."""
        if (self._journal.size >= self._limits.spool or self._buffer) and self._limits.deny_when_full:
            raise LedgerFull("The server cannot record calls right now. Please try again.", retry_after=30)

    def append(self, row: Mapping[str, Any]) -> None:
        """Call it before the last byte of the answer is sent. Never raises: recording must not fail a call."""
        record = _encoded(row)
        if self._journal.size >= self._limits.spool and not self._limits.deny_when_full:
            self._lose("the journal is full")
            return
        try:
            self._journal.append(record)
        except OSError as error:
            self._hold(record, str(error))
            return
        self.waiting += 1
        if self._oldest is None:
            self._oldest = self._clock()
        if self._journal.size >= ALARM_SHARE * self._limits.spool and not self._is_alarmed:
            self._is_alarmed = True
            self._log.error("ledger journal nearly full", bytes=self._journal.size, limit=self._limits.spool)

    def _hold(self, record: bytes, reason: str) -> None:
        if len(self._buffer) >= MAX_BUFFERED:
            self._lose(reason)
            return
        if not self._buffer:
            self._log.error("ledger journal cannot be written; rows are held in memory", reason=reason)
        self._buffer.append(record)
        self.waiting += 1

    def _lose(self, reason: str) -> None:
        self.lost += 1
        # A line for each row would fill the log, too.
        if self.lost & (self.lost - 1) == 0:
            self._log.error("ledger rows lost", rows=self.lost, reason=reason)

    @property
    def needs_sync(self) -> bool:
        return self._journal.needs_sync

    async def sync(self) -> None:
        """Returns when appended rows are as safe as ``ledger_durability`` promises. Never raises an OSError."""
        try:
            await self._journal.sync()
        except OSError as error:
            self._log.error("ledger journal cannot be synced to the disk", reason=str(error))

    # -- to the database -----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """One move after the other, and a last one when the ledger is closed."""
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), INTERVAL)
            is_last = self._stopping.is_set()
            try:
                await self.move()
            except Exception:
                self._log.exception("ledger rows not moved to the database; will retry")

    async def move(self) -> None:
        """Move new rows to the database. While it does not answer, they stay in the journal."""
        try:
            await self._move_own()
            now = self._clock()
            if now >= self._next_orphans:
                await self._recover_orphans()
                self._next_orphans = now + ORPHAN_INTERVAL
            if self._limits.retention is not None and now >= self._next_retention:
                await self._writer.delete_before(int((now - self._limits.retention * DAY) * 1000))
                self._next_retention = now + RETENTION_INTERVAL
        except ProxyError as error:
            if not self._is_waiting:
                self._log.error(
                    "ledger database does not answer; rows stay in the journal", reason=error.detail or error.message
                )
            self._is_waiting = True
        else:
            if self._is_waiting:
                self._log.info("ledger database is available again")
            self._is_waiting = False

    async def _move_own(self) -> None:
        """Segments left by an earlier move come first, so that they do not pile up."""
        await self._move_buffer()
        for segment in self._journal.closed():
            await self._move_segment(segment)
        began = self._clock()
        self._journal.rotate()
        for segment in self._journal.closed():
            await self._move_segment(segment)
        self._oldest = began if self._journal.size else None
        if self._journal.size < ALARM_SHARE * self._limits.spool:
            self._is_alarmed = False

    async def _move_segment(self, segment: JournalSegment) -> None:
        rows = await self._store(segment)
        self.waiting -= rows
        self._journal.done(segment)

    async def _move_buffer(self) -> None:
        while rows := list(islice(self._buffer, BATCH)):
            await self._insert(rows)
            for _ in rows:
                self._buffer.popleft()
            self.waiting -= len(rows)

    async def aclose(self) -> None:
        """After a last move. Rows that cannot be moved are left to the next process."""
        self._stopping.set()
        if self._running is not None:
            # A move is not cancelled: SQLite would be locked for the next one.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._running, LAST_MOVE_SECONDS)
        self.lost += len(self._buffer)
        if self._buffer:
            self._log.error("ledger rows lost", rows=self.lost, reason="the disk cannot be written")
        self._journal.close()

    async def _recover_orphans(self) -> None:
        with self._journal.orphans() as segments:
            for segment in segments:
                rows = await self._store(segment)
                segment.delete()
                self._log.info("recovered ledger rows of a dead process", rows=rows)

    async def _store(self, segment: JournalSegment) -> int:
        """The number of rows. Raises Unavailable."""
        blocks, rows = segment.blocks(), 0
        while records := await asyncio.to_thread(next, blocks, None):
            for start in range(0, len(records), BATCH):
                await self._insert(records[start : start + BATCH])
            rows += len(records)
        return rows

    async def _insert(self, records: Sequence[bytes]) -> None:
        """All at once, or one by one if the database rejects a row, which is then set aside."""
        try:
            await self._writer.insert(records)
        except RowRejected as error:
            self._log.error("ledger batch rejected; inserting its rows one by one", reason=str(error))
            for record in records:
                try:
                    await self._writer.insert([record.replace(_NUL, b"")])
                except RowRejected as rejection:
                    self._set_aside(record, str(rejection))

    def _set_aside(self, record: bytes, reason: str) -> None:
        self._log.error("ledger row set aside", reason=reason, file=str(self._rejected_file))
        with self._rejected_file.open("ab") as file:
            file.write(record + b"\n")


def _encoded(row: Mapping[str, Any]) -> bytes:
    try:
        return to_json(row)
    except ValueError:  # half of a surrogate pair
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
