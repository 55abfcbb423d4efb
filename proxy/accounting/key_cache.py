"""All virtual keys and blocked end users, in memory, kept up to date by the revision that each change counts up.

So a known key costs no read, a revoked one stops within two seconds, and keys that are tried out cost ten tiny
queries a second at most, however many they are.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import structlog

from proxy.domain.caller import Caller
from proxy.errors import Forbidden, ProxyError, Unauthorized
from proxy.storage.database import Database, Unavailable

#: Seconds between two looks at the revision.
INTERVAL = 1.0
#: Least seconds between two looks that unknown keys cause.
MIN_PAUSE = 0.1
#: Seconds for which a database that was away counts as away for unknown keys.
AWAY_SECONDS = 1.0
#: Seconds that an unknown key waits for a look.
MAX_PATIENCE = 5.0
ROWS_AT_ONCE = 1000


class KeyRecord(NamedTuple):
    """A virtual key as the calls need it; ``expires`` in milliseconds since 1970."""

    caller: Caller
    blocked: bool
    expires: int | None


class KeyCache:
    """Holds standings, never keys: they are found by SHA-256."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger()
        self._standings: dict[str, KeyRecord] = {}
        self._blocked_end_users: set[str] = set()
        self._revision = 0
        #: The next look, which has not begun yet and which those who wait share; and the one that runs.
        self._next: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._looked = float("-inf")
        #: Since when (event loop's time) the database has not answered.
        self._failed: float | None = None

    def __len__(self) -> int:
        return len(self._standings)

    def find(self, key_id: str) -> Caller | None:
        """None where memory does not know it. Raises Unauthorized for an expired key, Forbidden for a blocked one."""
        standing = self._standings.get(key_id)
        if standing is None:
            return None
        if standing.blocked:
            raise Forbidden("This API key is blocked.", code="key_blocked")
        if standing.expires is not None and standing.expires <= self._clock() * 1000:
            raise Unauthorized("This API key has expired.", code="expired_api_key")
        return standing.caller

    def blocks(self, end_user: str) -> bool:
        return end_user in self._blocked_end_users

    async def run(self) -> None:
        """Keep up to date until cancelled."""
        while True:
            try:
                await self._soon()
            except ProxyError as error:
                self._log.debug("keys are not up to date", reason=error.message)
            await asyncio.sleep(INTERVAL)

    async def refresh(self) -> None:
        """Returns after a look that began after this call. Raises Unavailable where the database is away."""
        loop = asyncio.get_running_loop()
        if self._failed is not None and loop.time() - self._failed < AWAY_SECONDS:
            raise _away("it did not answer a moment ago")
        try:
            await asyncio.wait_for(self._soon(), MAX_PATIENCE)
        except TimeoutError:
            self._failed = loop.time()
            raise _away("it takes too long") from None

    async def aclose(self) -> None:
        looks = [look for look in (self._next, self._running) if look is not None]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _soon(self) -> None:
        if self._next is None:
            self._next = asyncio.ensure_future(self._look())
            self._next.add_done_callback(_outcome_seen)
        await asyncio.shield(self._next)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._looked + MIN_PAUSE - loop.time())
        async with self._turn:
            self._running, self._next = self._next, None
            self._looked = loop.time()
            try:
                await self._load()
            except Exception as error:
                self._is_away(error)
                raise _away(type(error).__name__) from error
            if self._failed is not None:
                self._log.info("keys are up to date again")
            self._failed = None

    def _is_away(self, error: Exception) -> None:
        first, self._failed = self._failed is None, asyncio.get_running_loop().time()
        if not isinstance(error, ProxyError):
            self._log.exception("keys cannot be read from the database")
        elif first:
            self._log.error("keys wait for the database", reason=error.detail or error.message)

    async def _load(self) -> None:
        """What has changed since the last time; everything where the database was put back to an older state."""
        from sqlalchemy import select

        from proxy.storage.tables import END_USERS, KEYS, REVISIONS

        names = (
            "id", "key_alias", "user_id", "team_id", "models", "tags", "guardrails", "blocked", "expires", "deleted",
        )  # fmt: skip
        async with self._database.transaction() as connection:
            newest = (await connection.execute(select(REVISIONS.c.value))).scalar_one()
            if newest == self._revision:
                return
            since = self._revision if newest > self._revision else 0
            standings = self._standings if since else {}
            blocked = self._blocked_end_users if since else set()
            keys = select(*(KEYS.c[name] for name in names)).where(KEYS.c.revision > since)
            async for rows in (await connection.stream(keys)).partitions(ROWS_AT_ONCE):
                for row in rows:
                    _take_key(standings, row)
            end_users = select(END_USERS.c.id, END_USERS.c.blocked).where(END_USERS.c.revision > since)
            for name, is_blocked in await connection.execute(end_users):
                (blocked.add if is_blocked else blocked.discard)(name)
        self._standings, self._blocked_end_users, self._revision = standings, blocked, newest


def _take_key(standings: dict[str, KeyRecord], row: Any) -> None:
    if row.deleted:
        standings.pop(row.id, None)
        return
    caller = Caller(
        key_id=row.id,
        alias=row.key_alias,
        user_id=row.user_id,
        team_id=row.team_id,
        models=frozenset(json.loads(row.models)),
        tags=tuple(json.loads(row.tags)),
        guardrails=tuple(json.loads(row.guardrails)),
    )
    standings[row.id] = KeyRecord(caller, row.blocked, row.expires)


def _outcome_seen(look: asyncio.Task[None]) -> None:
    """All who waited may have gone; asyncio would complain of an error that nobody has looked at."""
    if not look.cancelled():
        look.exception()


def _away(detail: str) -> Unavailable:
    return Unavailable("The server cannot check this API key right now. Please try again.", detail=detail)
