"""The ledger: one row a call, however it ended. Rows go to the journal, and in batches from there to the database.

No text, no audio and no key is in a row.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from pydantic_core import from_json, to_json

from proxy.errors import Overloaded, ProxyError
from proxy.storage.database import Database, Unavailable
from proxy.storage.journal import Journal, Segment

#: Seconds between two moves of rows to the database, and between two looks for the journals of dead processes.
INTERVAL = 1.0
ORPHAN_INTERVAL = 10.0
RETENTION_INTERVAL = 3600.0
#: Rows of one transaction; few enough that nothing else waits long while they are encoded.
BATCH = 200
#: Rows deleted by one statement, so that no lock is held for long.
DELETED_AT_ONCE = 5_000
ALARM_SHARE = 0.8
DAY = 86_400


class LedgerFull(Overloaded):
    """The journal has reached its bound, since the database was away for too long."""

    code = "ledger_full"


@dataclass(frozen=True, slots=True)
class Bounds:
    """``spool`` in bytes; ``retention`` in days, None keeps rows for ever."""

    spool: int
    deny_when_full: bool = True
    retention: int | None = None


class Ledger:
    """Keeps rows safe. ``alarm`` hears sentences for the operator."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        bounds: Bounds,
        directory: Path,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._journal = journal
        self._bounds = bounds
        self._rejects = directory / "rejected.jsonl"
        self._clock = clock
        self._log = structlog.get_logger()
        self._alarmed = False
        self._away = False
        self._next_orphans = self._next_retention = 0.0
        #: Rows that could not be kept, since the journal was full or the disk refused them.
        self.lost = 0
        #: Rows that are in the journal and not in the database yet, and when the oldest of them came.
        self.waiting = 0
        self._oldest: float | None = None

    @property
    def size(self) -> int:
        """Bytes of the journal."""
        return self._journal.size

    @property
    def lag(self) -> float:
        """Seconds that the oldest row has waited for the database."""
        return 0.0 if self._oldest is None else max(0.0, self._clock() - self._oldest)

    def admit(self) -> None:
        """Raises LedgerFull where a call could not be recorded, and may not go on unrecorded."""
        if self._bounds.deny_when_full and self._journal.size >= self._bounds.spool:
            raise LedgerFull("The server cannot record calls right now. Please try again.", retry_after=30)

    def append(self, row: Mapping[str, Any]) -> None:
        """Before the last byte of the answer leaves. Never raises: a call is not failed by its record."""
        try:
            if self._journal.size >= self._bounds.spool and not self._bounds.deny_when_full:
                raise OSError("the journal is full")
            self._journal.append(_encoded(row))
        except OSError as error:
            self.lost += 1
            self._log.error("ledger row lost", request_id=row.get("request_id"), reason=str(error))
            return
        self.waiting += 1
        self._oldest = self._oldest or self._clock()
        if not self._alarmed and self._journal.size >= ALARM_SHARE * self._bounds.spool:
            self._alarmed = True
            self._log.error("ledger journal nearly full", bytes=self._journal.size, limit=self._bounds.spool)

    async def settled(self) -> None:
        """Returns when what was appended is as safe as ``ledger_durability`` promises."""
        await self._journal.settled()

    async def run(self) -> None:
        """Move rows to the database until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.move()

    async def move(self) -> None:
        """One round. What the database refuses for now stays in the journal."""
        now = self._clock()
        self._journal.rotate()
        try:
            oldest = self._clock()
            for segment in self._journal.closed():
                self.waiting -= await self._store(segment)
                self._journal.done(segment)
            if not self._journal.size:
                self._oldest, self._alarmed, self.waiting = None, False, 0
            elif self._oldest is not None:
                self._oldest = oldest
            if now >= self._next_orphans:
                self._next_orphans = now + ORPHAN_INTERVAL
                await self._adopt()
            if self._bounds.retention is not None and now >= self._next_retention:
                self._next_retention = now + RETENTION_INTERVAL
                await self._forget(int((now - self._bounds.retention * DAY) * 1000))
        except ProxyError as error:
            if not self._away:
                self._log.error("ledger waits for the database", reason=error.detail or error.message)
            self._away = True
        else:
            if self._away:
                self._log.info("the database is back")
            self._away = False

    async def aclose(self) -> None:
        """The last round. What cannot be moved is moved by whoever starts next."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.move(), timeout=10)
        self._journal.close()

    async def _adopt(self) -> None:
        with self._journal.orphans() as segments:
            for segment in segments:
                count = await self._store(segment)
                segment.delete()
                self._log.info("ledger rows of a dead process recovered", rows=count)

    async def _store(self, segment: Segment) -> int:
        """Raises Unavailable where the database is away; a row that it will never take is set aside."""
        records = await asyncio.to_thread(segment.records)
        for start in range(0, len(records), BATCH):
            batch = records[start : start + BATCH]
            rows = list(_decoded(batch, self._set_aside))
            try:
                await self._insert(rows)
            except Unavailable:
                raise
            except Exception:
                # One of them is at fault; which one, the database does not say.
                self._log.exception("ledger batch refused, its rows are tried one by one")
                await self._insert_singly(rows)
        return len(records)

    async def _insert_singly(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for row in rows:
            try:
                await self._insert([row])
            except Unavailable:
                raise
            except Exception as error:
                self._set_aside(_encoded(row), type(error).__name__)

    async def _insert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rows that are there already stay as they are."""
        if not rows:
            return
        from proxy.storage.tables import CALL_TAGS, CALLS

        columns = CALLS.columns.keys()
        values = [{name: row.get(name) for name in columns} for row in rows]
        tags = [{"call_id": row["id"], "tag": tag} for row in rows for tag in row.get("tags") or ()]
        insert = _insert_of(sqlite=self._database.is_sqlite)
        async with self._database.transaction() as connection:
            await connection.execute(insert(CALLS).on_conflict_do_nothing(), values)
            if tags:
                await connection.execute(insert(CALL_TAGS).on_conflict_do_nothing(), tags)

    def _set_aside(self, record: bytes, reason: str) -> None:
        self._log.error("ledger row set aside", reason=reason, file=str(self._rejects))
        with open(self._rejects, "ab") as file:
            file.write(record + b"\n")

    async def _forget(self, before: int) -> None:
        """Delete rows older than ``before`` (milliseconds since 1970)."""
        from sqlalchemy import delete, select

        from proxy.storage.tables import CALL_TAGS, CALLS

        while True:
            async with self._database.transaction() as connection:
                old = select(CALLS.c.id).where(CALLS.c.time < before).limit(DELETED_AT_ONCE)
                ids = (await connection.execute(old)).scalars().all()
                for table, column in ((CALL_TAGS, CALL_TAGS.c.call_id), (CALLS, CALLS.c.id)):
                    await connection.execute(delete(table).where(column.in_(ids)))
            if len(ids) < DELETED_AT_ONCE:
                return


def _insert_of(*, sqlite: bool) -> Any:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.dialects import sqlite as sqlite_dialect

    return sqlite_dialect.insert if sqlite else postgresql.insert


def _encoded(row: Mapping[str, Any]) -> bytes:
    try:
        return to_json(row)
    except ValueError:  # half of a surrogate pair
        return json.dumps(row, default=str, ensure_ascii=False).encode("utf-8", "replace")


def _decoded(records: Iterable[bytes], set_aside: Callable[[bytes, str], None]) -> Iterable[dict[str, Any]]:
    for record in records:
        try:
            row = from_json(record)
            yield {name: _storable(value) for name, value in row.items()}
        except (ValueError, AttributeError):
            set_aside(record, "no JSON")


def _storable(value: Any) -> Any:
    """PostgreSQL's text knows no NUL."""
    return value.replace("\x00", "") if isinstance(value, str) else value
