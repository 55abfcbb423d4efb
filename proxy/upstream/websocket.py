"""The transport of vendors behind a WebSocket, mounted at ``ws`` and ``wss``: it runs their `Conversation`s.

A request that carries a conversation is answered with status 200 once the vendor has taken it up; the body is what the
conversation gives, as it comes. A handshake that is refused is answered as it was: status, headers, body.

A socket whose conversation ended in order is kept for a while for others of the same URL, headers and setting, so that
they spare the handshake; one that turns out to be dead before that is replaced by a new one. `warm` opens
one before it is known whether it is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncGenerator, Sequence

import httpx

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
from proxy.providers.sockets.conversation import Conversation, Turn
from proxy.providers.wire.requests import ID_HEADERS
from proxy.upstream.duplex import Duplex, HandshakeRefused, open_duplex

#: Seconds without a message after which a kept socket counts as dead.
KEPT_SECONDS = 5.0
#: For a socket that is opened ahead, in seconds; nobody waits for it yet.
WARMING: Timeouts = {"connect": 10.0, "read": 10.0}
#: Sockets of one place that are opened ahead at the same time.
MAX_WARMING = 8
#: Unread bytes at which a kept socket, which should be silent, is closed.
MAX_UNASKED = 64 * 1024
_SCHEMES = {"ws": "http", "wss": "https"}

#: Sockets are alike that lead to the same URL with the same headers: to one vendor's model, opened with one key.
Place = tuple[str, tuple[tuple[bytes, bytes], ...]]


class WebSocketTransport:
    """Time limits are those of `HTTPTransport`: ``read`` holds for the handshake's answer, then for each next message.

    Until the first byte is there, it holds for all that comes from the last message sent on. ``readers`` decode what a
    conversation is fed. Raises TransportError, and what the conversation raises. Use it from one event loop.
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
        self.kept = IdleSockets(idle_seconds=idle_seconds, max_idle=max_idle, max_age=max_age)
        self._ssl_context = ssl_context
        self._ssl_ready = False
        self._trust_env = trust_env
        self._places = asyncio.Semaphore(max_connections)
        self._live: set[Duplex] = set()
        self._warming: dict[Place, deque[asyncio.Task[Duplex]]] = {}
        self._closed = False
        #: Conversations under way.
        self.in_flight = 0

    @property
    def open_connections(self) -> int:
        """Sockets in use or idle."""
        return len(self._live)

    async def send(self, request: Request) -> Response:
        talk = SessionStream(self, request)
        try:
            await talk.begin()
        except HandshakeRefused as refusal:
            await talk.aclose()
            if refusal.status < 300:
                raise RemoteProtocolError(f"status {refusal.status} to a handshake") from refusal
            return Response(refusal.status, _headers(refusal.headers), refusal.body)
        except BaseException:
            await talk.aclose()
            raise
        return Response(200, _headers(talk.headers), talk)

    def warm(self, request: Request) -> None:
        """Begin to open a socket for a request like this one, if none is kept for its ``setting``; nobody is told."""
        place, setting = place_of(request), request.extensions.get("setting")
        warming = self._warming.setdefault(place, deque())
        if self._closed or len(warming) >= MAX_WARMING or self.kept.has(place, setting):
            return
        task = asyncio.ensure_future(self.dial(request, WARMING))
        warming.append(task)
        task.add_done_callback(lambda task: self._warmed(place, task))

    def _warmed(self, place: Place, task: asyncio.Task[Duplex]) -> None:
        warming = self._warming.get(place)
        if warming is None or task not in warming:
            return  # somebody took it, and has heard of it
        warming.remove(task)
        if not task.cancelled() and task.exception() is None:
            self.kept.keep(place, None, task.result())

    async def aclose(self) -> None:
        """Close every socket, those in use included."""
        self._closed = True
        tasks = [task for tasks in self._warming.values() for task in tasks]
        self._warming.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for duplex in list(self._live):
            duplex.abort()

    # -- for conversations ---------------------------------------------------------------------------------------------

    async def enter(self, timeouts: Timeouts) -> None:
        """Wait for a turn, first come first served; PoolTimeout."""
        seconds = timeouts.get("pool")
        try:
            async with asyncio.timeout(timeouts.get("connect") if seconds is None else seconds):
                await self._places.acquire()
        except TimeoutError:
            raise PoolTimeout("no socket came free in time") from None
        self.in_flight += 1

    def leave(self) -> None:
        self.in_flight -= 1
        self._places.release()

    async def opened_ahead(self, place: Place, timeouts: Timeouts) -> Duplex | None:
        """The socket that is being opened there for anybody; None where there is none. Raises what `dial` raises."""
        warming = self._warming.get(place)
        if not warming:
            return None
        try:
            async with asyncio.timeout(timeouts.get("read")):
                return await warming.popleft()
        except TimeoutError:
            raise ReadTimeout("no answer to the handshake in time") from None

    async def dial(self, request: Request, timeouts: Timeouts) -> Duplex:
        if self._closed:
            raise ConnectError("the transport is closed")
        route = _route(request.url, trust_env=self._trust_env)
        duplex = await open_duplex(request.url, request.headers, route, self._tls, timeouts, self._on_lost)
        self._live.add(duplex)
        if duplex.lost or self._closed:
            self._on_lost(duplex)
            duplex.abort()
        return duplex

    def _on_lost(self, duplex: Duplex) -> None:
        self._live.discard(duplex)
        self.kept.forget(duplex)

    def _tls(self) -> ssl.SSLContext:
        """Made at the first use of wss, for it takes tens of milliseconds."""
        if self._ssl_context is None:
            self._ssl_context = httpx.create_ssl_context()
        if not self._ssl_ready:
            self._ssl_context.set_alpn_protocols(["http/1.1"])
            self._ssl_ready = True
        return self._ssl_context


