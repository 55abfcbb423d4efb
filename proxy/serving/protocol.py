"""uvicorn's HTTP/1.1 protocol, with bounds on what arrives before a request is one, and deaf to upgrades."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any
from urllib.parse import unquote

import httptools
from uvicorn._types import ASGI3Application, HTTPScope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.api.identity import request_id
from proxy.errors import BadRequest
from proxy.serving.cycle import Cycle
from proxy.serving.until_close import UntilClose

HEADER_BYTES = 64 * 1024
HEADER_SECONDS = 30.0
#: Bytes of a body from which on it is not parsed, but for what comes with its head: that would copy it.
LARGE_BODY = 64 * 1024


class BoundedProtocol(HttpToolsProtocol):
    """Bounds the size of a request's head and the time that it may take to come.

    An offer to upgrade (``h2c`` by the JDK's client, ``websocket``) is ignored, as RFC 9110, 7.8 allows: the parser
    stops after such a head; a new one, set up as uvicorn's is, takes it without the offer, and what follows.
    """

    cycle: Cycle | None  # type: ignore[assignment]
    _head_bytes = 0
    #: A head has begun to come, and not ended.
    _in_head = False
    _head_timer: asyncio.TimerHandle | None = None
    #: Bytes of a large body that are still to come.
    _body_left = 0
    #: The head that has come offers to upgrade.
    _upgrades = False
    #: The last target of this connection, taken apart: path, raw path and query.
    _target: tuple[bytes, str, bytes, bytes] = (b"", "", b"", b"")
    #: When the last answer ended, by the loop's clock.
    _idle_since = 0.0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._waiting: deque[tuple[Cycle, ASGI3Application]] = deque()
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.discard(self)
        self._head_came()
        self._unset_keepalive_if_required()
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnect()
        self.flow.resume_writing()
        if exc is None:
            self.transport.close()
        self.parser = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        if self._body_left:
            data = self._pass_body_on(data)
        try:
            self._parse(data)
        except httptools.HttpParserError:
            message = "Invalid HTTP request received."
            self.logger.warning(message)
            self.send_400_response(message)
        if self._in_head and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def _parse(self, data: bytes | memoryview) -> None:
        while data:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._upgrades:
                    return
                head = self._head_without_upgrade()
                self._begin_anew()
                self.parser.feed_data(head)
                data = memoryview(data)[upgrade.args[0] :]
            else:
                return

    def _begin_anew(self) -> None:
        """With a parser that knows nothing of what has come before, set up as uvicorn's."""
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _pass_body_on(self, data: bytes) -> bytes:
        """Past the parser, which never hears of the body's end: another one is there for what follows, the result."""
        left = self._body_left
        body, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
        self.on_body(body)
        if not self._body_left:
            self._begin_anew()
            self.on_message_complete()
        return rest

    def _large_body(self) -> int:
        """The length of the body, where the head tells it and it is large, else 0."""
        length = 0
        for name, value in self.headers:
            if name == b"transfer-encoding":
                return 0
            if name == b"content-length" and value.isdigit():
                length = int(value)
        return length if length >= LARGE_BODY else 0

    def _offers_upgrade(self) -> bool:
        """The parser stops after CONNECT, too, whose answer is 405."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        start = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        fields = [b"%b: %b" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([start, *fields, b"", b""])

    # -- what the parser calls -----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self.expect_100_continue = False
        self._head_bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_came()
        self._upgrades = self._offers_upgrade()
        if self._upgrades:
            return
        self._body_left = self._large_body()
        earlier, scope = self.cycle, self._scope()
        cycle = self.cycle = Cycle(
            scope,
            self.transport,
            self.flow,
            self.loop,
            self.server_state.default_headers,
            awaits_continue=self.expect_100_continue and scope["http_version"] != "1.0",
            keep_alive=scope["http_version"] != "1.0" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        app = UntilClose(self.app, cycle) if scope["http_version"] == "1.0" else self.app
        if earlier is None or earlier.response_complete:
            self._begin(cycle, app)
        else:  # a pipelined request waits for its turn
            self.flow.pause_reading()
            self._waiting.append((cycle, app))

    def _begin(self, cycle: Cycle, app: ASGI3Application) -> None:
        task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _scope(self) -> HTTPScope:
        if self.url != self._target[0]:
            self._target = self._taken_apart(self.url)
        _, path, raw_path, query = self._target
        return {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": self.parser.get_http_version(),
            "method": self.parser.get_method().decode("ascii"),
            "scheme": self.scheme or "http",
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": self.root_path,
            "headers": self.headers,
            "client": self.client,
            "server": self.server,
            "state": self.app_state.copy(),
        }

    def _taken_apart(self, url: bytes) -> tuple[bytes, str, bytes, bytes]:
        target = httptools.parse_url(url)
        path = target.path.decode("ascii")
        path = self.root_path + (unquote(path) if "%" in path else path)
        return url, path, self.root_path.encode("ascii") + target.path, target.query or b""

    def on_body(self, body: bytes) -> None:
        if self._body_left:
            self._body_left -= len(body)
        if self.cycle is not None and not self.cycle.response_complete and not self._upgrades:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete and not self._upgrades:
            self.cycle.end_body()

    # -- between two requests ------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._waiting:
            self._begin(*self._waiting.popleft())
            return
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._wait_idly(self.timeout_keep_alive)

    def _wait_idly(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """One timer that looks again costs less than one for each request."""
        self.timeout_keep_alive_task = None
        if self._in_head or self.transport.is_closing() or (self.cycle and not self.cycle.response_complete):
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._wait_idly(left)
        else:
            self.transport.close()

    def shutdown(self) -> None:
        if self.cycle is None:
            self.transport.close()
        elif self.cycle.response_complete:
            self.cycle.close()
        else:
            self.cycle.keep_alive = False

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it, is told in OpenAI's shape, too."""
        large = self._head_bytes > HEADER_BYTES
        error = BadRequest("The header of the request is too large." if large else msg, status=431 if large else 400)
        body = error.json()
        reason = "Request Header Fields Too Large" if large else "Bad Request"
        head = f"HTTP/1.1 {error.status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        head += f"x-request-id: {request_id(None).decode('ascii')}\r\n"
        if self.cycle is not None:
            self.cycle.flush()
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
