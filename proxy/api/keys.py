"""Virtual keys over HTTP, with LiteLLM's paths and field names. For the master key; a key may look at itself."""

from __future__ import annotations

from contextlib import suppress
from math import ceil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from proxy.accounting import key_fields
from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_store import KeyStore, VirtualKey
from proxy.accounting.keys import is_reference, key_id_of
from proxy.accounting.usage import iso
from proxy.api.access import administrator, keys_of, reader
from proxy.api.documents import body_of, document, text_of, texts_of
from proxy.domain.caller import MASTER_KEY_ID, Caller
from proxy.errors import BadRequest
from proxy.storage.database import Unavailable

MAX_AT_ONCE = 1000
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_FIELDS: dict[str, Any] = {
    "key_alias": _TEXT,
    "duration": {**_TEXT, "description": "Such as 30s, 30m, 24h or 30d; -1 for never."},
    "models": {**_TEXTS, "description": "What the key may use; empty: everything."},
    "user_id": _TEXT,
    "team_id": _TEXT,
    "metadata": {"type": "object"},
    "tags": _TEXTS,
    "guardrails": {**_TEXTS, "description": "Guardrails that look at all calls of the key."},
    "blocked": {"type": "boolean"},
}
_KEY = {"key": {**_TEXT, "description": "The key, or its SHA-256."}}

Admin = Annotated[Caller, Depends(administrator)]


def router(administration: KeyStore, key_cache: KeyCache) -> APIRouter:
    routes = APIRouter(tags=["keys"], dependencies=[Depends(uncached)])

    @routes.post("/key/generate", openapi_extra=body_of({**_FIELDS, "key": _TEXT}))
    async def generate(request: Request, admin: Admin) -> dict[str, Any]:
        """A new key. The answer shows it for the only time."""
        body = await document(request)
        secret = _secret(request, body.pop("key", None), "key")
        fields = key_fields.read(body)
        made = await administration.generate(fields.columns, _actor(admin), secret)
        return _with_secret(*made, fields.ignored)

    @routes.post("/key/update", openapi_extra=body_of({**_KEY, **_FIELDS}, "key"))
    async def update(request: Request, admin: Admin) -> dict[str, Any]:
        """What is not named, or null, stays as it is."""
        body = await document(request)
        key_id = _id(text_of(body, "key"))
        fields = key_fields.read({name: value for name, value in body.items() if name != "key"})
        updated = await administration.update(key_id, fields.columns, _actor(admin))
        await _seen(key_cache)
        return _with_ignored({"key": updated.id, **_info(updated)}, fields.ignored)

    @routes.post("/key/delete", openapi_extra=body_of({"keys": _TEXTS, "key_aliases": _TEXTS}))
    async def delete(request: Request, admin: Admin) -> dict[str, Any]:
        """They end at once here, and within two seconds everywhere."""
        body = await document(request)
        ids = [_id(key) for key in texts_of(body, "keys", most=MAX_AT_ONCE)]
        references = [*ids, *texts_of(body, "key_aliases", most=MAX_AT_ONCE)]
        if not references:
            raise BadRequest("'keys' or 'key_aliases' must name a key.", param="keys")
        deleted = await administration.delete(references, _actor(admin))
        await _seen(key_cache)
        return {"deleted_keys": deleted}

    async def regenerate(request: Request, admin: Caller, key: str, body: dict[str, Any]) -> dict[str, Any]:
        secret = _secret(request, body.pop("new_key", None), "new_key")
        fields = key_fields.read(body)
        made = await administration.regenerate(_id(key), fields.columns, _actor(admin), secret)
        await _seen(key_cache)
        return _with_secret(*made, fields.ignored)

    @routes.post("/key/regenerate", openapi_extra=body_of({**_KEY, **_FIELDS, "new_key": _TEXT}, "key"))
    async def regenerate_named(request: Request, admin: Admin) -> dict[str, Any]:
        """A new key with the old one's settings; the old one ends."""
        body = await document(request)
        return await regenerate(request, admin, text_of(body, "key"), _without_key(body))

    @routes.post("/key/{key}/regenerate", openapi_extra=body_of({**_FIELDS, "new_key": _TEXT}))
    async def regenerate_in_path(request: Request, admin: Admin, key: str) -> dict[str, Any]:
        return await regenerate(request, admin, key, _without_key(await document(request)))

    async def set_blocked(request: Request, admin: Caller, *, blocked: bool) -> dict[str, Any]:
        key_id = _id(text_of(await document(request), "key"))
        changed = await administration.block(key_id, blocked=blocked, actor=_actor(admin))
        await _seen(key_cache)
        return {"key": changed.id, **_info(changed)}

    @routes.post("/key/block", openapi_extra=body_of(_KEY, "key"))
    async def block(request: Request, admin: Admin) -> dict[str, Any]:
        return await set_blocked(request, admin, blocked=True)

    @routes.post("/key/unblock", openapi_extra=body_of(_KEY, "key"))
    async def unblock(request: Request, admin: Admin) -> dict[str, Any]:
        return await set_blocked(request, admin, blocked=False)

    @routes.get("/key/info")
    async def info(
        request: Request,
        found: Annotated[Caller, Depends(reader)],
        key: Annotated[str | None, Query(description="The key, or its SHA-256; else the caller's own.")] = None,
    ) -> dict[str, Any]:
        own = found.key_id if key is None else _id(key)
        if own != found.key_id or found.is_master:
            await administrator(request)
        if own is None or own == MASTER_KEY_ID:
            raise BadRequest("'key' must name a virtual key; the master key is none.", param="key")
        asked = await administration.find(own)
        return {"key": asked.id, "info": _info(asked)}

    @routes.get("/key/list", dependencies=[Depends(administrator)])
    async def keys(
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        size: Annotated[int, Query(ge=1, le=MAX_AT_ONCE)] = 100,
        user_id: str | None = None,
        team_id: str | None = None,
        key_alias: str | None = None,
        return_full_object: bool = False,
    ) -> dict[str, Any]:
        """Ids, the newest first; with ``return_full_object`` all that there is to know."""
        given = {"user_id": user_id, "team_id": team_id, "key_alias": key_alias}
        filters = {name: value.replace("\x00", "") for name, value in given.items() if value is not None}
        found, total = await administration.keys(filters, limit=size, offset=(page - 1) * size)
        return {
            "keys": [{"token": key.id, **_info(key)} if return_full_object else key.id for key in found],
            "total_count": total,
            "current_page": page,
            "total_pages": ceil(total / size),
        }

    return routes


