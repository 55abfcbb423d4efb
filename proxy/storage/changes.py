"""Changes that administrators make. Each is one transaction, which increments the revision and writes audit rows.

The revision is incremented first. The lock on its row puts changes into one order, which is the order in which workers
see them, and what a change has read stays true until its end.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from secrets import token_hex
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.storage.database import Database
from proxy.storage.tables import AUDIT, REVISIONS


@dataclass(frozen=True, slots=True)
class Change:
    """An open change. ``actor`` is the id of the key that makes it; ``time`` in milliseconds since 1970."""

    connection: AsyncConnection
    revision: int
    actor: str
    time: int

    async def record(self, action: str, subject: str, details: Mapping[str, Any] | None = None) -> None:
        """An audit row."""
        row = {"id": token_hex(16), "time": self.time, "actor": self.actor, "action": action, "subject": subject}
        await self.connection.execute(insert(AUDIT), {**row, "details": json.dumps(details or {}, ensure_ascii=False)})


@asynccontextmanager
async def begin_change(database: Database, actor: str, time: int) -> AsyncIterator[Change]:
    async with database.transaction() as connection:
        increment = update(REVISIONS).values(value=REVISIONS.c.value + 1).returning(REVISIONS.c.value)
        revision: int = (await connection.execute(increment)).scalar_one()
        yield Change(connection, revision, actor, time)


async def current_revision(connection: AsyncConnection) -> int:
    revision: int = (await connection.execute(select(REVISIONS.c.value))).scalar_one()
    return revision
