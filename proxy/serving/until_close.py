"""Answers to clients of HTTP/1.0, which know no chunks: without a length, the body ends with the connection."""

from __future__ import annotations

import asyncio
import socket
import struct

from uvicorn._types import ASGI3Application, ASGIReceiveCallable, ASGISendCallable, ASGISendEvent, Scope
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

_LINGER_NOT = struct.pack("ii", 1, 0)


class UntilClose:
    """An application for one request of HTTP/1.0. An answer that is cut ends in a reset, lest it look complete."""

    def __init__(self, app: ASGI3Application, cycle: RequestResponseCycle) -> None:
        self._app = app
        self._cycle = cycle
        self._unframed = False

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        async def send_unchunked(message: ASGISendEvent) -> None:
            self._frame(message)
            await send(message)

        try:
            await self._app(scope, receive, send_unchunked)
        finally:
            if self._unframed and not self._cycle.response_complete:
                _reset(self._cycle.transport)

    def _frame(self, message: ASGISendEvent) -> None:
        """Have uvicorn write each piece as if it were the whole of a body whose length was told."""
        if message["type"] == "http.response.start":
            self._unframed = all(name.lower() != b"content-length" for name, _ in message.get("headers", ()))
            if self._unframed:
                self._cycle.chunked_encoding = False
        elif message["type"] == "http.response.body" and self._unframed:
            self._cycle.expected_content_length = len(message.get("body", b""))


def _reset(transport: asyncio.Transport) -> None:
    if not transport.is_closing():
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        transport.abort()
