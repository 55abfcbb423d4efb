"""uvicorn's HTTP/1.1 protocol, with bounds on what arrives before a request is one, and deaf to upgrades."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from proxy.api.identity import request_id
from proxy.errors import BadRequest
from proxy.serving.until_close import UntilClose

HEADER_BYTES = 64 * 1024
HEADER_SECONDS = 30.0


class BoundedProtocol(HttpToolsProtocol):
    """Bounds the size of a request's head and the time that it may take to come.

    An offer to upgrade (``h2c`` by the JDK's client, ``websocket``) is ignored, as RFC 9110, 7.8 allows: the parser
    stops after such a head; a new one, set up as uvicorn's is, takes it without the offer, and what follows.
    """

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self._parse(memoryview(data))
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)

    def _parse(self, data: memoryview) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._offers_upgrade():
                    return
                head = self._head_without_upgrade()
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
                self.parser.feed_data(head)
                data = data[upgrade.args[0] :]
            else:
                return

    def _offers_upgrade(self) -> bool:
        """The parser stops after CONNECT, too, whose answer is 405."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        start = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([start, *fields, b"", b""])

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        if not self._offers_upgrade():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        if not self._offers_upgrade():
            super().on_message_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        super()._start_asgi_task(cycle, UntilClose(app, cycle) if cycle.scope["http_version"] == "1.0" else app)

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it, is told in OpenAI's shape, too."""
        large = self._head_bytes > HEADER_BYTES
        error = BadRequest("The header of the request is too large." if large else msg, status=431 if large else 400)
        body = error.json()
        reason = "Request Header Fields Too Large" if large else "Bad Request"
        head = f"HTTP/1.1 {error.status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        head += f"x-request-id: {request_id(None).decode('ascii')}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEADER_BYTES:
            raise ValueError("the request's head is too large")

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
