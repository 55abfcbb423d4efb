"""The HTTP/1.1 transport through which every vendor, webhook and token endpoint is reached."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx

from proxy.messages import Headers, Origin, Reply, origin
from proxy.upstream.connection import Connection, Timeouts
from proxy.upstream.message import Message
from proxy.upstream.pool import ConnectionPool
from proxy.upstream.route import Route, route_to

#: Of every response; nobody changes them.
EXTENSIONS: dict[str, Any] = {"http_version": b"HTTP/1.1"}


class HTTPTransport(httpx.AsyncBaseTransport):
    """Sends a request as it stands and streams the answer as it arrives: no redirects, cookies or decompression.

    ``request.extensions["timeout"]`` holds seconds (None: no limit) under ``connect`` (name, TCP, TLS, tunnel),
    ``pool`` (waiting for a free connection; ``connect`` where it is missing), ``write`` (waiting for the server to take
    more of the request) and ``read`` (waiting for the whole head, and for each next bytes of the body, while somebody
    asks for them). It is looked up at each wait, so whoever holds the dict may change it in between.

    A kept connection that turns out to be dead is replaced once, if nothing was received on it and the body is bytes or
    a stream with ``replayable = True`` (given to httpx.Request as ``stream``; ``content`` would hide it). A source of a
    body that is slow to yield hides an early answer until its next piece. Raises httpx.TransportError only. Use it from
    one event loop.
    """

    def __init__(
        self,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 2000,
        idle_seconds: float = 15.0,
        trust_env: bool = True,
    ) -> None:
        """Without ``ssl_context``: certifi's roots, or those of SSL_CERT_FILE or SSL_CERT_DIR, loaded at first use."""
        self._ssl_context = ssl_context
        self._ssl_ready = False
        self._trust_env = trust_env
        self._routes: dict[Origin, Route] = {}
        self._pool = ConnectionPool(self._tls, limit=max_connections, idle_seconds=idle_seconds)
        #: Requests whose answer is awaited or being read.
        self.in_flight = 0

    @property
    def open_connections(self) -> int:
        """Connections in use, idle or being opened."""
        return self._pool.open

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeouts: Timeouts = request.extensions.get("timeout", {})
        self.in_flight += 1
        try:
            connection = await self._exchange(request, timeouts)
        except BaseException as error:
            self.in_flight -= 1
            if isinstance(error, httpx.RequestError):
                error.request = request
            raise
        return Reply(
            connection.status,
            Headers(connection.headers),
            AnswerStream(connection, request, timeouts, self._release),
            EXTENSIONS,
        )

    async def aclose(self) -> None:
        """Close every connection, those in use included."""
        await self._pool.aclose()

    async def _exchange(self, request: httpx.Request, timeouts: Timeouts) -> Connection:
        route = self._route(request.url)
        message = Message(
            request,
            absolute=route.proxy is not None and not route.tunnelled,
            proxy_authorization=b"" if route.tunnelled else route.proxy_authorization,
        )
        # Waiting is avoided where it can be, here and below: a coroutine costs more than what it would do.
        connection = self._pool.take_idle(route) or await self._pool.take(route, timeouts)
        try:
            await connection.exchange(message, timeouts)
        except httpx.TransportError:
            connection.abort()
            if not (connection.used and connection.stale and message.replayable):
                raise
        except BaseException:
            connection.abort()
            raise
        else:
            return connection
        connection = await self._pool.take(route, timeouts, fresh=True)
        try:
            await connection.exchange(message, timeouts)
        except BaseException:
            connection.abort()
            raise
        return connection

    def _release(self, connection: Connection) -> None:
        self.in_flight -= 1
        self._pool.release(connection)

    def _route(self, url: httpx.URL) -> Route:
        key = origin(url)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = route_to(url, trust_env=self._trust_env)
        return route

    def _tls(self) -> ssl.SSLContext:
        """Made at the first use of https, for it takes tens of milliseconds."""
        if self._ssl_context is None:
            self._ssl_context = httpx.create_ssl_context()
        if not self._ssl_ready:
            self._ssl_context.set_alpn_protocols(["http/1.1"])
            self._ssl_ready = True
        return self._ssl_context


class AnswerStream(httpx.AsyncByteStream):
    """The body of an answer. `aclose` frees the connection: for the next request if the body ended, else it is cut."""

    def __init__(
        self, connection: Connection, request: httpx.Request, timeouts: Timeouts, release: Callable[[Connection], None]
    ) -> None:
        self._connection: Connection | None = connection
        self._request = request
        self._timeouts = timeouts
        self._release = release

    @property
    def at_end(self) -> bool:
        """All bytes have come and been read."""
        return self._connection is not None and self._connection.at_end

    def __aiter__(self) -> AnswerStream:
        return self

    async def __anext__(self) -> bytes:
        if self._connection is None:
            raise httpx.StreamClosed()
        try:
            data = await self._connection.read(self._timeouts)
        except httpx.RequestError as error:
            error.request = self._request
            raise
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._release(connection)
