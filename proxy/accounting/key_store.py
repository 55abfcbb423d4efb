"""What administrators change: virtual keys and blocked end users. Each change is one transaction with an audit row.

A change counts up the revision first. The lock on that row puts changes into one order, which is the order in which
workers see them; what a change has read stays true until its end.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from proxy.accounting.key_fields import new_secret
from proxy.accounting.keys import hashed, is_reference, key_id_of
from proxy.errors import BadRequest, NotFound
from proxy.storage.database import Database

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

#: ``actor`` of what is done on the command line.
COMMAND_LINE = "command line"
_JSON_COLUMNS = ("models", "tags", "guardrails", "metadata")
_SHOWN_AT_ONCE = 1000

Outcome = Literal["added", "present", "alias taken"]


@dataclass(frozen=True, slots=True)
class VirtualKey:
    """A row of the table; times in milliseconds since 1970."""

    id: str
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


@dataclass(frozen=True, slots=True)
class _Change:
    """A transaction that has counted up the revision."""

    connection: AsyncConnection
    revision: int
    actor: str
    now: int

    async def record(self, action: str, subject: str, details: Mapping[str, Any] | None = None) -> None:
        from sqlalchemy import insert

        from proxy.storage.tables import AUDIT

        row = {"id": token_hex(16), "time": self.now, "actor": self.actor, "action": action, "subject": subject}
        await self.connection.execute(insert(AUDIT), {**row, "details": json.dumps(details or {}, ensure_ascii=False)})


class KeyStore:
    """``actor`` is the id of the key that asks, or `COMMAND_LINE`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # -- keys ----------------------------------------------------------------------------------------------------------

    async def generate(
        self, columns: Mapping[str, Any], actor: str, secret: str | None = None
    ) -> tuple[str, VirtualKey]:
        """A new key, in clear for the only time, and its row. ``secret`` was checked before."""
        secret = secret or new_secret()
        async with self._change(actor) as change:
            made = await _insert(change, VirtualKey(hashed(secret), _name(secret), change.now, **columns))
            await change.record("key.generate", made.id, columns)
        return secret, made

    async def update(self, key_id: str, columns: Mapping[str, Any], actor: str) -> VirtualKey:
        async with self._change(actor) as change:
            updated = await _update(change, key_id, columns)
            await change.record("key.update", key_id, columns)
        return updated

    async def block(self, key_id: str, *, blocked: bool, actor: str) -> VirtualKey:
        async with self._change(actor) as change:
            updated = await _update(change, key_id, {"blocked": blocked})
            await change.record("key.block" if blocked else "key.unblock", key_id)
        return updated

    async def delete(self, references: Sequence[str], actor: str) -> list[str]:
        """Ids of the keys, which ``references`` name by id, by alias or in clear. All of them, or NotFound."""
        async with self._change(actor) as change:
            found = [await _resolved(change.connection, reference) for reference in references]
            for key in {key.id: key for key in found}.values():
                await _bury(change, key.id)
                await change.record("key.delete", key.id, {"key_alias": key.key_alias, "key_name": key.key_name})
        return [key.id for key in found]

    async def regenerate(
        self, key_id: str, columns: Mapping[str, Any], actor: str, secret: str | None = None
    ) -> tuple[str, VirtualKey]:
        """A new key in the place of an old one, which ends at once."""
        secret = secret or new_secret()
        async with self._change(actor) as change:
            old = await _found(change.connection, key_id)
            await _bury(change, old.id)
            made = await _insert(
                change, VirtualKey(hashed(secret), _name(secret), change.now, **{**_columns(old), **columns})
            )
            await change.record("key.regenerate", made.id, {**columns, "replaces": old.id})
        return secret, made

    async def add(self, keys: Sequence[VirtualKey], actor: str) -> list[Outcome]:
        """Take over keys whose hashes are known, all in one transaction; what became of each."""
        from sqlalchemy import select

        from proxy.storage.tables import KEYS

        outcomes: list[Outcome] = []
        async with self._change(actor) as change:
            ids = set((await change.connection.execute(select(KEYS.c.id))).scalars())
            aliases = set((await change.connection.execute(select(KEYS.c.key_alias))).scalars()) - {None}
            for key in keys:
                if key.id in ids or key.key_alias in aliases:
                    outcomes.append("present" if key.id in ids else "alias taken")
                    continue
                await _insert(change, key)
                await change.record("key.import", key.id, _columns(key))
                ids.add(key.id)
                aliases |= {key.key_alias} - {None}
                outcomes.append("added")
        return outcomes

    async def find(self, reference: str) -> VirtualKey:
        """By id, by alias or in clear. Raises NotFound."""
        async with self._database.transaction() as connection:
            return await _resolved(connection, reference)

    async def keys(
        self, filters: Mapping[str, str] | None = None, *, limit: int = _SHOWN_AT_ONCE, offset: int = 0
    ) -> tuple[list[VirtualKey], int]:
        """The newest first, and how many there are. ``filters``: columns and the values that they must have."""
        from sqlalchemy import func, select

        from proxy.storage.tables import KEYS

        wanted = [KEYS.c.deleted.is_(False), *(KEYS.c[name] == value for name, value in (filters or {}).items())]
        page = select(KEYS).where(*wanted).order_by(KEYS.c.created.desc(), KEYS.c.id).limit(limit).offset(offset)
        async with self._database.transaction() as connection:
            total = (await connection.execute(select(func.count()).select_from(KEYS).where(*wanted))).scalar_one()
            return [_key(row) for row in await connection.execute(page)], total

    # -- end users -----------------------------------------------------------------------------------------------------

    async def block_end_users(self, names: Sequence[str], *, blocked: bool, actor: str) -> None:
        from sqlalchemy import insert, update

        from proxy.storage.tables import END_USERS

        async with self._change(actor) as change:
            for name in dict.fromkeys(names):
                values = {"blocked": blocked, "revision": change.revision}
                done = await change.connection.execute(update(END_USERS).where(END_USERS.c.id == name).values(values))
                if not done.rowcount:
                    await change.connection.execute(insert(END_USERS), {"id": name, **values})
                await change.record("end_user.block" if blocked else "end_user.unblock", name)

    @asynccontextmanager
    async def _change(self, actor: str) -> AsyncIterator[_Change]:
        from sqlalchemy import update

        from proxy.storage.tables import REVISIONS

        async with self._database.transaction() as connection:
            counted = update(REVISIONS).values(value=REVISIONS.c.value + 1).returning(REVISIONS.c.value)
            revision = (await connection.execute(counted)).scalar_one()
            yield _Change(connection, revision, actor, int(self._clock() * 1000))


