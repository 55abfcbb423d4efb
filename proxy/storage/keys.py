"""Virtual keys, which are stored as their SHA-256."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.domain.caller import Caller
from proxy.storage.tables import KEYS

#: Columns of `VirtualKey` that may be set freely.
SETTINGS = ("key_alias", "user_id", "team_id", "models", "tags", "guardrails", "metadata", "blocked", "expires")
_JSON_COLUMNS = ("models", "tags", "guardrails", "metadata")
_FETCH_SIZE = 1000


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A row of the table; times in milliseconds since 1970."""

    id: str
    #: How the key is displayed, such as ``sk-...a1b2``.
    key_name: str
    created: int
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    models: Sequence[str] = ()
    tags: Sequence[str] = ()
    guardrails: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    blocked: bool = False
    expires: int | None = None
    #: It was made with a master key that can be guessed, so anyone may have made it.
    doubtful: bool = False

    @property
    def settings(self) -> dict[str, Any]:
        """All but the key's identity."""
        return {name: getattr(self, name) for name in SETTINGS}


class KeyRecord(NamedTuple):
    """What calls need to know of a key; ``expires`` in milliseconds since 1970."""

    caller: Caller
    blocked: bool
    expires: int | None


class KeyRepository:
    """The keys, in one transaction. Deleted keys are invisible except to ``exists`` and ``changed_since``."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def get(self, key_id: str) -> VirtualKey | None:
        return await self._first(KEYS.c.id == key_id)

    async def get_by_alias(self, alias: str) -> VirtualKey | None:
        return await self._first(KEYS.c.key_alias == alias)

    async def exists(self, key_id: str) -> bool:
        """Whether the key exists or ever existed."""
        return (await self._connection.execute(select(KEYS.c.id).where(KEYS.c.id == key_id))).first() is not None

    async def page(self, filters: Mapping[str, str], *, limit: int, offset: int) -> tuple[list[VirtualKey], int]:
        """The newest first, and how many there are in all. ``filters``: values that columns must have."""
        where = [KEYS.c.deleted.is_(False), *(KEYS.c[name] == value for name, value in filters.items())]
        total = (await self._connection.execute(select(func.count()).select_from(KEYS).where(*where))).scalar_one()
        page = select(KEYS).where(*where).order_by(KEYS.c.created.desc(), KEYS.c.id).limit(limit).offset(offset)
        return [_key(row) for row in await self._connection.execute(page)], total

    async def aliases(self, ids: Collection[str]) -> Mapping[str, str]:
        """By id; a key without an alias is left out."""
        named = select(KEYS.c.id, KEYS.c.key_alias).where(KEYS.c.id.in_(ids), KEYS.c.key_alias.is_not(None))
        return {row.id: row.key_alias for row in await self._connection.execute(named)}

    async def names(self, ids: Collection[str]) -> Sequence[Row[Any]]:
        """``id``, ``key_alias``, ``key_name``, ``user_id`` and ``team_id`` of keys, the deleted ones included."""
        columns = (KEYS.c[name] for name in ("id", "key_alias", "key_name", "user_id", "team_id"))
        return (await self._connection.execute(select(*columns).where(KEYS.c.id.in_(ids)))).all()

    async def doubtful(self, now: int) -> Sequence[VirtualKey]:
        """Doubtful keys that calls can be made with, the newest first."""
        usable = (
            KEYS.c.deleted.is_(False),
            KEYS.c.blocked.is_(False),
            (KEYS.c.expires.is_(None) | (KEYS.c.expires > now)),
        )
        keys = select(KEYS).where(KEYS.c.doubtful.is_(True), *usable).order_by(KEYS.c.created.desc(), KEYS.c.id)
        return [_key(row) for row in await self._connection.execute(keys)]

    async def starting_with(self, digits: str, *, limit: int) -> Sequence[str]:
        """The ids that begin with these digits."""
        ids = select(KEYS.c.id).where(KEYS.c.id.startswith(digits), KEYS.c.deleted.is_(False)).limit(limit)
        return (await self._connection.scalars(ids)).all()

    async def changed_since(self, revision: int) -> AsyncIterator[tuple[str, KeyRecord | None]]:
        """The ids of keys that changed after ``revision``, with their new records; None for a deleted key."""
        names = (
            "id", "key_alias", "user_id", "team_id", "models", "tags", "guardrails", "blocked", "expires", "deleted",
        )  # fmt: skip
        changed = select(*(KEYS.c[name] for name in names)).where(KEYS.c.revision > revision)
        async for rows in (await self._connection.stream(changed)).partitions(_FETCH_SIZE):
            for row in rows:
                yield row.id, None if row.deleted else _record(row)

    async def insert(self, key: VirtualKey, revision: int) -> None:
        row = {"id": key.id, "key_name": key.key_name, "created": key.created, **_serialized(key.settings)}
        marks = {"deleted": False, "doubtful": key.doubtful}
        await self._connection.execute(insert(KEYS), {**row, **marks, "revision": revision})

    async def update(self, key_id: str, columns: Mapping[str, Any], revision: int) -> None:
        values = {**_serialized(columns), "revision": revision}
        await self._connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(values))

    async def delete(self, key_id: str, revision: int) -> None:
        """The row stays, marked, so that every worker learns of the deletion; its alias becomes free."""
        values = {"deleted": True, "key_alias": None, "revision": revision}
        await self._connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(values))

    async def _first(self, condition: ColumnElement[bool]) -> VirtualKey | None:
        row = (await self._connection.execute(select(KEYS).where(condition, KEYS.c.deleted.is_(False)))).first()
        return None if row is None else _key(row)


def _serialized(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if name in _JSON_COLUMNS else value
        for name, value in columns.items()
    }


def _key(row: Row[Any]) -> VirtualKey:
    values = {name: row._mapping[name] for name in VirtualKey.__slots__}
    return VirtualKey(**{name: json.loads(value) if name in _JSON_COLUMNS else value for name, value in values.items()})


def _record(row: Row[Any]) -> KeyRecord:
    caller = Caller(
        key_id=row.id,
        alias=row.key_alias,
        user_id=row.user_id,
        team_id=row.team_id,
        models=frozenset(json.loads(row.models)),
        tags=tuple(json.loads(row.tags)),
        guardrails=tuple(json.loads(row.guardrails)),
    )
    return KeyRecord(caller, row.blocked, row.expires)
