"""Keeps the errors of calls without a valid key, which have no row in the ledger, so that they can be found."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

import structlog

from proxy.domain.call import Call, milliseconds
from proxy.errors import ProxyError
from proxy.storage.database import Database
from proxy.storage.refusals import RefusalRepository

#: Seconds between two writes, and how many refusals one write has at most: the newest of that time.
INTERVAL = 1.0
BATCH = 100
#: Refusals in the database.
KEPT = 10_000
LAST_WRITE_SECONDS = 2.0
#: Seconds between two deletions while there are no new ones.
DELETION_INTERVAL = 3600.0
_DAY_MS = 86_400_000


class Refusals:
    """``add`` them; ``run`` writes them to the database. ``retention`` in days, None to keep them forever."""

    def __init__(
        self, database: Database, retention: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._retention = retention
        self._clock = clock
        self._waiting: deque[dict[str, Any]] = deque(maxlen=BATCH)
        self._next_deletion = clock() + DELETION_INTERVAL

    def add(self, call: Call) -> None:
        total = perf_counter() - call.started
        self._waiting.append({
            "id": f"{random.getrandbits(128):032x}",
            "time": int((self._clock() - total) * 1000),
            "request_id": call.request_id,
            "endpoint": call.endpoint,
            "status": call.status,
            "error": call.error,
            "error_message": call.message,
            "total_ms": milliseconds(total),
            "bytes_in": call.bytes_in,
        })  # fmt: skip

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self._try_to_write()

    async def write(self) -> None:
        """Also deletes what is no longer kept. Raises Unavailable; the refusals are written the next time then."""
        now = self._clock()
        if not self._waiting and now < self._next_deletion:
            return
        rows = list(self._waiting)
        since = None if self._retention is None else int(now * 1000) - self._retention * _DAY_MS
        async with self._database.transaction() as connection:
            refusals = RefusalRepository(connection)
            if rows:
                await refusals.add(rows)
            await refusals.keep(KEPT, since)
        self._next_deletion = now + DELETION_INTERVAL
        written = {row["id"] for row in rows}
        self._waiting = deque((row for row in self._waiting if row["id"] not in written), maxlen=BATCH)

    async def aclose(self) -> None:
        """Call it when `run` has ended."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._try_to_write(), LAST_WRITE_SECONDS)

    async def _try_to_write(self) -> None:
        try:
            await self.write()
        except ProxyError:
            pass  # the database is away, which others report
        except Exception:
            structlog.get_logger().exception("refused calls cannot be stored")
