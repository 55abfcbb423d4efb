"""The ledger: one row a call, however it ended. Rows go to the journal, and in batches from there to the database.

No text, no audio and no key is in a row. What the event loop has to do for a row is to write one line; all else is
done for a thousand rows at a time, in threads or in the database.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from pydantic_core import from_json, to_json

from proxy.errors import Overloaded, ProxyError
from proxy.storage.database import SCHEMA, Database
from proxy.storage.journal import Journal, JournalSegment

if TYPE_CHECKING:
    from sqlalchemy.exc import DBAPIError

#: Seconds between two moves of rows to the database, between two looks for the journals of dead processes, and for
#: rows that have grown too old.
INTERVAL = 1.0
ORPHAN_INTERVAL = 10.0
RETENTION_INTERVAL = 3600.0
#: Rows of one transaction; few enough that no other process waits long for it.
BATCH = 1000
#: Rows deleted by one statement, so that no lock is held for long.
DELETED_AT_ONCE = 2000
ALARM_SHARE = 0.8
#: Rows kept in memory while the disk takes none.
MAX_KEPT = 10_000
LAST_MOVE_SECONDS = 10.0
DAY = 86_400
#: As JSON has it; PostgreSQL's text knows none.
_NUL = b"\\u0000"


class LedgerFull(Overloaded):
    """Rows can no longer be kept: the journal has reached its bound, or the disk takes none."""

    code = "ledger_full"


@dataclass(frozen=True, slots=True)
class LedgerLimits:
    """``spool`` in bytes; ``retention`` in days, None keeps rows for ever."""

    spool: int
    deny_when_full: bool = True
    retention: int | None = None


class Ledger:
    """Keeps rows safe. `open` comes first, in an event loop, and `aclose` at the end."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        bounds: LedgerLimits,
        directory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._journal = journal
        self._bounds = bounds
        self._rejects = directory / "rejected.jsonl"
        self._clock = clock
        self._log = structlog.get_logger()
        self._alarmed = self._away = False
        self._next_orphans = self._next_retention = 0.0
        self._numbers = count()
        #: Rows that the disk did not take; they are tried again.
        self._kept: deque[bytes] = deque()
        #: Rows that nothing could keep.
        self.lost = 0
        #: Rows that are in the journal and not in the database yet, and when the oldest of them came.
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
        """Rows move from now on. Raises OSError where the folder cannot be written."""
        self._journal.open()
        self._running = asyncio.get_running_loop().create_task(self._run())

    def new_id(self) -> str:
        """Of a row, 32 characters; no other process has it."""
        return f"{self._journal.owner}{next(self._numbers):016x}"

    # -- what calls do -------------------------------------------------------------------------------------------------

    def admit(self) -> None:
        """Raises LedgerFull where a call could not be recorded, and may not go on unrecorded."""
        if (self._journal.size >= self._bounds.spool or self._kept) and self._bounds.deny_when_full:
            raise LedgerFull("The server cannot record calls right now. Please try again.", retry_after=30)

    def append(self, row: Mapping[str, Any]) -> None:
        """Before the last byte of the answer leaves. Never raises: a call is not failed by its record."""
        record = _encoded(row)
        if self._journal.size >= self._bounds.spool and not self._bounds.deny_when_full:
            self._lose("the journal is full")
            return
        try:
            self._journal.append(record)
        except OSError as error:
            self._keep(record, str(error))
            return
        self.waiting += 1
        if self._oldest is None:
            self._oldest = self._clock()
        if self._journal.size >= ALARM_SHARE * self._bounds.spool and not self._alarmed:
            self._alarmed = True
            self._log.error("ledger journal nearly full", bytes=self._journal.size, limit=self._bounds.spool)

    def _keep(self, record: bytes, reason: str) -> None:
        if len(self._kept) >= MAX_KEPT:
            self._lose(reason)
            return
        if not self._kept:
            self._log.error("ledger journal cannot be written, rows are kept in memory", reason=reason)
        self._kept.append(record)
        self.waiting += 1

    def _lose(self, reason: str) -> None:
        self.lost += 1
        # A line for each would fill the log, too.
        if self.lost & (self.lost - 1) == 0:
            self._log.error("ledger rows lost", rows=self.lost, reason=reason)

    @property
    def must_settle(self) -> bool:
        return self._journal.power

    async def settled(self) -> None:
        """Returns when what was appended is as safe as ``ledger_durability`` promises. Never raises an OSError."""
        try:
            await self._journal.settled()
        except OSError as error:
            self._log.error("ledger journal not on the disk", reason=str(error))

    # -- what the writer does ------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Round after round, the last one when all rows have come."""
        is_last = False
        while not is_last:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), INTERVAL)
            is_last = self._stopping.is_set()
            try:
                await self.move()
            except Exception:
                self._log.exception("ledger rows not moved, they are tried again")

    async def move(self) -> None:
        """One round. What the database refuses for now stays in the journal."""
        try:
            await self._move_own()
            now = self._clock()
            if now >= self._next_orphans:
                await self._adopt()
                self._next_orphans = now + ORPHAN_INTERVAL
            if self._bounds.retention is not None and now >= self._next_retention:
                await self._forget(int((now - self._bounds.retention * DAY) * 1000))
                self._next_retention = now + RETENTION_INTERVAL
        except ProxyError as error:
            if not self._away:
                self._log.error("ledger waits for the database", reason=error.detail or error.message)
            self._away = True
        else:
            if self._away:
                self._log.info("the ledger's database is back")
            self._away = False

    async def _move_own(self) -> None:
        """Segments that an earlier round could not move come first, so that there are never many of them."""
        await self._move_kept()
        for segment in self._journal.closed():
            await self._move_segment(segment)
        began = self._clock()
        self._journal.rotate()
        for segment in self._journal.closed():
            await self._move_segment(segment)
        self._oldest = began if self._journal.size else None
        if self._journal.size < ALARM_SHARE * self._bounds.spool:
            self._alarmed = False

    async def _move_segment(self, segment: JournalSegment) -> None:
        rows = await self._store(segment)
        self.waiting -= rows
        self._journal.done(segment)

    async def _move_kept(self) -> None:
        """Rows that the disk did not take, past it."""
        while self._kept:
            rows = [self._kept[place] for place in range(min(BATCH, len(self._kept)))]
            await self._insert_all(rows)
            for _ in rows:
                self._kept.popleft()
            self.waiting -= len(rows)

    async def aclose(self) -> None:
        """After a last round. What cannot be moved is moved by whoever starts next."""
        self._stopping.set()
        if self._running is not None:
            # A round is not broken off in the middle: SQLite would be locked for the next one.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._running, LAST_MOVE_SECONDS)
        self.lost += len(self._kept)
        if self._kept:
            self._log.error("ledger rows lost", rows=self.lost, reason="the disk took none")
        self._journal.close()

    async def _adopt(self) -> None:
        with self._journal.orphans() as segments:
            for segment in segments:
                rows = await self._store(segment)
                segment.delete()
                self._log.info("ledger rows of a dead process recovered", rows=rows)

    async def _store(self, segment: JournalSegment) -> int:
        """How many rows. Raises Unavailable where the database is away; a row that it never takes is set aside."""
        blocks, rows = segment.blocks(), 0
        while records := await asyncio.to_thread(next, blocks, None):
            for start in range(0, len(records), BATCH):
                await self._insert_all(records[start : start + BATCH])
            rows += len(records)
        return rows

    async def _insert_all(self, records: Sequence[bytes]) -> None:
        """As one, or, where the database takes offence at one of them, each by itself."""
        try:
            await self._insert(records)
        except _Refused as error:
            self._log.error("ledger batch refused, its rows are tried one by one", reason=str(error))
            for record in records:
                try:
                    await self._insert([record.replace(_NUL, b"")])
                except _Refused as fault:
                    self._set_aside(record, str(fault))

    async def _insert(self, records: Sequence[bytes]) -> None:
        """Rows that are there already stay as they are."""
        from sqlalchemy.exc import DBAPIError

        statements = await asyncio.to_thread(_sqlite if self._database.is_sqlite else _postgresql, records)
        try:
            async with self._database.transaction() as connection:
                for statement, values in statements:
                    await connection.exec_driver_sql(statement, values)
        except DBAPIError as error:
            if not _blames_a_row(error):
                raise
            raise _Refused(type(error.orig).__name__) from error

    def _set_aside(self, record: bytes, reason: str) -> None:
        self._log.error("ledger row set aside", reason=reason, file=str(self._rejects))
        with self._rejects.open("ab") as file:
            file.write(record + b"\n")

    async def _forget(self, before: int) -> None:
        """Delete rows older than ``before`` (milliseconds since 1970)."""
        from sqlalchemy import text

        schema = "" if self._database.is_sqlite else f"{SCHEMA}."
        old = f"SELECT id FROM {schema}calls WHERE time < :before LIMIT {DELETED_AT_ONCE}"  # noqa: S608 - constants
        delete = text(f"DELETE FROM {schema}calls WHERE id IN ({old})")  # noqa: S608
        deleted = DELETED_AT_ONCE
        while deleted >= DELETED_AT_ONCE:
            async with self._database.transaction() as connection:
                deleted = (await connection.execute(delete, {"before": before})).rowcount


