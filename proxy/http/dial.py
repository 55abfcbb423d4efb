"""Opens connections: host names, addresses, TLS, tunnels."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any

import aiohappyeyeballs

from proxy.http.connection import Connection
from proxy.http.encoding import EncodedRequest
from proxy.http.errors import ConnectError, ConnectTimeout, ForwardProxyError, TransportError
from proxy.http.messages import Timeouts
from proxy.http.route import Route

#: Seconds after which the next address of a host is tried in parallel (RFC 8305).
HAPPY_EYEBALLS_DELAY = 0.25

AddrInfo = tuple[int, int, int, str, Any]


async def dial(connection: Connection, route: Route, tls: Callable[[], ssl.SSLContext], timeouts: Timeouts) -> None:
    """Connect ``connection`` along ``route`` within ``timeouts["connect"]``.

    Raises ConnectTimeout, ConnectError and ForwardProxyError, and leaves nothing open then.
    """
    try:
        async with asyncio.timeout(timeouts.get("connect")):
            if route.tunnelled:
                await _tunnel(connection, route, tls())
            else:
                await _connect(connection, route, tls() if route.scheme == "https" else None)
    except TimeoutError:
        connection.abort()
        raise ConnectTimeout("no connection in time") from None
    except (OSError, ValueError, RuntimeError) as error:  # of a socket, a lookup or TLS; of a bad name; of uvloop
        connection.abort()
        raise ConnectError(_reason(error)) from error
    except BaseException:
        connection.abort()
        raise


async def _connect(connection: Connection, route: Route, tls: ssl.SSLContext | None) -> None:
    host, port = route.proxy or (route.host, route.port)
    loop = asyncio.get_running_loop()
    sock = await aiohappyeyeballs.start_connection(
        await _resolve(host, port), happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, loop=loop
    )
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except BaseException:
        sock.close()
        raise
    await loop.create_connection(
        lambda: connection, sock=sock, ssl=tls, server_hostname=route.host if tls is not None else None
    )


async def _tunnel(connection: Connection, route: Route, tls: ssl.SSLContext) -> None:
    await _connect(connection, route, None)
    try:
        await connection.exchange(EncodedRequest.connect(route.authority, route.proxy_authorization), {})
    except TransportError as error:
        raise ForwardProxyError(f"the forward proxy did not answer: {error}") from error
    if not 200 <= connection.status < 300:
        raise ForwardProxyError(f"the forward proxy refused with status {connection.status}")
    await connection.start_tls(tls, route.host)


async def _resolve(host: str, port: int) -> Sequence[AddrInfo]:
    try:  # an address needs no lookup, and so no thread
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"the TLS handshake failed: {error.reason}"
    if isinstance(error, socket.gaierror):
        return "the host name could not be resolved"
    text = error.strerror if isinstance(error, OSError) else None
    return f"the connection failed: {text or type(error).__name__}"
