"""Virtual keys over HTTP, with LiteLLM's paths and field names. For the master key; a key may read its own info."""

from __future__ import annotations

from contextlib import suppress
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_settings import KeySettings
from proxy.accounting.key_store import KeyStore
from proxy.api.access import Admin, Reader, administrator, authenticator
from proxy.api.bodies import JsonBodyRoute, key_id, reads
from proxy.api.key_models import (
    BlockedKey,
    DeletedKeys,
    DeleteKeys,
    FoundKey,
    GeneratedKey,
    GenerateKey,
    KeyList,
    KeysQuery,
    NamedKey,
    RegenerateKey,
    RegenerateKeyInPath,
    UpdatedKey,
    UpdateKey,
    info_of,
)
from proxy.domain.caller import MASTER_KEY_ID, Caller
from proxy.errors import BadRequest
from proxy.routing.groups import ModelGroups, unknown_model
from proxy.storage.database import Unavailable
from proxy.storage.keys import VirtualKey


async def uncached(response: Response) -> None:
    """Keep answers that may contain keys out of caches."""
    response.headers["cache-control"] = "no-store"


def router(store: KeyStore, key_cache: KeyCache, groups: ModelGroups) -> APIRouter:
    routes = APIRouter(tags=["keys"], route_class=JsonBodyRoute, dependencies=[Depends(uncached)])

    @routes.post("/key/generate", response_model_exclude_unset=True)
    async def generate_key(
        request: Request, admin: Admin, body: Annotated[GenerateKey, reads(GenerateKey)]
    ) -> GeneratedKey:
        """Create a key. It is not shown again."""
        _check_configured(request, body.key, "key")
        _check_models(body, groups)
        doubtful = authenticator(request).is_weak(admin)
        secret, key = await store.generate(body.columns(), _actor(admin), body.key, doubtful=doubtful)
        return _generated(secret, key, body)

    @routes.post("/key/update", response_model_exclude_unset=True)
    async def update_key(admin: Admin, body: Annotated[UpdateKey, reads(UpdateKey)]) -> UpdatedKey:
        """Change settings of a key. Those that are missing or null stay as they are."""
        _check_models(body, groups)
        updated = await store.update(body.key, body.columns(), _actor(admin))
        await _refresh(key_cache)
        return UpdatedKey(key=updated.id, **info_of(updated), **_ignored(body))

    @routes.post("/key/delete")
    async def delete_keys(admin: Admin, body: Annotated[DeleteKeys, reads(DeleteKeys)]) -> DeletedKeys:
        """Delete keys. They stop working at once in this process, and within two seconds in all others."""
        references = [*body.keys, *body.key_aliases]
        if not references:
            raise BadRequest("'keys' or 'key_aliases' must name a key.", param="keys")
        deleted = await store.delete(references, _actor(admin))
        await _refresh(key_cache)
        return DeletedKeys(deleted_keys=deleted)

    async def replace(
        request: Request, admin: Caller, key_id: str, body: RegenerateKey | RegenerateKeyInPath
    ) -> GeneratedKey:
        _check_configured(request, body.new_key, "new_key")
        _check_models(body, groups)
        doubtful = authenticator(request).is_weak(admin)
        secret, key = await store.regenerate(key_id, body.columns(), _actor(admin), body.new_key, doubtful=doubtful)
        await _refresh(key_cache)
        return _generated(secret, key, body)

    @routes.post("/key/regenerate", response_model_exclude_unset=True)
    async def regenerate_key(
        request: Request, admin: Admin, body: Annotated[RegenerateKey, reads(RegenerateKey)]
    ) -> GeneratedKey:
        """Create a key with the settings of an old one, which is deleted."""
        return await replace(request, admin, body.key, body)

    @routes.post("/key/{key}/regenerate", response_model_exclude_unset=True)
    async def regenerate_key_in_path(
        request: Request, admin: Admin, key: str, body: Annotated[RegenerateKeyInPath, reads(RegenerateKeyInPath)]
    ) -> GeneratedKey:
        """Create a key with the settings of an old one, which is deleted."""
        return await replace(request, admin, key_id(key), body)

    async def set_blocked(admin: Caller, key_id: str, *, blocked: bool) -> BlockedKey:
        changed = await store.block(key_id, blocked=blocked, actor=_actor(admin))
        await _refresh(key_cache)
        return BlockedKey(key=changed.id, **info_of(changed))

    @routes.post("/key/block")
    async def block_key(admin: Admin, body: Annotated[NamedKey, reads(NamedKey)]) -> BlockedKey:
        """Refuse calls with the key, until it is unblocked."""
        return await set_blocked(admin, body.key, blocked=True)

    @routes.post("/key/unblock")
    async def unblock_key(admin: Admin, body: Annotated[NamedKey, reads(NamedKey)]) -> BlockedKey:
        """Accept calls with the key again."""
        return await set_blocked(admin, body.key, blocked=False)

    @routes.get("/key/info")
    async def key_info(
        request: Request,
        caller: Reader,
        key: Annotated[str | None, Query(description="The key, or its SHA-256. By default, the caller's key.")] = None,
    ) -> FoundKey:
        """The record of a key. A virtual key may only read its own."""
        reference = caller.key_id if key is None else key_id(key)
        if reference != caller.key_id or caller.is_master:
            await administrator(request)
        if reference is None or reference == MASTER_KEY_ID:
            raise BadRequest("'key' must name a virtual key; the master key is not one.", param="key")
        record = await store.find(reference)
        return FoundKey.model_validate({"key": record.id, "info": info_of(record)})

    @routes.get("/key/list", dependencies=[Depends(administrator)])
    async def list_keys(query: Annotated[KeysQuery, Query()]) -> KeyList:
        """The keys, the newest first."""
        size, is_full = query.size, query.return_full_object
        keys: list[VirtualKey] = []
        total = 0
        if query.organization_id is None:
            keys, total = await store.page(query.filters(), limit=size, offset=(query.page - 1) * size)
        return KeyList.model_validate(
            {
                "keys": [{"token": key.id, **info_of(key)} if is_full else key.id for key in keys],
                "total_count": total,
                "current_page": query.page,
                "total_pages": ceil(total / size),
            }
        )

    return routes


async def _refresh(key_cache: KeyCache) -> None:
    """Returns when the change is in force in this process, unless the database goes away just after it."""
    with suppress(Unavailable):
        await key_cache.refresh()


def _actor(admin: Caller) -> str:
    return admin.key_id or ""


def _check_configured(request: Request, secret: str | None, field: str) -> None:
    if secret is not None and authenticator(request).is_configured(secret):
        raise BadRequest(f"'{field}' must not be a key of the configuration.", param=field, code="key_exists")


def _check_models(body: KeySettings, groups: ModelGroups) -> None:
    """Raises BadRequest with the nearest name. A misspelt model would otherwise be noticed by whoever uses the key."""
    for name in body.models or ():
        if not groups.exists(name):
            raise BadRequest(unknown_model(name, groups.names), param="models", code="model_not_found")


def _generated(secret: str, key: VirtualKey, body: KeySettings) -> GeneratedKey:
    return GeneratedKey(key=secret, token=key.id, token_id=key.id, **info_of(key), **_ignored(body))


def _ignored(body: KeySettings) -> dict[str, Any]:
    """Left unset, and so out of the answer, if nothing was ignored."""
    return {"ignored": body.ignored} if body.ignored else {}