class _Refused(Exception):
    """The database does not take a row as it is, and never will."""


def _blames_a_row(error: DBAPIError) -> bool:
    from sqlalchemy.exc import DataError, IntegrityError

    # SQLSTATE's classes of bad data and of broken rules.
    is_so_by_code = str(getattr(error.orig, "sqlstate", "") or "")[:2] in ("22", "23")
    return is_so_by_code or isinstance(error, DataError | IntegrityError)


# -- to SQL ------------------------------------------------------------------------------------------------------------

Statement = tuple[str, Any]


def _sqlite(records: Sequence[bytes]) -> list[Statement]:
    """Rows for the driver as it takes them: SQLite's own functions for JSON are slower. Raises _Refused."""
    from proxy.storage.tables import CALLS

    names = CALLS.columns.keys()
    try:
        rows = [from_json(record) for record in records]
        calls = [tuple(map(row.get, names)) for row in rows]
        tags = [(row["id"], tag) for row in rows if "tags" in row for tag in row["tags"]]
    except (ValueError, AttributeError) as error:
        raise _Refused("no JSON") from error
    places = ", ".join("?" * len(names))
    insert = f"INSERT INTO calls ({', '.join(names)}) VALUES ({places}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants
    statements: list[Statement] = [(insert, calls)]
    if tags:
        statements.append(("INSERT INTO call_tags (call_id, tag) VALUES (?, ?) ON CONFLICT DO NOTHING", tags))
    return statements


