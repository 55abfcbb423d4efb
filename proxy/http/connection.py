"""One HTTP/1.1 connection: sends a request, parses the response as it arrives, and times both.

This is our own code rather than a library because every byte of audio passes through it: no task, lock or timer is
created per chunk, bytes are handed over as they arrive, and the socket is not read while nobody reads the body.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools

from proxy.http.encoding import EncodedRequest
from proxy.http.errors import (
    ConnectError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    TransportError,
    TransportTimeout,
    WriteTimeout,
)
from proxy.http.messages import Timeouts

#: Maximum size in bytes of all heads of one response (1xx included).
HEAD_LIMIT = 64 * 1024
#: Unread bytes of a body at which reading from the socket is paused.
READ_HIGH = 256 * 1024
#: Unsent bytes of a request at which reading from the source of its body is paused.
WRITE_HIGH = 256 * 1024
#: A body up to this size is sent in one write with its head; a larger one is written in pieces of WRITE_HIGH.
SMALL_BODY = 64 * 1024
#: Seconds. The one timer of a connection never sleeps longer, so that a nearer deadline seldom has to replace it.
TICK = 10.0


class Connection(asyncio.Protocol):
    """Carries out one exchange at a time: `exchange`, then `read` until b"", then `park` or `abort`.

    At most one coroutine waits on a connection at any time.
    """

    __slots__ = (
        "_buffer",
        "_buffered",
        "_complete",
        "_deadline",
        "_failure",
        "_head_bytes",
        "_head_complete",
        "_keep_alive",
        "_loop",
        "_on_lost",
        "_parser",
        "_read_paused",
        "_received_any",
        "_received_eof",
        "_request",
        "_sent",
        "_timeout",
        "_timer",
        "_timer_due",
        "_transport",
        "_waiter",
        "_write_paused",
        "headers",
        "lost",
        "status",
        "used",
    )

    def __init__(self, on_lost: Callable[[Connection], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._request: EncodedRequest | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_due = 0.0
        self._deadline: float | None = None
        #: What the waiter raises if nothing happens until the deadline.
        self._timeout: tuple[type[TransportTimeout], str] = (ReadTimeout, "")
        self._write_paused = self._read_paused = False
        self._received_eof = False
        self.lost = False
        #: Whether it has carried an exchange before.
        self.used = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._buffer: list[bytes] = []
        self._buffered = 0
        self._head_bytes = 0
        self._head_complete = self._complete = self._keep_alive = self._sent = self._received_any = False
        self._failure: TransportError | None = None

    # -- the exchange --------------------------------------------------------------------------------------------------

    async def exchange(self, request: EncodedRequest, timeouts: Timeouts) -> None:
        """Send the request and wait for the head of its response, which `status` and `headers` hold afterwards.

        An early response ends the sending. Raises TransportError; the connection cannot be used after that.
        """
        self._deadline = None
        self._reset()
        if self.lost:
            raise self._loss(None)
        self._request = request
        body = request.body
        if body is not None and len(body) <= SMALL_BODY:
            # All requests of one turn of the event loop are written after it: that wakes a server once.
            self._loop.call_soon(self._write_whole, request.head + body)
        else:
            await self._send(request, timeouts)
        while not self._head_complete:
            if self._failure is not None:
                raise self._failure
            await self._wait(timeouts.get("read"), ReadTimeout, "no response in time")

    async def read(self, timeouts: Timeouts) -> bytes:
        """The bytes of the body that have arrived so far, at least one; b"" at the end of the body."""
        while not self._buffer:
            if self._complete:
                return b""
            if self._failure is not None:
                raise self._failure
            await self._wait(timeouts.get("read"), ReadTimeout, "the response stalled")
        buffer = self._buffer
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        self._buffered = 0
        if self._read_paused:
            self._resume_reading()
        return data

    @property
    def at_end(self) -> bool:
        """Whether all bytes of the body have arrived and been read."""
        return self._complete and not self._buffer

    @property
    def stale(self) -> bool:
        """Whether the server closed the connection before it sent any part of the response."""
        return self.lost and not self._received_any

    @property
    def closing(self) -> bool:
        return self.lost or self._transport is None or self._transport.is_closing()

    @property
    def reusable(self) -> bool:
        """Whether the exchange is complete in both directions and the server keeps the connection open."""
        return self._complete and self._keep_alive and self._sent and not self.lost

    def park(self, seconds: float) -> None:
        """Wait for the next exchange. The connection closes after ``seconds``, or if the server sends anything."""
        self._request = None
        self.used = True
        self._buffer.clear()
        if self._read_paused:
            self._resume_reading()
        self._arm(seconds)

    def abort(self) -> None:
        """Close at once; a waiting caller gets an error."""
        self._keep_alive = False
        if self._transport is not None:
            self._transport.abort()

    async def start_tls(self, context: ssl.SSLContext, server_name: str) -> None:
        """Encrypt everything from here on, after a CONNECT."""
        self._request = None
        self._parser = httptools.HttpResponseParser(self)
        plain = cast(asyncio.Transport, self._transport)
        self._transport = await self._loop.start_tls(plain, self, context, server_hostname=server_name)
        if self._transport is None:
            raise ConnectionError("the connection was lost")
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Let another protocol use the connection from here on. Raises ConnectError if it is lost."""
        if self._transport is None or self.lost:
            raise ConnectError("the connection was lost")
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send(self, request: EncodedRequest, timeouts: Timeouts) -> None:
        self._write(request.head)
        if request.body is not None:
            await self._send_large(request.body, timeouts)
            return
        pieces = request.pieces()
        try:
            await self._send_pieces(pieces, timeouts)
        finally:
            await pieces.aclose()

    async def _send_large(self, body: bytes, timeouts: Timeouts) -> None:
        view = memoryview(body)
        for start in range(0, len(view), WRITE_HIGH):
            if self._sending_is_over:
                return
            self._write(view[start : start + WRITE_HIGH])
            await self._drain(timeouts)
        self._sent = True

    async def _send_pieces(self, pieces: AsyncIterator[bytes], timeouts: Timeouts) -> None:
        undrained = 0
        async for piece in pieces:
            if self._sending_is_over:
                return
            self._write(piece)
            undrained += len(piece)
            if undrained > SMALL_BODY:  # smaller pieces are sent together with the next one
                await self._drain(timeouts)
                undrained = 0
        self._sent = True

    @property
    def _sending_is_over(self) -> bool:
        """Whether there is no point in sending more: the response has begun, or the connection is lost."""
        return self._head_complete or self._failure is not None

    def _write_whole(self, data: bytes) -> None:
        if not self.closing:
            self._write(data)
            self._sent = True

    def _write(self, data: bytes | memoryview) -> None:
        if self._transport is not None and not self.lost:
            self._transport.write(data)

    async def _drain(self, timeouts: Timeouts) -> None:
        """Let the event loop receive an early response; wait while too much is unsent."""
        await asyncio.sleep(0)
        while self._write_paused and not self._sending_is_over:
            await self._wait(timeouts.get("write"), WriteTimeout, "the request could not be sent in time")

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _wait(self, seconds: float | None, error: type[TransportTimeout], text: str) -> asyncio.Future[None]:
        """Done when something has happened to the exchange; raises the error after ``seconds``."""
        self._waiter = self._loop.create_future()
        self._timeout = (error, text)
        if seconds is not None:
            self._arm(seconds)
        else:
            self._deadline = None
        return self._waiter

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None:
            self._waiter = self._deadline = None
            if not waiter.done():
                waiter.set_result(None)

    def _arm(self, seconds: float) -> None:
        now = self._loop.time()
        self._deadline = deadline = now + seconds
        if self._timer is not None:
            if self._timer_due <= deadline:
                return
            self._timer.cancel()
        self._start_timer(min(deadline, now + TICK))

    def _start_timer(self, due: float) -> None:
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._deadline is None or self.lost:
            return
        now = self._loop.time()
        if now < self._deadline:
            self._start_timer(min(self._deadline, now + TICK))
        elif self._waiter is None:
            self.abort()
        elif not self._waiter.done():
            error, text = self._timeout
            self._waiter.set_exception(error(text))

    # -- callbacks of the event loop -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        if self._request is None or self._complete:
            self.abort()
            return
        self._received_any = True
        if not self._head_complete:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep_alive = False
            if not self._complete:
                self._fail(RemoteProtocolError(f"malformed response: {error}"))
        if not self._head_complete:
            if self._head_bytes > HEAD_LIMIT:
                self._fail(RemoteProtocolError("the head of the response is too large"))
        elif self._buffered > READ_HIGH and not self._read_paused and not self._complete:
            self._pause_reading()
        if self._sending_is_over:
            self._wake()

    def eof_received(self) -> None:
        self._received_eof = True
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._request is not None and not self._complete and self._failure is None:
            if self._received_eof and self._head_complete and self._ends_with_connection():
                self._complete = True
            else:
                self._failure = self._loss(exc)
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake()

    def _pause_reading(self) -> None:
        if self._transport is not None and not self.closing:
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        self._read_paused = False
        if self._transport is not None and not self.closing:
            self._transport.resume_reading()

    def _fail(self, error: TransportError) -> None:
        self._failure = self._failure or error
        self.abort()

    def _loss(self, exc: Exception | None) -> TransportError:
        if exc is not None:
            return ReadError(f"the connection broke: {type(exc).__name__}")
        if self._head_complete:
            return RemoteProtocolError("the response was cut short")
        if self._received_any:
            return RemoteProtocolError("the response was cut short in its head")
        return ReadError("the server closed the connection without a response")

    def _ends_with_connection(self) -> bool:
        """Whether nothing in the head says where the body ends."""
        return not any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers)

    # -- callbacks of the parser ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise ValueError("bytes after the response")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_complete:  # else a trailer
            self.headers.append((name, value.strip()))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:
            self.headers = []
            return
        if self._head_bytes > HEAD_LIMIT and sum(len(name) + len(value) for name, value in self.headers) > HEAD_LIMIT:
            self._fail(RemoteProtocolError("the head of the response is too large"))
            return
        self.status = status
        self._head_complete = True
        if self._request is not None and self._request.response_has_no_body:
            self._complete = True

    def on_body(self, data: bytes) -> None:
        if not self._complete:
            self._buffer.append(data)
            self._buffered += len(data)

    def on_message_complete(self) -> None:
        if self._head_complete and not self._complete:
            self._complete = True
            self._keep_alive = self._parser.should_keep_alive()
