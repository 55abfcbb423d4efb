"""The end users: what they used, and which are blocked. For the master key."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, Field, model_validator

from proxy.accounting.end_user_store import EndUserStore
from proxy.accounting.key_cache import KeyCache
from proxy.accounting.usage_reports import UsageReports, selection
from proxy.api.access import Admin, administrator
from proxy.api.bodies import MAX_ITEMS, JsonBodyRoute, Texts, reads
from proxy.api.queries import ListQuery
from proxy.api.usage_models import EndUserPage
from proxy.domain.caller import Caller
from proxy.errors import BadRequest
from proxy.parse import MAX_END_USER_LENGTH, plain
from proxy.storage.database import Unavailable

#: The second and third are LiteLLM's.
_PATHS = ("/end_users", "/end_user", "/customer")


def _names(names: list[str]) -> list[str]:
    """Without the control characters and the white space that requests may not have either."""
    names = [plain(name) for name in names]
    if not names or not all(0 < len(name) <= MAX_END_USER_LENGTH for name in names):
        raise BadRequest(
            f"'user_ids' must name end users, each of 1 to {MAX_END_USER_LENGTH} characters.", param="user_ids"
        )
    return names


class EndUsersQuery(ListQuery):
    start: str | None = Field(default=None, description="A date or a timestamp, by default in UTC.")
    end: str | None = Field(
        default=None, description="A date, whose day is included, or a timestamp, which is not included."
    )
    end_user: str | None = Field(default=None, description="Only this end user.")
    limit: int = Field(default=100, ge=1, le=MAX_ITEMS)
    cursor: str = Field(
        default="", max_length=MAX_END_USER_LENGTH, description="The ``next_cursor`` of the page before."
    )


class EndUsers(BaseModel):
    user_ids: Annotated[Texts, AfterValidator(_names)] = Field(examples=[["eve"]])

    @model_validator(mode="before")
    @classmethod
    def _missing_is_empty(cls, document: Any) -> Any:
        return {"user_ids": None, **document}


class BlockedState(BaseModel):
    user_id: str
    blocked: bool


class BlockedUsers(BaseModel):
    blocked_users: list[BlockedState]


class UnblockedUsers(BaseModel):
    unblocked_users: list[BlockedState]


def router(store: EndUserStore, reports: UsageReports, key_cache: KeyCache) -> APIRouter:
    routes = APIRouter(tags=["end users"], route_class=JsonBodyRoute)

    @routes.get("/end_users", dependencies=[Depends(administrator)])
    async def list_end_users(query: Annotated[EndUsersQuery, Query()]) -> EndUserPage:
        """The end users by name, with what they used."""
        selected = selection(query.start, query.end, {"end_user": query.end_user} if query.end_user else {})
        rows, more = await reports.end_users(selected, query.limit, query.cursor.replace("\x00", ""))
        return EndUserPage.model_validate({"data": rows, "has_more": more is not None, "next_cursor": more})

    async def set_blocked(admin: Caller, names: list[str], *, blocked: bool) -> list[BlockedState]:
        await store.block(names, blocked=blocked, actor=admin.key_id or "")
        with suppress(Unavailable):
            await key_cache.refresh()
        return [BlockedState(user_id=name, blocked=blocked) for name in names]

    async def block_end_users(admin: Admin, body: Annotated[EndUsers, reads(EndUsers)]) -> BlockedUsers:
        """Refuse calls for these end users: at once in this process, and within two seconds in all others."""
        return BlockedUsers(blocked_users=await set_blocked(admin, body.user_ids, blocked=True))

    async def unblock_end_users(admin: Admin, body: Annotated[EndUsers, reads(EndUsers)]) -> UnblockedUsers:
        """Accept calls for these end users again."""
        return UnblockedUsers(unblocked_users=await set_blocked(admin, body.user_ids, blocked=False))

    for path in _PATHS:
        documented = path == _PATHS[0]
        routes.add_api_route(f"{path}/block", block_end_users, methods=["POST"], include_in_schema=documented)
        routes.add_api_route(f"{path}/unblock", unblock_end_users, methods=["POST"], include_in_schema=documented)
    return routes
