"""Whom the callers serve: what they used, and who may not be served any more. For the master key."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request

from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_store import KeyStore
from proxy.accounting.usage import UsageReports, selection
from proxy.api.access import administrator
from proxy.api.documents import body_of, document, texts_of
from proxy.domain.caller import Caller
from proxy.errors import BadRequest
from proxy.parse import MAX_END_USER_LENGTH, plain
from proxy.storage.database import Unavailable

MAX_AT_ONCE = 1000
#: LiteLLM's names of the same.
_PATHS = ("/end_users", "/end_user", "/customer")
_BODY = body_of({"user_ids": {"type": "array", "items": {"type": "string"}}}, "user_ids")

Admin = Annotated[Caller, Depends(administrator)]


def router(administration: KeyStore, usage: UsageReports, key_cache: KeyCache) -> APIRouter:
    routes = APIRouter(tags=["end users"])

    @routes.get("/end_users", dependencies=[Depends(administrator)])
    async def end_users(
        start: str | None = None,
        end: str | None = None,
        end_user: str | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_AT_ONCE)] = 100,
        cursor: Annotated[str, Query(max_length=MAX_END_USER_LENGTH)] = "",
    ) -> dict[str, Any]:
        """By name, with what they used."""
        chosen = selection(start, end, {"end_user": end_user} if end_user else {})
        rows, more = await usage.end_users(chosen, limit, cursor.replace("\x00", ""))
        return {"object": "list", "data": rows, "has_more": more is not None, "next_cursor": more}

    async def set_blocked(request: Request, admin: Caller, *, blocked: bool) -> list[dict[str, Any]]:
        names = [plain(name) for name in texts_of(await document(request), "user_ids", most=MAX_AT_ONCE)]
        if not names or not all(0 < len(name) <= MAX_END_USER_LENGTH for name in names):
            raise BadRequest(
                f"'user_ids' must name end users, each of 1 to {MAX_END_USER_LENGTH} characters.", param="user_ids"
            )
        await administration.block_end_users(names, blocked=blocked, actor=admin.key_id or "")
        with suppress(Unavailable):
            await key_cache.refresh()
        return [{"user_id": name, "blocked": blocked} for name in names]

    async def block(request: Request, admin: Admin) -> dict[str, Any]:
        """Their calls are refused from now on, within two seconds everywhere."""
        return {"blocked_users": await set_blocked(request, admin, blocked=True)}

    async def unblock(request: Request, admin: Admin) -> dict[str, Any]:
        return {"unblocked_users": await set_blocked(request, admin, blocked=False)}

    for path in _PATHS:
        shown = path == _PATHS[0]
        routes.add_api_route(f"{path}/block", block, methods=["POST"], include_in_schema=shown, openapi_extra=_BODY)
        routes.add_api_route(f"{path}/unblock", unblock, methods=["POST"], include_in_schema=shown, openapi_extra=_BODY)
    return routes
