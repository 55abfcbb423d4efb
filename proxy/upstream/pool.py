"""The open connections: reused most recently used first, bounded in number, closed when idle for long."""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

import httpx

from proxy.upstream.connection import Connection, Timeouts
from proxy.upstream.dial import dial
from proxy.upstream.route import Route


class ConnectionPool:
    """Hands out connections; whoever takes one gives it back with `release`, or aborts it."""

    def __init__(self, tls: Callable[[], ssl.SSLContext], *, limit: int, idle_seconds: float) -> None:
        self._tls = tls
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._live: dict[Connection, Route] = {}
        #: Dicts serve as ordered sets: the last in is the first out.
        self._idle: dict[Route, dict[Connection, None]] = {}
        self._dialling = 0
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._emptied = asyncio.Event()

    @property
    def open(self) -> int:
        """Connections that are open or being opened."""
        return len(self._live) + self._dialling

    def take_idle(self, route: Route) -> Connection | None:
        """A connection that is open and that nobody uses or waits for, if there is one."""
        self._check_open()
        return None if self._waiters else self._pop_idle(route)

    async def take(self, route: Route, timeouts: Timeouts, *, fresh: bool = False) -> Connection:
        """A connection that nobody else uses; a new one if ``fresh``.

        Raises what `dial` raises, and httpx.PoolTimeout if the bound allows none within ``timeouts["pool"]``.
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
        """Take back a connection after its exchange; one that cannot be used again is closed."""
        route = self._live.get(connection)
        if route is None or self._closed or not connection.reusable:
            connection.abort()
            return
        connection.park(self._idle_seconds)
        self._idle.setdefault(route, {})[connection] = None
        self._wake()

    async def aclose(self) -> None:
        """Close everything, connections in use included; those who wait get an error."""
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
        self._dialling += 1
        try:
            await dial(connection, route, self._tls, timeouts)
            if not connection.lost:
                self._live[connection] = route
        finally:
            self._dialling -= 1
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

    # -- the bound -----------------------------------------------------------------------------------------------------

    def _make_room(self) -> bool:
        """Whether one more may be opened, if need be at the cost of an idle connection to somewhere else."""
        if self.open < self._limit:
            return True
        for idle in self._idle.values():
            for oldest in idle:
                del idle[oldest], self._live[oldest]
                oldest.abort()
                return True
        return False

    async def _queue(self, route: Route, timeouts: Timeouts, fresh: bool) -> Connection | None:
        """Wait for a turn, first come first served: an idle connection, or None if a new one may be opened."""
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
            raise httpx.PoolTimeout("no connection came free in time") from None
        finally:
            self._waiters.remove(waiter)
            if waiter.done():  # woken, but perhaps cancelled in the same moment: somebody else may use the chance
                self._wake()

    def _wake(self) -> None:
        """Something came free: let the first in the queue look."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
                return

    def _check_open(self) -> None:
        if self._closed:
            raise httpx.ConnectError("the transport is closed")

    def _on_lost(self, connection: Connection) -> None:
        route = self._live.pop(connection, None)
        if route is not None and (idle := self._idle.get(route)):
            idle.pop(connection, None)
        if self._closed and not self._live:
            self._emptied.set()
        self._wake()
