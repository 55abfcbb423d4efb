"""The transport for vendors behind a WebSocket, mounted at ``ws`` and ``wss``: it runs their `Conversation`s.

A request that carries a conversation is answered with status 200 once the vendor has accepted the conversation; the
body is the conversation's output as it arrives. A refused handshake is returned as the vendor's response: its status,
headers and body.

When a conversation has completed, its socket stays open for a while, so that the next conversation with the same URL,
headers and setting needs no handshake. If that socket proves dead before the vendor has accepted the conversation, a
new one takes its place. `warm` opens a socket before it is known whether it will be needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence

from proxy.audio import codec
from proxy.audio.pool import WorkerPool
from proxy.domain.requests import Upload
from proxy.errors import UpstreamUnavailable
from proxy.http.errors import (
    ConnectError,
    PoolTimeout,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    TransportError,
    UnsupportedProtocol,
    WriteTimeout,
)
from proxy.http.messages import URL, ByteStream, Headers, Request, Response, Timeouts
from proxy.http.route import Route, route_to
from proxy.http.tls import TLS
from proxy.providers.sockets.conversation import Conversation, Turn
from proxy.providers.wire.headers import ID_HEADERS
from proxy.tasks import cancel_all
from proxy.upstream.duplex import Duplex, HandshakeRefused, open_duplex
from proxy.upstream.idle_sockets import Endpoint, IdleSockets

#: Seconds within which each message has to arrive on a reused socket until the conversation is accepted.
REUSE_TIMEOUT = 5.0
#: Seconds, for sockets that are opened ahead.
WARM_TIMEOUTS: Timeouts = {"connect": 10.0, "read": 10.0}
#: Sockets of one endpoint that are being opened ahead at the same time.
MAX_WARMING = 8
_HTTP_SCHEMES = {"ws": "http", "wss": "https"}


class WebSocketTransport:
    """Runs each request's conversation on a socket of its own. Belongs to one event loop.

    Time limits have the names and meanings of `HTTPTransport`'s. ``read`` limits the wait for the handshake's response,
    then for the first output, counted from the last message sent, and after that for each message.
    ``readers`` decode the audio that a conversation is fed. Raises TransportError, and what conversations raise.
    """

    def __init__(
        self,
        readers: WorkerPool,
        *,
        ssl_context: ssl.SSLContext | None = None,
        max_connections: int = 2000,
        idle_seconds: float = 60.0,
        max_idle: int = 64,
        max_age: float = 1200.0,
        trust_env: bool = True,
    ) -> None:
        """``max_age``: seconds after which a socket takes no further conversation; OpenAI ends a session at an hour.

        Without ``ssl_context``: certifi's roots, or those of SSL_CERT_FILE or SSL_CERT_DIR, loaded at first use.
        """
        self.readers = readers
        self.idle = IdleSockets(idle_seconds=idle_seconds, max_idle=max_idle, max_age=max_age)
        self._tls = TLS(ssl_context)
        self._trust_env = trust_env
        self._slots = asyncio.Semaphore(max_connections)
        self._open: set[Duplex] = set()
        self._warming: dict[Endpoint, deque[asyncio.Task[Duplex]]] = {}
        self._closed = False
        #: Conversations under way.
        self.in_flight = 0

    @property
    def open_connections(self) -> int:
        """Sockets in use or idle."""
        return len(self._open)

    async def send(self, request: Request) -> Response:
        stream = SessionStream(self, request)
        try:
            await stream.start()
        except HandshakeRefused as refusal:
            await stream.aclose()
            if refusal.status < 300:
                raise RemoteProtocolError(f"status {refusal.status} to a handshake") from refusal
            return Response(refusal.status, _headers(refusal.headers), refusal.body)
        except BaseException:
            await stream.aclose()
            raise
        return Response(200, _headers(stream.headers), stream)

    def warm(self, request: Request) -> None:
        """Start to open a socket for a request like this, unless one is idle for its ``setting``. Never raises."""
        endpoint, setting = endpoint_of(request), request.extensions.get("setting")
        warming = self._warming.setdefault(endpoint, deque())
        if self._closed or len(warming) >= MAX_WARMING or self.idle.has(endpoint, setting):
            return
        task = asyncio.ensure_future(self.open(request, WARM_TIMEOUTS))
        warming.append(task)
        task.add_done_callback(lambda task: self._warmed(endpoint, task))

    def _warmed(self, endpoint: Endpoint, task: asyncio.Task[Duplex]) -> None:
        warming = self._warming.get(endpoint)
        if warming is None or task not in warming:
            return  # a conversation took it and gets its result or error
        warming.remove(task)
        if not task.cancelled() and task.exception() is None:
            self.idle.add(endpoint, None, task.result())

    async def aclose(self) -> None:
        """Close every socket, also those in use."""
        self._closed = True
        tasks = [task for tasks in self._warming.values() for task in tasks]
        self._warming.clear()
        await cancel_all(tasks)
        for socket in list(self._open):
            socket.abort()

    # -- for SessionStream ---------------------------------------------------------------------------------------------

    async def acquire_slot(self, timeouts: Timeouts) -> None:
        """Wait until fewer than ``max_connections`` conversations are under way; PoolTimeout."""
        seconds = timeouts.get("pool")
        try:
            async with asyncio.timeout(timeouts.get("connect") if seconds is None else seconds):
                await self._slots.acquire()
        except TimeoutError:
            raise PoolTimeout("no socket came free in time") from None
        self.in_flight += 1

    def release_slot(self) -> None:
        self.in_flight -= 1
        self._slots.release()

    async def take_warming(self, endpoint: Endpoint, timeouts: Timeouts) -> Duplex | None:
        """The socket that `warm` is opening there; None if there is none. Raises what `open` raises."""
        warming = self._warming.get(endpoint)
        if not warming:
            return None
        try:
            async with asyncio.timeout(timeouts.get("read")):
                return await warming.popleft()
        except TimeoutError:
            raise ReadTimeout("no answer to the handshake in time") from None

    async def open(self, request: Request, timeouts: Timeouts) -> Duplex:
        """Raises what `open_duplex` raises."""
        if self._closed:
            raise ConnectError("the transport is closed")
        route = _route(request.url, trust_env=self._trust_env)
        socket = await open_duplex(request.url, request.headers, route, self._tls, timeouts, self._on_lost)
        self._open.add(socket)
        if socket.lost or self._closed:
            self._on_lost(socket)
            socket.abort()
        return socket

    def _on_lost(self, socket: Duplex) -> None:
        self._open.discard(socket)
        self.idle.discard(socket)


class SessionStream(ByteStream):
    """One conversation on one socket, and the body of the response.

    `start` finds a socket and returns when the vendor has accepted the conversation. Iterating then passes messages and
    audio between socket and conversation, and ends when the conversation is done. `aclose`, which every path calls,
    returns the socket to the idle ones if the conversation is done, and otherwise cancels it and closes the socket.
    """

    def __init__(self, transport: WebSocketTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._timeouts = request.timeouts
        self._conversation = _conversation(request)
        self._endpoint = endpoint_of(request)
        self._socket: Duplex | None = None
        self._has_slot = False
        self._output: deque[bytes] = deque()
        self._audio = self._decoded(request.extensions.get("audio"))
        #: When the last message was sent; None from the first output on.
        self._sent_at: float | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers of the handshake's response that hold the vendor's request id."""
        headers = self._socket.headers if self._socket is not None else []
        return [(name, value) for name, value in headers if name.lower().encode("latin-1", "replace") in ID_HEADERS]

    async def start(self) -> None:
        """Raises HandshakeRefused, TransportError and ProxyError."""
        await self._transport.acquire_slot(self._timeouts)
        self._has_slot = True
        idle = self._transport.idle.take(self._endpoint, self._conversation.setting)
        if idle is None:
            await self._start_on_new(await self._transport.take_warming(self._endpoint, self._timeouts))
            return
        self._socket, resumed = idle
        try:
            self._start_conversation(resumed=resumed)
            await self._wait_until_accepted(REUSE_TIMEOUT)
        except (TransportError, UpstreamUnavailable):
            # The socket was dead or its session over. The vendor has not accepted anything, so it is safe to repeat.
            self._socket.abort()
            await self._start_on_new()

    async def _start_on_new(self, socket: Duplex | None = None) -> None:
        self._socket = socket or await self._transport.open(self._request, self._timeouts)
        self._start_conversation(resumed=False)
        await self._wait_until_accepted()

    async def _wait_until_accepted(self, max_seconds: float | None = None) -> None:
        while not self._conversation.accepted:
            await self._receive(max_seconds)

    def __aiter__(self) -> SessionStream:
        return self

    async def __anext__(self) -> bytes:
        if self._socket is None:
            raise StreamClosed("the body of the response is closed")
        while not self._output:
            if self._conversation.done:
                raise StopAsyncIteration
            if self._conversation.wants_audio and self._socket.drained:
                self._process(self._conversation.feed(await anext(self._audio, b"")))
            else:
                await self._receive()
        return self._output.popleft()

    async def aclose(self) -> None:
        socket, self._socket = self._socket, None
        has_slot, self._has_slot = self._has_slot, False
        try:
            await self._audio.aclose()
        finally:
            if socket is not None:
                self._release(socket)
            if has_slot:
                self._transport.release_slot()

    def _release(self, socket: Duplex) -> None:
        if self._conversation.done and self._conversation.setting is not None:
            self._transport.idle.add(self._endpoint, self._conversation.setting, socket)
            return
        if not self._conversation.done:
            socket.send(self._conversation.cancel())
        socket.close()

    # -- messages ------------------------------------------------------------------------------------------------------

    def _start_conversation(self, *, resumed: bool) -> None:
        self._output.clear()
        self._sent_at = 0.0
        self._send(self._conversation.start(resumed=resumed))

    def _send(self, messages: Sequence[str]) -> None:
        if messages and self._socket is not None:
            self._socket.send(messages)
            if self._sent_at is not None:
                self._sent_at = asyncio.get_running_loop().time()

    async def _receive(self, max_seconds: float | None = None) -> None:
        """Process one message, or return when audio can be sent again. ``max_seconds`` lowers the time limit."""
        socket = self._socket
        if socket is None:
            raise StreamClosed("the body of the response is closed")
        message = socket.pop()
        while message is None:
            if socket.lost:
                raise socket.loss()
            if socket.write_paused and self._conversation.wants_audio:
                await socket.wait(self._timeouts.get("write"), WriteTimeout("the audio could not be sent in time"))
                if not socket.write_paused:
                    return
            else:
                await socket.wait(self._read_timeout(max_seconds), ReadTimeout("no message in time"))
            message = socket.pop()
        self._process(self._conversation.receive(message))

    def _process(self, turn: Turn) -> None:
        self._send(turn.send)
        if turn.output:
            self._sent_at = None
            self._output.append(turn.output)

    def _read_timeout(self, max_seconds: float | None) -> float | None:
        """Seconds. Until the first output, messages without output do not extend it."""
        seconds = self._timeouts.get("read")
        if seconds is not None and self._sent_at is not None:
            seconds = max(0.0, self._sent_at + seconds - asyncio.get_running_loop().time())
        if seconds is None or max_seconds is None:
            return max_seconds if seconds is None else seconds
        return min(seconds, max_seconds)

    async def _decoded(self, upload: Upload | None) -> AsyncGenerator[bytes]:
        """The upload as the PCM that the conversation is fed."""
        if upload is None:
            return
        descriptor = upload.fileno()
        source = upload.getbuffer() if descriptor is None else descriptor
        pcm = codec.decode(self._transport.readers, source, rate=self._conversation.rate)
        async with contextlib.aclosing(pcm):
            async for piece in pcm:
                yield piece


def endpoint_of(request: Request) -> Endpoint:
    return str(request.url), tuple(request.headers.raw)


def _conversation(request: Request) -> Conversation:
    conversation: Conversation | None = request.extensions.get("conversation")
    if conversation is None:
        raise UnsupportedProtocol("a request to a WebSocket needs a conversation")
    return conversation


def _route(url: URL, *, trust_env: bool) -> Route:
    scheme = _HTTP_SCHEMES[url.scheme]
    return route_to(URL(scheme + str(url).removeprefix(url.scheme)), trust_env=trust_env)


def _headers(fields: list[tuple[str, str]]) -> Headers:
    return Headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])
