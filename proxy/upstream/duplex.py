"""One WebSocket connection: the handshake, messages in both directions, and closing on every path.

`websockets` parses and builds the frames (its sans-I/O `ClientProtocol`); the I/O is our own. Its asyncio client costs
little more, but cannot limit unread messages by size, and after a close frame or a protocol error it waits for the
server to close TCP. The measurements are in bench/history.md, "WebSockets".

The life of a socket: `open_duplex` connects it and completes the handshake. Then messages are taken with `pop`, sent
with `send`, and `wait` waits for more. It ends in one of these ways, and `lost` is set when TCP is closed:

- `close` sends a close frame, gives what is still unsent CLOSE_SECONDS to leave, and does not wait for an answer.
- The server sends a close frame, violates the protocol or exceeds MAX_MESSAGE_LENGTH: the socket is closed at once.
- The server closes TCP, or the network fails.
- `abort` drops the connection.

Messages that arrived before the end can still be popped. No pings are sent, pings are answered unless reading is
paused, redirects are not followed, and compression is not offered.
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

from proxy.http.connection import Connection
from proxy.http.dial import dial
from proxy.http.errors import ReadTimeout, RemoteProtocolError, TransportError
from proxy.http.messages import URL, Headers, Timeouts
from proxy.http.route import Route
from proxy.providers.sockets.conversation import Message

#: Bytes of one message, whether it comes in one frame or in several.
MAX_MESSAGE_LENGTH = 4 * 1024 * 1024
#: Unread bytes at which reading from the socket is paused: more than two minutes of speech in base64. Speech arrives
#: faster than a client plays it, and a vendor whose pings wait behind unread audio would close the socket.
READ_HIGH = 8 * 1024 * 1024
#: Bytes of memory that an unread message takes besides its payload.
MESSAGE_OVERHEAD = 128
#: Unsent bytes at which `write_paused` is set.
WRITE_HIGH = 256 * 1024
#: Seconds that unsent messages have to leave after `close`.
CLOSE_SECONDS = 5.0
#: Headers that the handshake sets itself.
_HANDSHAKE_HEADERS = frozenset({b"host", b"content-length", b"connection", b"upgrade"})


class HandshakeRefused(Exception):
    """The server answered the handshake with an HTTP response other than 101."""

    def __init__(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        super().__init__(f"status {status}")
        self.status, self.headers, self.body = status, headers, body


class Duplex(asyncio.Protocol):
    """A WebSocket. At most one coroutine waits on it at any time; ``on_lost`` is called once, when TCP is closed."""

    def __init__(self, url: URL, on_lost: Callable[[Duplex], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_lost = on_lost
        self._protocol = ClientProtocol(parse_uri(str(url)), max_size=MAX_MESSAGE_LENGTH)
        self._transport: asyncio.Transport | None = None
        self._response: Response | None = None
        #: The message that is arriving in several frames.
        self._is_text = True
        self._partial = bytearray()
        #: Whole messages: is_text, payload. Text is decoded when it is popped, so that the first one is not delayed.
        self._messages: deque[tuple[bool, bytes | bytearray | memoryview]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._read_paused = self._received_eof = False
        #: Bytes of memory of the messages that can be popped.
        self.unread = 0
        #: TCP is closed: nothing more can be sent or will arrive.
        self.lost = False
        #: The server takes what is sent too slowly; `wait` returns when it has caught up.
        self.write_paused = False
        self.opened_at = self._loop.time()

    # -- the handshake -------------------------------------------------------------------------------------------------

    async def handshake(self, headers: Headers, route: Route, timeouts: Timeouts) -> None:
        """Raises HandshakeRefused, ReadTimeout and RemoteProtocolError."""
        request = self._protocol.connect()
        for name, value in headers.raw:
            if name.lower() not in _HANDSHAKE_HEADERS:
                request.headers[name.decode("ascii")] = value.decode("latin-1")
        if route.proxy is not None and not route.tunnelled:
            request.path = f"http://{route.authority.decode('ascii')}{request.path}"
            if route.proxy_authorization:
                request.headers["Proxy-Authorization"] = route.proxy_authorization.decode("ascii")
        self._protocol.send_request(request)
        self._flush()
        while self._response is None and self._protocol.handshake_exc is None and not self.lost:
            await self.wait(timeouts.get("read"), ReadTimeout("no answer to the handshake in time"))
        failure = self._protocol.handshake_exc
        if isinstance(failure, InvalidStatus):
            response = failure.response
            raise HandshakeRefused(response.status_code, list(response.headers.raw_items()), bytes(response.body))
        if failure is not None or self._response is None:
            raise RemoteProtocolError(f"the handshake failed: {failure or 'the connection was closed'}")

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of the handshake's response."""
        return list(self._response.headers.raw_items()) if self._response is not None else []

    # -- messages ------------------------------------------------------------------------------------------------------

    def pop(self) -> Message | None:
        """The next message that has arrived; None if there is none."""
        if not self._messages:
            return None
        is_text, payload = self._messages.popleft()
        self.unread -= len(payload) + MESSAGE_OVERHEAD
        if self._read_paused and self.unread < READ_HIGH // 2 and self._transport is not None and not self.lost:
            self._read_paused = False
            self._transport.resume_reading()
        return str(payload, "utf-8", "replace") if is_text else bytes(payload)

    def send(self, messages: Iterable[str]) -> None:
        """Never waits: stop sending while `write_paused`. Discards the messages if the socket is closing or lost."""
        for message in messages:
            if self._protocol.state is State.OPEN:
                self._protocol.send_text(message.encode("utf-8", "replace"))
        self._flush()

    async def wait(self, seconds: float | None, error: Exception) -> None:
        """Until something arrived, the server caught up or the socket was lost; raises ``error`` after ``seconds``."""
        waiter = self._waiter = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            raise error from None
        finally:
            self._waiter = None

    def discard_unread(self) -> None:
        while self.pop() is not None:
            pass

    @property
    def drained(self) -> bool:
        """Whether the socket is open, every message was popped, and the server keeps up with what is sent."""
        return not (self.lost or self.write_paused or self._messages)

    def loss(self) -> TransportError:
        """Why a lost socket was closed: the close codes and reasons of both sides."""
        return RemoteProtocolError(f"the socket was closed: {self._protocol.close_exc}")

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send a close frame and close TCP as soon as everything was sent, at the latest after CLOSE_SECONDS."""
        if self.lost or self._close_timer is not None or self._transport is None:
            return
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(1000)
        self._flush()
        self._close_timer = self._loop.call_later(CLOSE_SECONDS, self.abort)
        self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- called by the event loop --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)

    def data_received(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._receive_frame(event)
            elif isinstance(event, Response):
                self._response = event
        self._flush()
        if self._protocol.state in (State.CLOSING, State.CLOSED):
            self.close()
        elif self.unread > READ_HIGH and not self._read_paused and self._transport is not None:
            self._read_paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._receive_eof()
        if self._close_timer is not None:
            self._close_timer.cancel()
        self._wake()
        self._on_lost(self)

    def pause_writing(self) -> None:
        self.write_paused = True

    def resume_writing(self) -> None:
        self.write_paused = False
        self._wake()

    def _receive_frame(self, frame: Frame) -> None:
        """Collect data frames into messages; the protocol answers pings and close frames itself."""
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        payload = frame.data
        if self._partial or not frame.fin:
            self._partial += payload
            if not frame.fin:
                return
            payload, self._partial = self._partial, bytearray()
        self._messages.append((self._is_text, payload))
        self.unread += len(payload) + MESSAGE_OVERHEAD

    def _receive_eof(self) -> None:
        if not self._received_eof:
            self._received_eof = True
            self._protocol.receive_eof()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data and self._transport is not None and not self.lost:
                self._transport.write(data)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def open_duplex(
    url: URL,
    headers: Headers,
    route: Route,
    tls: Callable[[], ssl.SSLContext],
    timeouts: Timeouts,
    on_lost: Callable[[Duplex], None],
) -> Duplex:
    """A connected socket after its handshake. Raises what `dial` and `Duplex.handshake` raise, and closes it then."""
    opening = Connection(lambda connection: None)
    await dial(opening, route, tls, timeouts)
    duplex = Duplex(url, on_lost)
    try:
        opening.hand_over(duplex)
        await duplex.handshake(headers, route, timeouts)
    except BaseException:
        opening.abort()
        raise
    return duplex
