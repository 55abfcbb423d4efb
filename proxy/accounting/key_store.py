"""How administrators change virtual keys. Each change is one transaction with an audit row."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from proxy.accounting.key_secrets import display_name, hash_of, is_abbreviated, is_reference, key_id_of, new_secret
from proxy.errors import BadRequest, NotFound
from proxy.storage.changes import Change, begin_change
from proxy.storage.database import Database
from proxy.storage.keys import KeyRepository, VirtualKey

#: ``actor`` of what is done on the command line.
COMMAND_LINE = "command line"
PAGE_SIZE = 1000

Outcome = Literal["added", "present", "alias taken"]


class KeyStore:
    """``actor`` is the id of the key that makes the change, or `COMMAND_LINE`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def generate(
        self, columns: Mapping[str, Any], actor: str, secret: str | None = None, *, doubtful: bool = False
    ) -> tuple[str, VirtualKey]:
        """A new key, which cannot be read later, and its row. ``secret``: a checked key that the caller chose.

        ``doubtful``: the actor's own key can be guessed.
        """
        secret = secret or new_secret()
        async with self._change(actor) as change:
            key = VirtualKey(hash_of(secret), display_name(secret), change.time, **columns, doubtful=doubtful)
            await _insert(change, key)
            await change.record("key.generate", key.id, columns)
        return secret, key

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
        """The ids of the deleted keys. Deletes all of them, or none and raises NotFound."""
        async with self._change(actor) as change:
            repository = KeyRepository(change.connection)
            keys = [await _resolve(repository, reference) for reference in references]
            for key in {key.id: key for key in keys}.values():
                await repository.delete(key.id, change.revision)
                await change.record("key.delete", key.id, {"key_alias": key.key_alias, "key_name": key.key_name})
        return [key.id for key in keys]

    async def regenerate(
        self, key_id: str, columns: Mapping[str, Any], actor: str, secret: str | None = None, *, doubtful: bool = False
    ) -> tuple[str, VirtualKey]:
        """A new key with the settings of an old one, which is deleted. ``secret``, ``doubtful``: as in ``generate``."""
        secret = secret or new_secret()
        async with self._change(actor) as change:
            repository = KeyRepository(change.connection)
            old = await _get(repository, key_id)
            await repository.delete(old.id, change.revision)
            settings = {**old.settings, **columns}
            new = VirtualKey(hash_of(secret), display_name(secret), change.time, **settings, doubtful=doubtful)
            await _insert(change, new)
            await change.record("key.regenerate", new.id, {**columns, "replaces": old.id})
        return secret, new

    async def add(self, keys: Sequence[VirtualKey], actor: str) -> list[Outcome]:
        """Import keys of which only the hashes are known, in one transaction; the outcome of each."""
        async with self._change(actor) as change:
            return [await _add(change, key) for key in keys]

    async def find(self, reference: str) -> VirtualKey:
        """By id, by alias or by the key itself. Raises NotFound."""
        async with self._database.transaction() as connection:
            return await _resolve(KeyRepository(connection), reference)

    async def page(
        self, filters: Mapping[str, str] | None = None, *, limit: int = PAGE_SIZE, offset: int = 0
    ) -> tuple[list[VirtualKey], int]:
        """The newest first, and how many there are in all. ``filters``: values that columns must have."""
        async with self._database.transaction() as connection:
            return await KeyRepository(connection).page(filters or {}, limit=limit, offset=offset)

    async def complete(self, reference: str) -> str:
        """The id of which ``reference`` has the first digits, as tables show them; any other reference as it is.

        Raises BadRequest if several keys have them.
        """
        if not is_abbreviated(reference):
            return reference
        async with self._database.transaction() as connection:
            repository = KeyRepository(connection)
            if await repository.get_by_alias(reference) is not None:
                return reference
            ids = await repository.starting_with(reference.lower(), limit=2)
        if len(ids) > 1:
            raise BadRequest(f"Several keys have an ID that begins with {reference}.", param="key")
        return ids[0] if ids else reference

    async def labels(self, ids: Collection[str]) -> Mapping[str, str]:
        """How tables show keys: by alias, else as they are displayed, with their owner. Deleted keys too."""
        async with self._database.transaction() as connection:
            rows = await KeyRepository(connection).names(ids)
        return {row.id: row.key_alias or _displayed(row.key_name, row.user_id or row.team_id) for row in rows}

    def _change(self, actor: str) -> AbstractAsyncContextManager[Change]:
        return begin_change(self._database, actor, int(self._clock() * 1000))


def _displayed(key_name: str, owner: str | None) -> str:
    return key_name if owner is None else f"{key_name} ({owner})"


async def _resolve(repository: KeyRepository, reference: str) -> VirtualKey:
    if is_reference(reference):
        return await _get(repository, key_id_of(reference))
    if (key := await repository.get_by_alias(reference)) is None:
        raise _not_found()
    return key


async def _get(repository: KeyRepository, key_id: str) -> VirtualKey:
    if (key := await repository.get(key_id)) is None:
        raise _not_found()
    return key


def _not_found() -> NotFound:
    return NotFound("There is no such key.", param="key", code="key_not_found")


async def _insert(change: Change, key: VirtualKey) -> None:
    repository = KeyRepository(change.connection)
    if await repository.exists(key.id):
        raise BadRequest("This key was used before; choose another one.", param="key", code="key_exists")
    await _check_alias(repository, key.key_alias, key.id)
    await repository.insert(key, change.revision)


async def _update(change: Change, key_id: str, columns: Mapping[str, Any]) -> VirtualKey:
    repository = KeyRepository(change.connection)
    await _get(repository, key_id)
    await _check_alias(repository, columns.get("key_alias"), key_id)
    await repository.update(key_id, columns, change.revision)
    return await _get(repository, key_id)


async def _check_alias(repository: KeyRepository, alias: str | None, key_id: str) -> None:
    other = None if alias is None else await repository.get_by_alias(alias)
    if other is not None and other.id != key_id:
        raise BadRequest("Another key has this alias.", param="key_alias", code="alias_taken")


async def _add(change: Change, key: VirtualKey) -> Outcome:
    repository = KeyRepository(change.connection)
    if await repository.exists(key.id):
        return "present"
    if key.key_alias is not None and await repository.get_by_alias(key.key_alias) is not None:
        return "alias taken"
    await repository.insert(key, change.revision)
    await change.record("key.import", key.id, key.settings)
    return "added"