def _postgresql(records: Sequence[bytes]) -> list[Statement]:
    """All rows as one parameter, which the server takes apart. Raises _Refused."""
    try:
        rows = (b"[" + b",".join(records) + b"]").decode()
    except UnicodeDecodeError as error:
        raise _Refused("no UTF-8") from error
    statements: list[Statement] = [(_POSTGRESQL_CALLS, (rows,))]
    if any(b'"tags":[' in record for record in records):
        statements.append((_POSTGRESQL_TAGS, (rows,)))
    return statements


_POSTGRESQL_CALLS = (
    f"INSERT INTO {SCHEMA}.calls SELECT * FROM "  # noqa: S608 - a constant
    f"json_populate_recordset(NULL::{SCHEMA}.calls, $1::text::json) ON CONFLICT DO NOTHING"
)
_POSTGRESQL_TAGS = (
    f"INSERT INTO {SCHEMA}.call_tags (call_id, tag) SELECT call->>'id', tag "  # noqa: S608 - a constant
    "FROM json_array_elements($1::text::json) AS call, json_array_elements_text(call->'tags') AS tag "
    "ON CONFLICT DO NOTHING"
)


# -- records -----------------------------------------------------------------------------------------------------------


def _encoded(row: Mapping[str, Any]) -> bytes:
    try:
        return to_json(row)
    except ValueError:  # half of a surrogate pair
        return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
