"""The HTTP server of one process: accepts connections until it is stopped, then lets running calls finish."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from socket import socket

import structlog
from starlette.types import ASGIApp

from proxy.serving.protocol import HttpProtocol, ServerState, date_header
from proxy.serving.sockets import BACKLOG

DATE_SECONDS = 1.0
#: Seconds between two checks of the connections that are still open during a stop.
DRAIN_SECONDS = 0.1
#: The same, for connections that only wait until the client confirms the end of TLS.
LINGER_SECONDS = 2.0


class Server:
    """Serves an ASGI application. ``tls`` makes it HTTPS; ``shutdown_timeout`` is in seconds."""

    def __init__(
        self, app: ASGIApp, *, tls: ssl.SSLContext | None, root_path: str = "", shutdown_timeout: float
    ) -> None:
        self._app = app
        self._tls = tls
        self._root_path = root_path
        self._shutdown_timeout = shutdown_timeout
        self._state = ServerState()
        self._stopping = asyncio.Event()
        #: The stop waits for nothing.
        self.aborted = False

    async def serve(self, sockets: Sequence[socket], ready: Callable[[], None]) -> None:
        """Serve on listening sockets until stopped, then close them. ``ready`` is called once calls are answered."""
        loop = asyncio.get_running_loop()
        listeners = [
            await loop.create_server(self._protocol, sock=sock, ssl=self._tls, backlog=BACKLOG) for sock in sockets
        ]
        refreshing = loop.create_task(self._refresh_date())
        ready()
        await self._stopping.wait()
        for listener in listeners:
            listener.close()
        for sock in sockets:
            sock.close()
        await self._drain()
        refreshing.cancel()

    def stop(self) -> None:
        self._stopping.set()

    def abort(self) -> None:
        """Stop without waiting for running calls."""
        self.aborted = True
        self._stopping.set()

    def _protocol(self) -> HttpProtocol:
        return HttpProtocol(self._app, self._state, self._root_path)

    async def _refresh_date(self) -> None:
        while True:
            await asyncio.sleep(DATE_SECONDS)
            self._state.date = date_header()

    async def _drain(self) -> None:
        """Wait for running calls; those that are still running after ``shutdown_timeout`` are cancelled."""
        lingering = asyncio.get_running_loop().create_task(self._abort_lingering())
        try:
            async with asyncio.timeout(self._shutdown_timeout):
                while (self._state.connections or self._state.tasks) and not self.aborted:
                    for connection in list(self._state.connections):
                        connection.shutdown()
                    await asyncio.sleep(DRAIN_SECONDS)
        except TimeoutError:
            structlog.get_logger().error(
                "shutdown_timeout exceeded; running calls are aborted", calls=len(self._state.tasks)
            )
            for task in self._state.tasks:
                task.cancel()
        finally:
            lingering.cancel()

    async def _abort_lingering(self) -> None:
        """Drop connections on which only the client's end of TLS is missing: an idle client may not look for hours."""
        earlier: set[HttpProtocol] = set()
        while True:
            await asyncio.sleep(LINGER_SECONDS)
            lingering = {one for one in self._state.connections if _is_lingering(one.transport)}
            for connection in lingering & earlier:
                connection.transport.abort()
            earlier = lingering


def _is_lingering(transport: asyncio.Transport) -> bool:
    return transport.is_closing() and not transport.get_write_buffer_size()
