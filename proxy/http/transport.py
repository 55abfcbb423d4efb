"""Sends requests, over connections that it pools, and streams their responses."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Protocol

from proxy.http.connection import Connection
from proxy.http.encoding import EncodedRequest
from proxy.http.errors import StreamClosed, TransportError
from proxy.http.messages import URL, ByteStream, Headers, Origin, Request, Response, Timeouts
from proxy.http.pool import ConnectionPool
from proxy.http.route import Route, route_to
from proxy.http.tls import TLS


class Transport(Protocol):
    """Whatever sends a request and gets its response: a network, an engine in this process, a client of the caller."""

    async def send(self, request: Request) -> Response:
        """The response, whose body may still be arriving. Raises TransportError."""

    async def aclose(self) -> None: ...


class HTTPTransport:
    """Sends a request as it is and streams the response as it arrives: no redirects, cookies or decompression.

    ``request.timeouts`` holds seconds (None: no limit) under ``connect`` (name, TCP, TLS, tunnel), ``pool`` (until a
    connection is free; ``connect`` if it is missing), ``write`` (until the server accepts more of the request) and
    ``read`` (until the whole head has arrived, or the next bytes of the body while somebody reads it). Each wait looks
    its limit up, so the sender may change the mapping in between.

    A reused connection that turns out to be dead is replaced once, if nothing was received on it and the body is bytes
    or a replayable stream. While a stream is slow to yield, an early response is not noticed until its next piece.
    Raises TransportError only. Use it from one event loop.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 2000,
        idle_seconds: float = 15.0,
        trust_env: bool = True,
    ) -> None:
        """Without ``ssl_context``: certifi's roots, or those of SSL_CERT_FILE or SSL_CERT_DIR, loaded on first use."""
        self._trust_env = trust_env
        self._routes: dict[Origin, Route] = {}
        self._pool = ConnectionPool(TLS(ssl_context), limit=max_connections, idle_seconds=idle_seconds)
        #: Requests whose response is awaited or being read.
        self.in_flight = 0

    @property
    def open_connections(self) -> int:
        """Connections in use, idle or being opened."""
        return self._pool.open

    async def send(self, request: Request) -> Response:
        timeouts = request.timeouts
        self.in_flight += 1
        try:
            connection = await self._exchange(request, timeouts)
        except BaseException:
            self.in_flight -= 1
            raise
        body = ResponseStream(connection, timeouts, self._release)
        return Response(connection.status, Headers(connection.headers), body)

    async def aclose(self) -> None:
        """Close all connections, including those in use."""
        await self._pool.aclose()

    async def _exchange(self, request: Request, timeouts: Timeouts) -> Connection:
        route = self._route(request.url)
        encoded = EncodedRequest.of(
            request,
            absolute=route.proxy is not None and not route.tunnelled,
            proxy_authorization=b"" if route.tunnelled else route.proxy_authorization,
        )
        # `take` is a coroutine, and to start one costs more than all that `take_idle` does.
        connection = self._pool.take_idle(route) or await self._pool.take(route, timeouts)
        try:
            await connection.exchange(encoded, timeouts)
        except TransportError:
            connection.abort()
            if not (connection.used and connection.stale and encoded.replayable):
                raise
        except BaseException:
            connection.abort()
            raise
        else:
            return connection
        connection = await self._pool.take(route, timeouts, fresh=True)
        try:
            await connection.exchange(encoded, timeouts)
        except BaseException:
            connection.abort()
            raise
        return connection

    def _release(self, connection: Connection) -> None:
        self.in_flight -= 1
        self._pool.release(connection)

    def _route(self, url: URL) -> Route:
        route = self._routes.get(url.origin)
        if route is None:
            route = self._routes[url.origin] = route_to(url, trust_env=self._trust_env)
        return route


class ResponseStream(ByteStream):
    """The body of a response. `aclose` frees the connection for another request, or closes it if the body is unread."""

    __slots__ = ("_connection", "_release", "_timeouts")

    def __init__(self, connection: Connection, timeouts: Timeouts, release: Callable[[Connection], None]) -> None:
        self._connection: Connection | None = connection
        self._timeouts = timeouts
        self._release = release

    @property
    def at_end(self) -> bool:
        return self._connection is not None and self._connection.at_end

    def __aiter__(self) -> ResponseStream:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise StreamClosed("the body of the response is closed")
        data = await self._connection.read(self._timeouts)
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._release(connection)
