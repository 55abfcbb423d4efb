"""All virtual keys and blocked end users, in memory. Each change increments a revision, by which the cache stays fresh.

So a known key costs no query, a revoked key stops within two seconds, and unknown keys cost at most ten tiny queries a
second, however many are tried.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from proxy.domain.caller import Caller
from proxy.errors import Forbidden, ProxyError, Unauthorized
from proxy.storage.changes import current_revision
from proxy.storage.database import Database, Unavailable
from proxy.storage.end_users import EndUserRepository
from proxy.storage.keys import KeyRecord, KeyRepository
from proxy.tasks import cancel_all

#: Seconds between two checks of the revision.
INTERVAL = 1.0
#: Minimum seconds between two checks that unknown keys cause.
MIN_PAUSE = 0.1
#: After a check has failed, unknown keys are refused without another check for so many seconds.
FAILURE_SECONDS = 1.0
#: Seconds that an unknown key waits for a check.
MAX_WAIT = 5.0


class KeyCache:
    """Contains no keys, only their SHA-256 and what calls need to know about them."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._log = structlog.get_logger()
        self._keys: dict[str, KeyRecord] = {}
        self._blocked_end_users: set[str] = set()
        self._revision = 0
        #: The next check, which has not begun and which all who wait share; and the one that is running.
        self._next: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        #: When the last check began, and since when the database has not answered, on the event loop's clock.
        self._checked = float("-inf")
        self._failed: float | None = None

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, key_id: str) -> Caller | None:
        """None if it is not in memory. Raises Unauthorized for an expired key, Forbidden for a blocked one."""
        record = self._keys.get(key_id)
        if record is None:
            return None
        if record.blocked:
            raise Forbidden("This API key is blocked.", code="key_blocked")
        if record.expires is not None and record.expires <= self._clock() * 1000:
            raise Unauthorized("This API key has expired.", code="expired_api_key")
        return record.caller

    def blocks(self, end_user: str) -> bool:
        return end_user in self._blocked_end_users

    async def run(self) -> None:
        """Stay up to date until cancelled."""
        while True:
            try:
                await self._check_soon()
            except ProxyError as error:
                self._log.debug("virtual keys may be out of date", reason=error.message)
            await asyncio.sleep(INTERVAL)

    async def refresh(self) -> None:
        """Returns after a check that began after this call. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        if self._failed is not None and loop.time() - self._failed < FAILURE_SECONDS:
            raise _unavailable("the database did not answer a moment ago")
        try:
            await asyncio.wait_for(self._check_soon(), MAX_WAIT)
        except TimeoutError:
            self._failed = loop.time()
            raise _unavailable("the database takes too long") from None

    async def aclose(self) -> None:
        await cancel_all(check for check in (self._next, self._running) if check is not None)

    async def _check_soon(self) -> None:
        if self._next is None:
            self._next = asyncio.ensure_future(self._check())
            self._next.add_done_callback(_retrieve_exception)
        await asyncio.shield(self._next)

    async def _check(self) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._checked + MIN_PAUSE - loop.time())
        async with self._turn:
            self._running, self._next = self._next, None
            self._checked = loop.time()
            try:
                await self._load()
            except Exception as error:
                self._report_failure(error)
                raise _unavailable(type(error).__name__) from error
            if self._failed is not None:
                self._log.info("virtual keys are up to date again")
            self._failed = None

    def _report_failure(self, error: Exception) -> None:
        first, self._failed = self._failed is None, asyncio.get_running_loop().time()
        if not isinstance(error, ProxyError):
            self._log.exception("virtual keys cannot be read from the database")
        elif first:
            self._log.error(
                "virtual keys cannot be updated: the database does not answer", reason=error.detail or error.message
            )

    async def _load(self) -> None:
        """What changed since the last time, or everything if the database was restored to an older state."""
        async with self._database.transaction() as connection:
            revision = await current_revision(connection)
            if revision == self._revision:
                return
            since = self._revision if revision > self._revision else 0
            keys = self._keys if since else {}
            blocked_end_users = self._blocked_end_users if since else set()
            async for key_id, record in KeyRepository(connection).changed_since(since):
                if record is None:
                    keys.pop(key_id, None)
                else:
                    keys[key_id] = record
            for name, blocked in (await EndUserRepository(connection).changed_since(since)).items():
                (blocked_end_users.add if blocked else blocked_end_users.discard)(name)
        self._keys, self._blocked_end_users, self._revision = keys, blocked_end_users, revision


def _retrieve_exception(check: asyncio.Task[None]) -> None:
    """Retrieve the exception even if no one waits for it any more: asyncio would log it otherwise."""
    if not check.cancelled():
        check.exception()


def _unavailable(detail: str) -> Unavailable:
    return Unavailable("The server cannot check this API key right now. Please try again.", detail=detail)
