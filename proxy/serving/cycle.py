"""One request and its response, as the application sees them: ASGI's ``receive`` and ``send``.

Every byte passes through here, so the work is kept small. Bodies are passed on in the pieces they arrive in. Everything
that the application sends within one turn of the event loop leaves in one write: head, first piece and end often travel
together. The writes of all connections happen at the end of the turn, so that the other side wakes up once and not once
per connection; that saves a quarter of the cost of a call.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Scope

from proxy.api.exchange import ARRIVED, TRAILERS
from proxy.http.head import encode_head
from proxy.serving.flow_control import FlowControl

#: Unread bytes of a request's body at which reading stops: two reads of the event loop.
MAX_UNREAD_BYTES = 512 * 1024
#: From this size on, bytes are not copied to be joined with others.
LARGE_PIECE = 64 * 1024

_PHRASES = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES = {
    status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode("ascii") for status in range(100, 600)
}
#: SO_LINGER with a time of 0: closing the socket resets the connection.
_RESET = struct.pack("ii", 1, 0)

Header = tuple[bytes, bytes]


class Cycle:
    """The protocol feeds it the request's body; the application, which ``run`` calls, reads it and responds."""

    def __init__(
        self,
        scope: Scope,
        transport: asyncio.Transport,
        flow: FlowControl,
        loop: asyncio.AbstractEventLoop,
        date: Header,
        *,
        expects_continue: bool,
        keep_alive: bool,
        on_complete: Callable[[], None],
    ) -> None:
        self._scope = scope
        self._extensions: dict[str, Any] = {TRAILERS: {}, ARRIVED: self.receive_nowait}
        scope["extensions"] = self._extensions
        self._transport = transport
        self._flow = flow
        self._loop = loop
        self._date = date
        self._on_complete = on_complete
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        # The request
        self._awaits_continue = expects_continue
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._body_complete = False
        self._body_delivered = False
        #: Wakes ``receive``. Created when ``receive`` first has to wait, which is rare.
        self._wakeup: asyncio.Event | None = None
        # The response
        self.response_started = False
        #: The response's head, until the first piece of the body is sent.
        self._head = b""
        self._outgoing: list[bytes] = []
        self._bodiless = False
        self._chunked = False
        self._trailers = False
        #: Bytes of the response's body still to be sent; None if its head declared no length.
        self._remaining: int | None = None

    async def run(self, app: ASGIApp) -> None:
        """Call the application. A response that it leaves incomplete is cut, so that it does not look complete."""
        try:
            await app(self._scope, self.receive, self.send)
        except asyncio.CancelledError:
            # Cancelled on purpose, for example at shutdown; the call's own log line tells why.
            self._cut()
        except BaseException as error:
            structlog.get_logger().error("Exception in ASGI application", exc_info=error)
            self._cut()
        else:
            if not self.response_complete and not self.disconnected:
                self._cut()
        finally:
            # Breaks two reference cycles: protocol, cycle, bound method; scope, extensions, bound method.
            self._on_complete = _do_nothing
            self._extensions.clear()

    # -- called by the protocol ----------------------------------------------------------------------------------------

    @property
    def is_uploading(self) -> bool:
        """Whether the response is not complete and the request's body has not arrived completely."""
        return not self._body_complete and not self.response_complete

    def feed_body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._unread += len(piece)
        if self._unread > MAX_UNREAD_BYTES:
            self._flow.pause_reading()
        self._wake()

    def end_body(self) -> None:
        self._body_complete = True
        self._wake()

    def disconnect(self) -> None:
        """The client is gone."""
        self.disconnected = True
        self._wake()

    def flush(self) -> None:
        """Write everything that was sent in this turn of the event loop."""
        parts, self._outgoing = self._outgoing, []
        if not parts or self._transport.is_closing():
            return
        if sum(map(len, parts)) < LARGE_PIECE:
            self._transport.write(b"".join(parts))
        else:
            self._transport.writelines(parts)

    def close(self) -> None:
        """Close the connection once everything sent so far has been written."""
        self.flush()
        self._transport.close()

    # -- called by the application -------------------------------------------------------------------------------------

    async def receive(self) -> Message:
        while (event := self.receive_nowait()) is None:
            if self._wakeup is None:
                self._wakeup = asyncio.Event()
            self._wakeup.clear()
            await self._wakeup.wait()
        return event

    def receive_nowait(self) -> Message | None:
        """What ``receive`` would return immediately, or None if it would have to wait."""
        if self._awaits_continue and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._awaits_continue = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        self._flow.resume_reading()
        if self._pieces or (self._body_complete and not self._body_delivered):
            return self._next_body_event()
        return None

    async def send(self, message: Message) -> None:
        if self._flow.writing_paused and not self.disconnected:
            await self._flow.wait_writable()
        if self.disconnected:
            return
        kind = message["type"]
        if self.response_complete or (kind == "http.response.start") is self.response_started:
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")
        if kind == "http.response.body":
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif kind == "http.response.start":
            self._start(message["status"], message.get("headers", ()), trailers=message.get("trailers", False))
        elif kind == "http.response.trailers":
            self._send_trailers(message.get("headers", ()))
        else:
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")

    # -- the request ---------------------------------------------------------------------------------------------------

    def _next_body_event(self) -> Message:
        """Small pieces are joined, large ones are passed on one by one."""
        pieces = self._pieces
        if len(pieces) == 1 or (pieces and len(pieces[0]) >= LARGE_PIECE):
            body = pieces.popleft()
        else:
            body = b"".join(pieces)
            pieces.clear()
        self._unread -= len(body)
        self._body_delivered = self._body_complete and not pieces
        return {"type": "http.request", "body": body, "more_body": not self._body_delivered}

    def _wake(self) -> None:
        if self._wakeup is not None:
            self._wakeup.set()

    # -- the response --------------------------------------------------------------------------------------------------

    def _start(self, status: int, headers: Iterable[Header], *, trailers: bool) -> None:
        """Prepare the head. It leaves with the first piece of the body, as ASGI requires."""
        self.response_started = True
        self._awaits_continue = False
        fields = [self._date, *headers]
        closes = False
        for name, value in fields:
            if name == b"content-length":
                self._remaining = int(value)
            elif name == b"connection" and b"close" in value.lower():
                closes, self.keep_alive = True, False
        if not self.keep_alive and not closes:
            fields.append((b"connection", b"close"))
        self._bodiless = self._scope["method"] == "HEAD" or status in (204, 304)
        if self._remaining is None and not self._bodiless and self._scope["http_version"] != "1.0":
            self._chunked = True
            fields.append((b"transfer-encoding", b"chunked"))
        self._trailers = trailers
        self._head = encode_head(STATUS_LINES[status], fields)

    def _send_body(self, body: bytes, *, more: bool) -> None:
        parts = [self._head] if self._head else []
        self._head = b""
        if body and not self._bodiless:
            if self._chunked:
                parts += (b"%x\r\n" % len(body), body, b"\r\n")
            else:
                self._count(len(body))
                parts.append(body)
        last = not more and not self._trailers
        if last and self._chunked:
            parts.append(b"0\r\n\r\n")
        self._write_later(parts)
        if last:
            self._complete()

    def _count(self, size: int) -> None:
        if self._remaining is not None:
            self._remaining -= size
            if self._remaining < 0:
                raise RuntimeError("Response content longer than Content-Length")

    def _send_trailers(self, trailers: Iterable[Header]) -> None:
        """Only a chunked response can carry trailers; otherwise they are dropped."""
        if self._chunked:
            self._write_later([encode_head(b"0\r\n", trailers)])
        self._complete()

    def _complete(self) -> None:
        if self._remaining and not self._bodiless:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self._wake()
        if not self.keep_alive:
            self.close()
        self._on_complete()

    def _write_later(self, parts: list[bytes]) -> None:
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing += parts

    def _cut(self) -> None:
        """End the connection so that the client can tell that the response is incomplete; 500 if none was started."""
        if self.response_started:
            if self._ends_with_connection and not self.response_complete:
                self._reset()
            else:
                self.close()
        elif not self.disconnected:
            self.keep_alive = False
            self._start(500, [(b"content-type", b"text/plain"), (b"content-length", b"21")], trailers=False)
            self._send_body(b"Internal Server Error", more=False)

    @property
    def _ends_with_connection(self) -> bool:
        """Without chunks or a length, as in HTTP/1.0, only the end of the connection marks the end of the body."""
        return not self._chunked and not self._bodiless and self._remaining is None

    def _reset(self) -> None:
        """Reset the connection: an orderly close would look like the end of the body."""
        self.flush()
        if not self._transport.is_closing():
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self._transport.abort()


def _do_nothing() -> None:
    pass