def _name(secret: str) -> str:
    """What people see of a key, as in LiteLLM."""
    return f"sk-...{secret[-4:]}"


def _columns(key: VirtualKey) -> dict[str, Any]:
    """What may be said of a key, without its identity."""
    names = ("key_alias", "user_id", "team_id", *_JSON_COLUMNS, "blocked", "expires")
    return {name: getattr(key, name) for name in names}


def _stored(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if name in _JSON_COLUMNS else value
        for name, value in columns.items()
    }


def _key(row: Any) -> VirtualKey:
    values = {name: row._mapping[name] for name in VirtualKey.__slots__}
    return VirtualKey(**{name: json.loads(value) if name in _JSON_COLUMNS else value for name, value in values.items()})


async def _resolved(connection: AsyncConnection, reference: str) -> VirtualKey:
    from proxy.storage.tables import KEYS

    if is_reference(reference):
        return await _found(connection, key_id_of(reference))
    key = await _first(connection, KEYS.c.key_alias == reference)
    return key or _missing()


async def _found(connection: AsyncConnection, key_id: str) -> VirtualKey:
    from proxy.storage.tables import KEYS

    return await _first(connection, KEYS.c.id == key_id) or _missing()


def _missing() -> NoReturn:
    raise NotFound("There is no such key.", param="key", code="key_not_found")


async def _first(connection: AsyncConnection, condition: Any) -> VirtualKey | None:
    from sqlalchemy import select

    from proxy.storage.tables import KEYS

    row = (await connection.execute(select(KEYS).where(condition, KEYS.c.deleted.is_(False)))).first()
    return None if row is None else _key(row)


async def _insert(change: _Change, key: VirtualKey) -> VirtualKey:
    from sqlalchemy import insert, select

    from proxy.storage.tables import KEYS

    if (await change.connection.execute(select(KEYS.c.id).where(KEYS.c.id == key.id))).first() is not None:
        raise BadRequest("This key was used before; take another one.", param="key", code="key_exists")
    await _check_alias(change, key.key_alias, key.id)
    row = {"id": key.id, "key_name": key.key_name, "created": key.created, **_stored(_columns(key))}
    await change.connection.execute(insert(KEYS), {**row, "deleted": False, "revision": change.revision})
    return key


async def _update(change: _Change, key_id: str, columns: Mapping[str, Any]) -> VirtualKey:
    from sqlalchemy import update

    from proxy.storage.tables import KEYS

    await _found(change.connection, key_id)
    await _check_alias(change, columns.get("key_alias"), key_id)
    values = {**_stored(columns), "revision": change.revision}
    await change.connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(values))
    return await _found(change.connection, key_id)


async def _check_alias(change: _Change, alias: str | None, key_id: str) -> None:
    from proxy.storage.tables import KEYS

    other = None if alias is None else await _first(change.connection, KEYS.c.key_alias == alias)
    if other is not None and other.id != key_id:
        raise BadRequest("Another key has this alias.", param="key_alias", code="alias_taken")


async def _bury(change: _Change, key_id: str) -> None:
    """The row stays, so that every worker hears of its end; its alias is free again."""
    from sqlalchemy import update

    from proxy.storage.tables import KEYS

    values = {"deleted": True, "key_alias": None, "revision": change.revision}
    await change.connection.execute(update(KEYS).where(KEYS.c.id == key_id).values(values))