class IdleSockets:
    """Sockets between two conversations, the one that ended last first; ``setting`` None: no conversation has begun."""

    def __init__(self, *, idle_seconds: float, max_idle: int, max_age: float) -> None:
        self._idle_seconds, self._max_idle, self._max_age = idle_seconds, max_idle, max_age
        self._idle: dict[Duplex, tuple[Place, str | None, asyncio.TimerHandle]] = {}

    def has(self, place: Place, setting: str | None) -> bool:
        return self._find(place, setting) is not None

    def take(self, place: Place, setting: str | None) -> tuple[Duplex, bool] | None:
        """The socket, and whether it has been used; one that was not is as good for any setting."""
        duplex = self._find(place, setting)
        if duplex is None:
            return None
        _, settled, timer = self._idle.pop(duplex)
        timer.cancel()
        duplex.forget()
        return duplex, settled is not None

    def keep(self, place: Place, setting: str | None, duplex: Duplex) -> None:
        """Or close it, where it is old, or the oldest instead, where there are too many."""
        loop = asyncio.get_running_loop()
        if duplex.lost or loop.time() - duplex.born >= self._max_age or self._max_idle < 1:
            duplex.close()
            return
        if len(self._idle) >= self._max_idle:
            self._end(next(iter(self._idle)))
        self._idle[duplex] = place, setting, loop.call_later(self._idle_seconds, self._end, duplex)

    def forget(self, duplex: Duplex) -> None:
        """It was lost."""
        if duplex in self._idle:
            self._idle.pop(duplex)[2].cancel()

    def _find(self, place: Place, setting: str | None) -> Duplex | None:
        unused = None
        for duplex, (where, settled, _) in reversed(list(self._idle.items())):
            if where != place or settled not in (None, setting):
                continue
            if duplex.lost or duplex.unread > MAX_UNASKED or self._is_old(duplex):
                self._end(duplex)
            elif settled is not None:
                return duplex
            else:
                unused = unused or duplex
        return unused

    def _is_old(self, duplex: Duplex) -> bool:
        return asyncio.get_running_loop().time() - duplex.born >= self._max_age

    def _end(self, duplex: Duplex) -> None:
        self.forget(duplex)
        duplex.close()


