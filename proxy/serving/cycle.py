"""One request of a connection and its answer, as the application sees them: ASGI's ``receive`` and ``send``.

Own code in place of uvicorn's, because every byte passes here: bodies are handed on and not gathered, and what becomes
known of an answer in one turn of the event loop, its head included, travels in one write. The writes of all connections
follow one another after that turn: waking the other side once, and not for each of them, saves a quarter of a call.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent, HTTPScope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from proxy.api.exchange import ARRIVED, TRAILERS
from proxy.http.head import encode_head

#: Unread bytes of a request at which its connection is no longer read: two reads of the event loop.
READ_HIGH = 512 * 1024
#: Pieces from this size on are not copied to go together with others.
LARGE_PIECE = 64 * 1024

Headers = Iterable[tuple[bytes, bytes]]


class Cycle:
    """What uvicorn's server and protocol look at has uvicorn's names."""

    def __init__(
        self,
        scope: HTTPScope,
        transport: asyncio.Transport,
        flow: FlowControl,
        loop: asyncio.AbstractEventLoop,
        default_headers: list[tuple[bytes, bytes]],
        *,
        awaits_continue: bool,
        keep_alive: bool,
        on_response: Callable[[], None],
    ) -> None:
        self.scope = scope
        self._extensions: dict[str, Any] = {TRAILERS: {}, ARRIVED: self.arrived}
        scope["extensions"] = self._extensions
        self.transport = transport
        self.keep_alive = keep_alive
        self.disconnected = self.response_started = self.response_complete = False
        self._flow = flow
        self._loop = loop
        self._default_headers = default_headers
        self._on_response = on_response
        self._awaits_continue = awaits_continue
        #: Set when something happened; made when somebody first has to wait for it, which is seldom.
        self._news: asyncio.Event | None = None
        self._pieces: deque[bytes] = deque()
        self._unread = 0
        self._body_ended = self._end_told = False
        #: The head of the answer, until its first piece goes; then what goes with the end of this turn.
        self._head = b""
        self._outgoing: list[bytes] = []
        self._bodiless = self._chunked = self._trailers = False
        #: Bytes of the answer that are to come, where its length was told.
        self._left: int | None = None

    @property
    def unframed(self) -> bool:
        """Nothing but the end of the connection tells where the answer ends."""
        return self.response_started and not self._chunked and not self._bodiless and self._left is None

    # -- what the protocol calls ---------------------------------------------------------------------------------------

    def take(self, body: bytes) -> None:
        """A piece of the request's body came."""
        self._pieces.append(body)
        self._unread += len(body)
        if self._unread > READ_HIGH:
            self._flow.pause_reading()
        self._tell()

    def end_body(self) -> None:
        self._body_ended = True
        self._tell()

    def disconnect(self) -> None:
        self.disconnected = True
        self._tell()

    async def run_asgi(self, app: ASGI3Application) -> None:
        """The whole of it. An answer that the application left half done is cut, so that it does not look complete."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException as error:
            logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
            self._break_off()
        else:
            if not self.response_complete and not self.disconnected:
                logging.getLogger("uvicorn.error").error("ASGI callable returned without completing response.")
                self._break_off()
        finally:
            # These end circles of references: the protocol knows its cycle, and the scope what has arrived.
            self._on_response = _nobody
            self._extensions.clear()

    def _break_off(self) -> None:
        if self.response_started:
            self.close()
        elif not self.disconnected:
            self.keep_alive = False
            self._start(500, [(b"content-type", b"text/plain"), (b"content-length", b"21")], trailers=False)
            self._write(b"Internal Server Error", more=False)

    # -- what the application calls ------------------------------------------------------------------------------------

    def arrived(self) -> ASGIReceiveEvent | None:
        """What `receive` would return at once; None where it would have to wait."""
        if self._awaits_continue and not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._awaits_continue = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        self._flow.resume_reading()
        if self._pieces or (self._body_ended and not self._end_told):
            return self._taken()
        return None

    async def receive(self) -> ASGIReceiveEvent:
        while (event := self.arrived()) is None:
            if self._news is None:
                self._news = asyncio.Event()
            self._news.clear()
            await self._news.wait()
        return event

    def _taken(self) -> ASGIReceiveEvent:
        pieces = self._pieces
        if len(pieces) == 1 or (pieces and len(pieces[0]) >= LARGE_PIECE):
            body = pieces.popleft()
        else:
            body = b"".join(pieces)
            pieces.clear()
        self._unread -= len(body)
        self._end_told = self._body_ended and not pieces
        return {"type": "http.request", "body": body, "more_body": not self._end_told}

    async def send(self, message: ASGISendEvent) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        event = cast("Mapping[str, Any]", message)
        kind = event["type"]
        if self.response_complete or (kind == "http.response.start") is self.response_started:
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")
        if kind == "http.response.body":
            self._write(event.get("body", b""), more=event.get("more_body", False))
        elif kind == "http.response.start":
            self._start(event["status"], event.get("headers", ()), trailers=event.get("trailers", False))
        elif kind == "http.response.trailers":
            self._end(event.get("headers", ()))
        else:
            raise RuntimeError(f"Unexpected ASGI message '{kind}'.")

    # -- the answer ----------------------------------------------------------------------------------------------------

    def _start(self, status: int, headers: Headers, *, trailers: bool) -> None:
        """The head is kept until the first piece, as ASGI asks, so that the two can travel together."""
        self.response_started = True
        self._awaits_continue = False
        fields = [*self._default_headers, *headers]
        closes = False
        for name, value in fields:
            if name == b"content-length":
                self._left = int(value)
            elif name == b"connection" and b"close" in value.lower():
                closes, self.keep_alive = True, False
        if not self.keep_alive and not closes:
            fields.append((b"connection", b"close"))
        self._bodiless = self.scope["method"] == "HEAD" or status in (204, 304)
        if self._left is None and not self._bodiless and self.scope["http_version"] != "1.0":
            self._chunked = True
            fields.append((b"transfer-encoding", b"chunked"))
        self._trailers = trailers
        self._head = encode_head(STATUS_LINE[status], fields)

    def _write(self, body: bytes, *, more: bool) -> None:
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
        self._put(parts)
        if last:
            self._complete()

    def _count(self, size: int) -> None:
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise RuntimeError("Response content longer than Content-Length")

    def _end(self, trailers: Headers) -> None:
        """Trailers are for those who were told that some may come, and can be sent in chunked framing only."""
        if self._chunked:
            self._put([encode_head(b"0\r\n", trailers)])
        self._complete()

    def _complete(self) -> None:
        if self._left and not self._bodiless:
            raise RuntimeError("Response content shorter than Content-Length")
        self.response_complete = True
        self._tell()
        if not self.keep_alive:
            self.close()
        self._on_response()

    def _put(self, parts: list[bytes]) -> None:
        if not self._outgoing:
            self._loop.call_soon(self.flush)
        self._outgoing += parts

    def flush(self) -> None:
        """Write what has gathered in this turn of the loop."""
        parts, self._outgoing = self._outgoing, []
        if not parts or self.transport.is_closing():
            return
        if sum(map(len, parts)) < LARGE_PIECE:
            self.transport.write(b"".join(parts))
        else:
            self.transport.writelines(parts)

    def close(self) -> None:
        """Close the connection behind what was written."""
        self.flush()
        self.transport.close()

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()


def _nobody() -> None:
    pass
