"""Answers to clients of HTTP/1.0, which know no chunks: without a length, the body ends with the connection."""

from __future__ import annotations

import asyncio
import socket
import struct

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, Scope

from proxy.serving.cycle import Cycle

_LINGER_NOT = struct.pack("ii", 1, 0)


class UntilClose:
    """An application for one request of HTTP/1.0. An answer that is cut ends in a reset, lest it look complete."""

    def __init__(self, app: ASGI3Application, cycle: Cycle) -> None:
        self._app = app
        self._cycle = cycle

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if self._cycle.unframed and not self._cycle.response_complete:
                self._cycle.flush()
                _reset(self._cycle.transport)


def _reset(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