class SessionStream(ByteStream):
    """One conversation over one socket, and the body of its answer. Closing it, read or not, ends both."""

    def __init__(self, transport: WebSocketTransport, request: Request) -> None:
        self._transport = transport
        self._request = request
        self._timeouts = request.timeouts
        self._conversation = _conversation(request)
        self._place = place_of(request)
        self._duplex: Duplex | None = None
        self._entered = False
        self._gives: deque[bytes] = deque()
        self._audio = self._decoded(request.extensions.get("audio"))
        #: When something was sent last, until the first byte has come.
        self._asked: float | None = None

    @property
    def headers(self) -> list[tuple[str, str]]:
        """What the handshake says of the vendor's id of it."""
        stated = self._duplex.headers if self._duplex is not None else []
        return [(name, value) for name, value in stated if name.lower().encode("latin-1", "replace") in ID_HEADERS]

    async def begin(self) -> None:
        """Until the vendor has taken up the conversation. Raises Refused, TransportError and ProxyError."""
        await self._transport.enter(self._timeouts)
        self._entered = True
        kept = self._transport.kept.take(self._place, self._conversation.setting)
        if kept is None:
            await self._begin_anew(await self._transport.opened_ahead(self._place, self._timeouts))
            return
        self._duplex, used = kept
        try:
            self._start(resumed=used)
            await self._hear_beginning(KEPT_SECONDS)
        except (TransportError, UpstreamUnavailable):
            # The socket was dead, or its session over: nobody has heard the question.
            self._duplex.abort()
            await self._begin_anew()

    async def _begin_anew(self, duplex: Duplex | None = None) -> None:
        self._duplex = duplex or await self._transport.dial(self._request, self._timeouts)
        self._start(resumed=False)
        await self._hear_beginning()

    async def _hear_beginning(self, most: float | None = None) -> None:
        """Until the vendor has taken up the conversation, each message within ``most`` seconds."""
        while not self._conversation.begun:
            await self._hear(most)

    def __aiter__(self) -> SessionStream:
        return self

    async def __anext__(self) -> bytes:
        if self._duplex is None:
            raise StreamClosed()
        while not self._gives:
            if self._conversation.done:
                raise StopAsyncIteration
            if self._conversation.hungry and self._duplex.at_leisure:
                self._take(self._conversation.feed(await anext(self._audio, b"")))
            else:
                await self._hear()
        return self._gives.popleft()

    async def aclose(self) -> None:
        duplex, self._duplex = self._duplex, None
        entered, self._entered = self._entered, False
        try:
            await self._audio.aclose()
        finally:
            if duplex is not None:
                self._part(duplex)
            if entered:
                self._transport.leave()

    def _part(self, duplex: Duplex) -> None:
        if self._conversation.done and self._conversation.setting is not None:
            self._transport.kept.keep(self._place, self._conversation.setting, duplex)
            return
        if not self._conversation.done:
            duplex.send(self._conversation.leave())
        duplex.close()

    # -- turns ---------------------------------------------------------------------------------------------------------

    def _start(self, *, resumed: bool) -> None:
        self._gives.clear()
        self._asked = 0.0
        self._say(self._conversation.start(resumed=resumed))

    def _say(self, messages: Sequence[str]) -> None:
        if messages and self._duplex is not None:
            self._duplex.send(messages)
            if self._asked is not None:
                self._asked = asyncio.get_running_loop().time()

    async def _hear(self, most: float | None = None) -> None:
        """One message, or that the socket takes more again; within ``most`` seconds if that is less than the limit."""
        duplex = self._duplex
        if duplex is None:
            raise StreamClosed()
        message = duplex.pop()
        while message is None:
            if duplex.lost:
                raise duplex.loss()
            if duplex.congested and self._conversation.hungry:
                await duplex.wait(self._timeouts.get("write"), WriteTimeout("the audio could not be sent in time"))
                if not duplex.congested:
                    return
            else:
                await duplex.wait(self._patience(most), ReadTimeout("no message in time"))
            message = duplex.pop()
        self._take(self._conversation.receive(message))

    def _take(self, turn: Turn) -> None:
        self._say(turn.send)
        if turn.output:
            self._asked = None
            self._gives.append(turn.output)

    def _patience(self, most: float | None) -> float | None:
        """Seconds. Until the first byte, chatter does not prolong the wait for it."""
        seconds = self._timeouts.get("read")
        if seconds is not None and self._asked is not None:
            seconds = max(0.0, self._asked + seconds - asyncio.get_running_loop().time())
        return seconds if most is None else most if seconds is None else min(seconds, most)

    async def _decoded(self, upload: Upload | None) -> AsyncGenerator[bytes]:
        """What the conversation is fed."""
        if upload is None:
            return
        descriptor = upload.fileno()
        source = upload.getbuffer() if descriptor is None else descriptor
        pcm = codec.decode(self._transport.readers, source, rate=self._conversation.rate)
        async with contextlib.aclosing(pcm):
            async for piece in pcm:
                yield piece


def place_of(request: Request) -> Place:
    return str(request.url), tuple(request.headers.raw)


def _conversation(request: Request) -> Conversation:
    conversation: Conversation | None = request.extensions.get("conversation")
    if conversation is None:
        raise UnsupportedProtocol("a request to a WebSocket needs a conversation")
    return conversation


def _route(url: URL, *, trust_env: bool) -> Route:
    scheme = _SCHEMES[url.scheme]
    return route_to(URL(scheme + str(url).removeprefix(url.scheme)), trust_env=trust_env)


def _headers(fields: list[tuple[str, str]]) -> Headers:
    return Headers([(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields])
