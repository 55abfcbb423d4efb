"""A fake OpenAI on a loopback port: raw asyncio with httptools, in a thread of its own.

It answers as recorded traffic does, and a test can make it late, silent, broken or dishonest by installing a
``Behaviour`` for the model name that arrives upstream. Each request is recorded; files are kept as size and SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qs

import httptools

from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.multipart import MultipartReader, Part

#: The only key that the fake takes.
KEY = "sk-upstream-5b1f0c7e9a3d46882222"
_WAIT = 10.0
_KEPT = 1 << 20


@dataclass(frozen=True)
class Behaviour:
    """How to treat the requests for one model; the default is to answer well."""

    #: Replaces the natural answer: a finished one, or a function of the request.
    answer: Answer | Callable[[Recorded], Answer] | None = None
    #: Overrides single things of the answer.
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    #: Send along what comes with every answer of OpenAI's.
    as_openai: bool = True
    chunk_size: int | None = None
    framing: Literal["chunked", "length", "close"] | None = None
    #: Seconds before the headers, and before each chunk but the first.
    first_delay: float = 0.0
    gap: float = 0.0
    #: Holds chunks back; the headers go out with the first chunk.
    gate: Gate | None = None
    #: With ``gate``: send the headers before the first chunk may leave.
    headers_first: bool = False
    #: Break or fall silent before the headers (-1), after them (0) or after N chunks.
    stop_after: int | None = None
    stop: Literal["close", "reset", "hang"] = "close"
    #: Bytes to write instead of an answer, as they are; then the connection is closed.
    raw: bytes | None = None
    #: "headers" answers as soon as the request's headers are in; "never" also leaves the body unread.
    read_body: Literal["all", "headers", "never"] = "all"


class Gate:
    """How many chunks each stream may send so far: raised by the test's thread, awaited on the fake's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._allowed = 0
        self._raised = asyncio.Event()

    def release(self, chunks: int = 1) -> None:
        """Let every stream send that many more."""
        self._loop.call_soon_threadsafe(self._raise, chunks)

    def open(self) -> None:
        self.release(1_000_000)

    def _raise(self, chunks: int) -> None:
        self._allowed += chunks
        self._raised.set()
        self._raised = asyncio.Event()

    async def pass_chunk(self, number: int) -> None:
        """Wait until chunk ``number``, counted from 0, may leave."""
        while number >= self._allowed:
            await self._raised.wait()


@dataclass(eq=False)
class Recorded:
    """One request as the upstream saw it, and what became of its answer."""

    connection: int
    method: str = ""
    target: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    body_size: int = 0
    body_sha256: str = ""
    #: The first MiB of a body that is not multipart.
    body: bytes = b""
    json: Any = None
    parts: list[Part] = field(default_factory=list)
    #: The closing boundary came; true for bodies that are not multipart.
    complete: bool = True
    #: What was wrong with the request as HTTP, multipart or JSON; the fake then drops the connection.
    broken: str | None = None
    chunks_sent: int = 0
    #: Set when the whole request has arrived.
    received: threading.Event = field(default_factory=threading.Event, repr=False)
    #: Set when the answer has been sent whole, or broken off as told.
    answered: threading.Event = field(default_factory=threading.Event, repr=False)
    #: Set when the other side closed the connection before the answer was whole; ``chunks_sent`` then stands still.
    closed_early: threading.Event = field(default_factory=threading.Event, repr=False)

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.target.partition("?")[2], keep_blank_values=True, errors="strict")

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        return values[0] if values else None

    @property
    def fields(self) -> dict[str, list[str]]:
        """Parts without a filename, by name, in order."""
        found: dict[str, list[str]] = {}
        for part in self.parts:
            if part.filename is None:
                found.setdefault(part.name, []).append(part.text)
        return found

    @property
    def file(self) -> Part:
        files = [part for part in self.parts if part.filename is not None]
        assert len(files) == 1, f"{len(files)} files in {[part.disposition for part in self.parts]}"
        return files[0]

    @property
    def model(self) -> str:
        if isinstance(self.json, dict):
            return str(self.json.get("model", ""))
        return next(iter(self.fields.get("model", [])), "")

    def wait_chunks(self, count: int) -> None:
        """Until that many chunks were handed to the socket."""
        _until(lambda: self.chunks_sent >= count, f"{count} chunks sent, there are {self.chunks_sent}")

    def wait_closed(self) -> None:
        assert self.closed_early.wait(_WAIT), "the proxy kept the upstream call open"


