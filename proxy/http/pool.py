"""The open connections: the most recently used one is reused first, their number is limited, idle ones are closed."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from proxy.http.connection import Connection
from proxy.http.dial import dial
from proxy.http.errors import ConnectError, PoolTimeout
from proxy.http.messages import Timeouts
from proxy.http.route import Route


class ConnectionPool:
    """Hands out connections. Whoever takes one returns it with `release`, or aborts it."""

    def __init__(self, tls: Callable[[], ssl.SSLContext], *, limit: int, idle_seconds: float) -> None:
        self._tls = tls
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._live: dict[Connection, Route] = {}
        #: The dicts serve as ordered sets: last in, first out.
        self._idle: dict[Route, dict[Connection, None]] = {}
        self._opening = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._emptied = asyncio.Event()

    @property
    def open(self) -> int:
        """Connections that are open or being opened."""
        return len(self._live) + self._opening

    def take_idle(self, route: Route) -> Connection | None:
        """An open connection that nobody uses or waits for, if there is one."""
        self._check_open()
        return None if self._waiters else self._pop_idle(route)

    async def take(self, route: Route, timeouts: Timeouts, *, fresh: bool = False) -> Connection:
        """A connection that nobody else uses; a new one if ``fresh``.

        Raises what `dial` raises, and PoolTimeout if the limit allows none within ``timeouts["pool"]``.
        """
        if not fresh and (connection := self.take_idle(route)) is not None:
            return connection
        self._check_open()
        if not self._waiters and self._make_room():
            return await self._open(route, timeouts)
        if (connection := await self._queue(route, timeouts, fresh)) is not None:
            return connection
        return await self._open(route, timeouts)

    def release(self, connection: Connection) -> None:
        """Take a connection back after its exchange; one that cannot be reused is closed."""
        route = self._live.get(connection)
        if route is None or self._closed or not connection.reusable:
            connection.abort()
            return
        connection.park(self._idle_seconds)
        self._idle.setdefault(route, {})[connection] = None
        self._wake()

    async def aclose(self) -> None:
        """Close all connections, including those in use; waiting callers get an error."""
        self._closed = True
        for connection in list(self._live):
            connection.abort()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._live:
            await self._emptied.wait()

    async def _open(self, route: Route, timeouts: Timeouts) -> Connection:
        connection = Connection(self._on_lost)
        self._opening += 1
        try:
            await dial(connection, route, self._tls, timeouts)
            if not connection.lost:
                self._live[connection] = route
        finally:
            self._opening -= 1
            if connection not in self._live:
                self._wake()
        if self._closed:
            connection.abort()
            self._check_open()
        return connection

    def _pop_idle(self, route: Route) -> Connection | None:
        idle = self._idle.get(route)
        while idle:
            connection, _ = idle.popitem()
            if not connection.closing:
                return connection
        return None

    # -- the limit -----------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Whether one more may be opened, if necessary after closing an idle connection to another server."""
        if self.open < self._limit:
            return True
        for idle in self._idle.values():
            for oldest in idle:
                del idle[oldest], self._live[oldest]
                oldest.abort()
                return True
        return False

    async def _queue(self, route: Route, timeouts: Timeouts, fresh: bool) -> Connection | None:
        """Wait in the queue: returns an idle connection, or None if a new one may be opened."""
        seconds = timeouts.get("pool")
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeouts.get("connect") if seconds is None else seconds):
                while True:
                    await waiter
                    self._check_open()
                    if not fresh and (connection := self._pop_idle(route)) is not None:
                        return connection
                    if self._make_room():
                        return None
                    place = self._waiters.index(waiter)
                    waiter = self._waiters[place] = asyncio.get_running_loop().create_future()
        except TimeoutError:
            raise PoolTimeout("no connection became free in time") from None
        finally:
            self._waiters.remove(waiter)
            if waiter.done():  # woken, but perhaps cancelled at the same moment: let the next one have the connection
                self._wake()

    def _wake(self) -> None:
        """A connection became free: wake the first in the queue."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
                return

    def _check_open(self) -> None:
        if self._closed:
            raise ConnectError("the transport is closed")

    def _on_lost(self, connection: Connection) -> None:
        route = self._live.pop(connection, None)
        if route is not None and (idle := self._idle.get(route)):
            idle.pop(connection, None)
        if self._closed and not self._live:
            self._emptied.set()
        self._wake()
