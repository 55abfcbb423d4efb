"""One WebSocket: the handshake, messages both ways, an end on every path.

The protocol is the sans-I/O layer of ``websockets``. The I/O is own code rather than its asyncio client, for the
reasons of `connection`: no task, lock or timer of its own; unread messages are bounded in bytes, not in number; names,
TLS and forward proxies go the way of every other connection (`dial`); no redirect is followed, and no pings are sent
that a slow reader would fail to see answered.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from proxy.http.connection import WRITE_HIGH, Connection
from proxy.http.dial import dial
from proxy.http.errors import ConnectError, ReadTimeout, RemoteProtocolError, TransportError
from proxy.http.messages import URL, Headers, Timeouts
from proxy.http.route import Route
from proxy.providers.sockets.conversation import Message

#: Bytes of one message.
MAX_MESSAGE_LENGTH = 4 * 1024 * 1024
#: Unread bytes at which the socket is no longer read: more than two minutes of speech in base64, so that a client who
#: listens while it comes does not make the vendor believe that nobody is there.
READ_HIGH = 8 * 1024 * 1024
#: Seconds that the last messages have to leave before a socket that is closed is cut.
CLOSE_SECONDS = 5.0
#: What the handshake says itself.
_OWN_HEADERS = frozenset({b"host", b"content-length", b"connection", b"upgrade"})


class HandshakeRefused(Exception):
    """The server answered the handshake with something else than a WebSocket."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers, self.body = status, headers, body


class Duplex(asyncio.Protocol):
    """`pop` what has come, `send`, `wait` for more to happen; at most one coroutine waits at any time."""

    def __init__(self, url: URL, on_lost: Callable[[Duplex], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._protocol = ClientProtocol(parse_uri(str(url)), max_size=MAX_MESSAGE_LENGTH)
        self._transport: asyncio.Transport | None = None
        self._answer: Response | None = None
        self._parts: list[bytes] = []
        self._is_text = True
        self._messages: deque[Message] = deque()
        self._unread = 0
        self._waiter: asyncio.Future[None] | None = None
        self._closing: asyncio.TimerHandle | None = None
        self._read_paused = self._ended = False
        #: No message can be sent or come any more; those that had come can still be popped.
        self.lost = False
        #: Too much is unsent: the server does not take it.
        self.congested = False
        self.born = self._loop.time()

    # -- the handshake -------------------------------------------------------------------------------------------------

    async def handshake(self, headers: Headers, route: Route, timeouts: Timeouts) -> None:
        """Raises Refused, ReadTimeout and RemoteProtocolError."""
        request = self._protocol.connect()
        for name, value in headers.raw:
            if name.lower() not in _OWN_HEADERS:
                request.headers[name.decode("ascii")] = value.decode("latin-1")
        if route.proxy is not None and not route.tunnelled:
            request.path = f"http://{route.authority.decode('ascii')}{request.path}"
            if route.proxy_authorization:
                request.headers["Proxy-Authorization"] = route.proxy_authorization.decode("ascii")
        self._protocol.send_request(request)
        self._flush()
        while self._answer is None and self._protocol.handshake_exc is None and not self.lost:
            await self.wait(timeouts.get("read"), ReadTimeout("no answer to the handshake in time"))
        failure = self._protocol.handshake_exc
        if isinstance(failure, InvalidStatus):
            answer = failure.response
            raise HandshakeRefused(answer.status_code, list(answer.headers.raw_items()), bytes(answer.body))
        if failure is not None or self._answer is None:
            raise RemoteProtocolError(f"the handshake failed: {failure or 'the connection was closed'}")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Of the answer to the handshake."""
        return list(self._answer.headers.raw_items()) if self._answer is not None else []

    # -- messages ------------------------------------------------------------------------------------------------------

    def pop(self) -> Message | None:
        """The next message that has come; None if there is none."""
        if not self._messages:
            return None
        message = self._messages.popleft()
        self._unread -= len(message)
        if self._read_paused and self._unread < READ_HIGH // 2 and self._transport is not None and not self.lost:
            self._read_paused = False
            self._transport.resume_reading()
        return message

    def send(self, messages: Iterable[str]) -> None:
        """Into the void where the socket is lost; heed `congested`."""
        for message in messages:
            if self._protocol.state is State.OPEN:
                self._protocol.send_text(message.encode("utf-8", "replace"))
        self._flush()

    async def wait(self, seconds: float | None, error: Exception) -> None:
        """Until something happened; ``error`` after so many seconds."""
        waiter = self._waiter = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            raise error from None
        finally:
            self._waiter = None

    def forget(self) -> None:
        """Nobody wants the messages that have come."""
        while self.pop() is not None:
            pass

    @property
    def unread(self) -> int:
        """Bytes of messages that have come and were not popped."""
        return self._unread

    @property
    def at_leisure(self) -> bool:
        """Nothing waits to be read or to be sent."""
        return not (self.lost or self.congested or self._messages)

    def loss(self) -> TransportError:
        """Why there is nothing more to come."""
        code, reason = self._protocol.close_code, self._protocol.close_reason
        return RemoteProtocolError(f"the socket was closed with code {code}: {(reason or 'no reason')[:200]}")

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """In order, without waiting for it: what was sent still leaves, if the server takes it."""
        if self.lost or self._closing is not None or self._transport is None:
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
        self._flush()
        self._closing = self._loop.call_later(CLOSE_SECONDS, self.abort)
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- what the event loop calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
            elif isinstance(event, Response):
                self._answer = event
        self._flush()
        if self._protocol.state in (State.CLOSING, State.CLOSED):
            self.close()
        elif self._unread > READ_HIGH and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._end()
        if self._closing is not None:
            self._closing.cancel()
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._wake()

    def _take(self, frame: Frame) -> None:
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._parts.append(bytes(frame.data))
        if frame.fin:
            data = b"".join(self._parts)
            self._parts.clear()
            self._messages.append(data.decode("utf-8", "replace") if self._is_text else data)
            self._unread += len(self._messages[-1])

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._protocol.receive_eof()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and self._transport is not None and not self.lost:
                self._transport.write(data)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Opening(Connection):
    """The connection up to the handshake: TCP, TLS, a forward proxy's tunnel."""

    __slots__ = ()

    def hand_over(self, duplex: Duplex) -> None:
        transport = self._transport
        if transport is None or self.lost:
            raise ConnectError("the connection was lost")
        transport.set_protocol(duplex)
        duplex.connection_made(transport)


async def open_duplex(
    url: URL,
    headers: Headers,
    route: Route,
    tls: Callable[[], ssl.SSLContext],
    timeouts: Timeouts,
    on_lost: Callable[[Duplex], None],
) -> Duplex:
    """A socket whose handshake is over. Raises what `dial` and `Duplex.shake_hands` raise; nothing stays open then."""
    opening = _Opening(lambda connection: None)
    await dial(opening, route, tls, timeouts)
    duplex = Duplex(url, on_lost)
    try:
        opening.hand_over(duplex)
        await duplex.handshake(headers, route, timeouts)
    except BaseException:
        opening.abort()
        raise
    return duplex
