"""End users that administrators have blocked or unblocked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.storage.database import by_code_point
from proxy.storage.tables import END_USERS


class EndUserRepository:
    """The end users, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def set_blocked(self, name: str, *, blocked: bool, revision: int) -> None:
        values = {"blocked": blocked, "revision": revision}
        updated = await self._connection.execute(update(END_USERS).where(END_USERS.c.id == name).values(values))
        if not updated.rowcount:
            await self._connection.execute(insert(END_USERS), {"id": name, **values})

    async def blocked(self, names: Collection[str]) -> Mapping[str, bool]:
        """Whether each is blocked; those who never were are left out."""
        chosen = select(END_USERS.c.id, END_USERS.c.blocked).where(END_USERS.c.id.in_(names))
        return {row.id: row.blocked for row in await self._connection.execute(chosen)}

    async def page(self, *, after: str, limit: int, name: str | None = None) -> Mapping[str, bool]:
        """The first ``limit`` names after ``after`` by code point, and whether they are blocked; or only ``name``."""
        ordered = by_code_point(self._connection, END_USERS.c.id)
        where = [ordered > after, *([END_USERS.c.id == name] if name is not None else [])]
        page = select(END_USERS.c.id, END_USERS.c.blocked).where(*where).order_by(ordered).limit(limit)
        return {row.id: row.blocked for row in await self._connection.execute(page)}

    async def changed_since(self, revision: int) -> Mapping[str, bool]:
        """Those who changed after ``revision``, and whether they are blocked now."""
        changed = select(END_USERS.c.id, END_USERS.c.blocked).where(END_USERS.c.revision > revision)
        return {row.id: row.blocked for row in await self._connection.execute(changed)}
