"""Calls that were refused because they had no valid key. Anyone can make them, so only the newest are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.storage.calls import CallFilter, conditions, newest
from proxy.storage.tables import CALLS, REFUSALS

#: What the columns of ``calls`` have in common for all of them, beside null.
_NOTHING = dict.fromkeys(CALLS.columns.keys()) | {"model": "", "cost": 0, "bytes_out": 0, "attempts": 0}


class RefusalRepository:
    """The refusals, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        await self._connection.execute(insert(REFUSALS), list(rows))

    async def keep(self, count: int, since: int | None) -> None:
        """Delete all but the newest ``count``, and those before ``since`` (milliseconds since 1970)."""
        surplus = select(REFUSALS.c.id).order_by(REFUSALS.c.time.desc()).offset(count)
        await self._connection.execute(delete(REFUSALS).where(REFUSALS.c.id.in_(surplus)))
        if since is not None:
            await self._connection.execute(delete(REFUSALS).where(REFUSALS.c.time < since))

    async def page(self, chosen: CallFilter, limit: int, before: tuple[int, str] | None = None) -> list[dict[str, Any]]:
        """The newest, as `CallRepository.page` returns calls. Only times and the request id may be chosen."""
        query = newest(REFUSALS, conditions(chosen, REFUSALS), limit, before)
        return [_NOTHING | row._asdict() for row in await self._connection.execute(query)]