async def uncached(response: Response) -> None:
    """Nobody on the way keeps an answer, which may hold a key."""
    response.headers["cache-control"] = "no-store"


async def _seen(key_cache: KeyCache) -> None:
    """Returns when this process holds to the change, unless the database went away just after it."""
    with suppress(Unavailable):
        await key_cache.refresh()


def _actor(admin: Caller) -> str:
    return admin.key_id or ""


def _id(reference: str) -> str:
    if not is_reference(reference):
        raise BadRequest("A key must be named by itself (sk-…) or by its SHA-256.", param="key", code="invalid_value")
    return key_id_of(reference)


def _without_key(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != "key"}


def _secret(request: Request, given: Any, name: str) -> str | None:
    """The key that the caller chose, checked; None where it is to be made."""
    if given is None:
        return None
    secret = key_fields.check_secret(given)
    if keys_of(request).is_ours(secret):
        raise BadRequest(f"'{name}' must not be a key of the configuration.", param=name, code="key_exists")
    return secret


def _with_secret(secret: str, key: VirtualKey, ignored: tuple[str, ...]) -> dict[str, Any]:
    return _with_ignored({"key": secret, "token": key.id, "token_id": key.id, **_info(key)}, ignored)


def _with_ignored(answer: dict[str, Any], ignored: tuple[str, ...]) -> dict[str, Any]:
    return {**answer, "ignored": list(ignored)} if ignored else answer


def _info(key: VirtualKey) -> dict[str, Any]:
    return {
        "key_name": key.key_name,
        "key_alias": key.key_alias,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "models": list(key.models),
        "tags": list(key.tags),
        "guardrails": list(key.guardrails),
        "metadata": dict(key.metadata),
        "blocked": key.blocked,
        "expires": None if key.expires is None else iso(key.expires),
        "created_at": iso(key.created),
    }