def _until(condition: Callable[[], bool], what: str) -> None:
    limit = time.monotonic() + _WAIT
    while not condition():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.005)


class Upstream:
    """The server; ``url`` is what a deployment's ``api_base`` should be. With ``tls`` it speaks HTTPS."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.requests: list[Recorded] = []
        self.connections = 0
        self.open_connections: set[asyncio.Transport] = set()
        self._behaviours: dict[str, Behaviour] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-upstream", daemon=True)
        self._thread.start()
        self._server = self._call(self._listen())
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v1"

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=2048, ssl=self._tls)

    def _call(self, coroutine: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        return future.result(_WAIT)

    def behave(self, model: str, behaviour: Behaviour | None = None, **settings: Any) -> None:
        """Treat requests for ``model`` so, until ``reset``; ``*`` stands for every model without its own."""
        self._behaviours[model] = behaviour or Behaviour(**settings)

    def behaviour(self, request: Recorded) -> Behaviour:
        return self._behaviours.get(request.model) or self._behaviours.get("*") or Behaviour()

    def gate(self) -> Gate:
        async def make() -> Gate:
            return Gate(self._loop)

        gate: Gate = self._call(make())
        return gate

    @property
    def last(self) -> Recorded:
        assert self.requests, "nothing came upstream"
        return self.requests[-1]

    def wait_requests(self, count: int = 1) -> Recorded:
        """The newest request, once ``count`` have begun."""
        _until(lambda: len(self.requests) >= count, f"{count} requests upstream, there are {len(self.requests)}")
        return self.requests[-1]

    def reset(self) -> None:
        """Forget requests and behaviours, and drop what still hangs."""

        async def drop() -> None:
            for transport in list(self.open_connections):
                protocol = transport.get_protocol()
                if isinstance(protocol, _Connection) and protocol.busy:
                    transport.abort()
            self.requests.clear()
            self._behaviours.clear()
            self.connections = 0

        self._call(drop())

    def close(self) -> None:
        async def stop() -> None:
            self._server.close()
            for transport in list(self.open_connections):
                transport.abort()
            await asyncio.sleep(0)

        self._call(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_WAIT)
        self._loop.close()


@contextmanager
def running(tls: ssl.SSLContext | None = None) -> Iterator[Upstream]:
    upstream = Upstream(tls)
    try:
        yield upstream
    finally:
        upstream.close()


class _Connection(asyncio.Protocol):
    """Parses requests one after another and answers each in a task."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None
        self._request = Recorded(0)
        self._request.received.set()

    @property
    def busy(self) -> bool:
        return self._task is not None and not self._task.done()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._upstream.connections += 1
        self._number = self._upstream.connections
        self._upstream.open_connections.add(transport)
        self._parser = httptools.HttpRequestParser(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._upstream.open_connections.discard(self._transport)
        self._writable.set()
        if self.busy and self._task is not None:
            self._request.closed_early.set()
            self._task.cancel()
        elif not self._request.received.is_set():
            self._request.closed_early.set()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._request.broken = repr(error)
            self._transport.abort()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- httptools callbacks

    def on_message_begin(self) -> None:
        self._request = Recorded(self._number)
        self._digest = hashlib.sha256()
        self._reader: MultipartReader | None = None
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        self._request.target += url.decode()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._request.headers.append((name.decode().lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        request = self._request
        request.method = self._parser.get_method().decode()
        boundary = re.search(r'boundary="?([^";]+)"?', request.header("content-type") or "")
        if boundary:
            self._reader = MultipartReader(boundary[1].encode())
            request.parts = self._reader.parts
            request.complete = False
        self._upstream.requests.append(request)
        if (request.header("expect") or "").lower() == "100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        behaviour = self._upstream.behaviour(request)
        if behaviour.read_body != "all":
            self._start(behaviour)
        if behaviour.read_body == "never":
            self._transport.pause_reading()

    def on_body(self, data: bytes) -> None:
        self._request.body_size += len(data)
        self._digest.update(data)
        if self._reader is None:
            self._body += data
            return
        self._reader.feed(data)
        self._request.complete = self._reader.complete

    def on_message_complete(self) -> None:
        request = self._request
        request.body_sha256 = self._digest.hexdigest()
        request.body = bytes(self._body[:_KEPT])
        if (request.header("content-type") or "").startswith("application/json"):
            request.json = json.loads(bytes(self._body))
        request.received.set()
        if not self.busy and not request.answered.is_set():
            self._start(self._upstream.behaviour(request))

    # -- answering

    def _start(self, behaviour: Behaviour) -> None:
        self._task = asyncio.get_running_loop().create_task(self._answer(self._request, behaviour))

    async def _answer(self, request: Recorded, behaviour: Behaviour) -> None:
        try:
            answer = _choose(request, behaviour)
        except Exception as error:
            request.broken = repr(error)
            return self._transport.abort()
        chunks = answer.chunks
        if behaviour.chunk_size:
            chunks = answers.cut(b"".join(chunks), behaviour.chunk_size)
        framing = behaviour.framing or ("chunked" if answer.chunked else "length")
        await asyncio.sleep(behaviour.first_delay)
        if behaviour.raw is not None:
            self._transport.write(behaviour.raw)
            return await self._stop(request, behaviour)
        if behaviour.stop_after == -1:
            return await self._stop(request, behaviour)
        if behaviour.gate and not behaviour.headers_first and chunks:
            await behaviour.gate.pass_chunk(0)
        self._transport.write(_head(answer, behaviour, framing, sum(map(len, chunks)) if framing == "length" else 0))
        for number, chunk in enumerate(chunks):
            if behaviour.stop_after == number:
                return await self._stop(request, behaviour)
            if number and behaviour.gap:
                await asyncio.sleep(behaviour.gap)
            if behaviour.gate:
                await behaviour.gate.pass_chunk(number)
            await self._writable.wait()
            request.chunks_sent += 1
            self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if framing == "chunked" else chunk)
        if behaviour.stop_after is not None and behaviour.stop_after >= len(chunks):
            return await self._stop(request, behaviour)
        if framing == "chunked":
            self._transport.write(b"0\r\n\r\n")
        if framing == "close":
            self._transport.close()
        request.answered.set()

    async def _stop(self, request: Recorded, behaviour: Behaviour) -> None:
        if behaviour.stop == "hang":
            await asyncio.Event().wait()
        await self._writable.wait()
        request.answered.set()
        if behaviour.stop == "reset":
            raw: socket.socket = self._transport.get_extra_info("socket")
            # Let the chunks arrive first: a reset throws away what the other side has not read.
            await asyncio.sleep(0.05)
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._transport.abort()
        else:
            self._transport.close()


def _choose(request: Recorded, behaviour: Behaviour) -> Answer:
    if behaviour.answer is not None:
        return behaviour.answer(request) if callable(behaviour.answer) else behaviour.answer
    if request.header("authorization") != f"Bearer {KEY}":
        return answers.ERRORS[401]
    match request.method, request.path:
        case "POST", "/v1/audio/speech":
            return answers.speech(request.json)
        case "POST", "/v1/audio/transcriptions":
            return answers.transcription(request.model, request.fields)
        case "POST", "/v1/audio/translations":
            return answers.translation(request.fields)
        case "GET", "/v1/models":
            return answers.models()
    return answers.error(404, f"Invalid URL ({request.method} {request.path})")


def _head(answer: Answer, behaviour: Behaviour, framing: str, length: int) -> bytes:
    fields = {"content-type": behaviour.content_type or answer.content_type}
    fields |= (answers.standard_headers() if behaviour.as_openai else {}) | dict(answer.headers) | behaviour.headers
    fields |= {"chunked": {"transfer-encoding": "chunked"}, "length": {"content-length": str(length)}}.get(framing, {})
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def stream(*chunks: bytes, content_type: str = "audio/mpeg", status: int = 200) -> Answer:
    """A chunked answer of exactly these chunks."""
    return Answer(content_type, chunks, status)


def repeated(block: bytes, times: int, *, content_type: str = "audio/mpeg") -> Answer:
    """A long answer that costs no memory: the same bytes object again and again."""
    blocks: Sequence[bytes] = [block] * times
    return Answer(content_type, blocks)
