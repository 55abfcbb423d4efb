"""The HTTP transport against scripted servers on loopback, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import trustme
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.http import dial as dial_module
from proxy.http.connection import HEAD_LIMIT, READ_HIGH, WRITE_HIGH, Connection
from proxy.http.encoding import EncodedRequest
from proxy.http.errors import (
    ConnectError,
    ConnectTimeout,
    ForwardProxyError,
    LocalProtocolError,
    PoolTimeout,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    StreamClosed,
    TransportError,
    UnsupportedProtocol,
    WriteTimeout,
)
from proxy.http.messages import URL, ByteStream, Headers, Request, Response
from proxy.http.transport import HTTPTransport

Secured = tuple[ssl.SSLContext | None, ssl.SSLContext | None]
Run = Callable[[Callable[[], Awaitable[Any]]], Any]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#: More than all socket buffers between two ends on loopback hold, by far.
PLENTY = 64 * 1024 * 1024


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def runner(main: Callable[[], Awaitable[Any]]) -> Any:
        async def bounded() -> Any:
            async with asyncio.timeout(30):
                return await main()

        with asyncio.Runner(loop_factory=factory) as loop:
            return loop.run(bounded())

    return runner


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_tls(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["h2", "http/1.1"])
    authority.issue_cert(*names).configure_cert(context)
    return context


def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture(params=["plain", "tls"])
def secured(request: pytest.FixtureRequest, authority: trustme.CA) -> Secured:
    if request.param == "plain":
        return None, None
    return server_tls(authority, "127.0.0.1"), client_tls(authority)


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def head(self) -> bytes:
        return await self.reader.readuntil(b"\r\n\r\n")

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body, which must have a content-length."""
        head = await self.head()
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        return head, await self.reader.readexactly(length)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def eof(self) -> None:
        """Until the client has closed the connection, one way or the other."""
        with contextlib.suppress(ConnectionError):
            while await self.reader.read(1 << 20):
                pass

    def reset(self) -> None:
        """Close with an RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.writer.transport.abort()


class Server:
    """Runs `script` for every connection; `peers` counts them, `ended` those whose script came to its end."""

    def __init__(
        self, script: Callable[[Peer], Awaitable[None]], tls: ssl.SSLContext | None = None, limit: int = 65536
    ) -> None:
        self.script, self.tls, self.limit = script, tls, limit
        self.peers = self.ended = 0
        self.failures: list[BaseException] = []

    async def __aenter__(self) -> Server:
        self.server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.tls, backlog=4096, limit=self.limit
        )
        self.port = self.server.sockets[0].getsockname()[1]
        self.url = f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        if self.failures:
            raise self.failures[0]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peers += 1
        try:
            await self.script(Peer(reader, writer))
            self.ended += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        except AssertionError as error:
            self.failures.append(error)
        finally:
            writer.close()


def limits(**seconds: float | None) -> dict[str, float | None]:
    return {"connect": 10.0, "pool": 10.0, "read": 10.0, "write": 10.0, **seconds}


class Pieces(ByteStream):
    """A body that can be sent once."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self.pieces = pieces

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.pieces


def request(
    method: str,
    url: str,
    *,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    content: bytes | AsyncIterator[bytes] | ByteStream = b"",
    timeouts: dict[str, float | None] | None = None,
) -> Request:
    fields = headers.items() if isinstance(headers, dict) else headers or ()
    raw = Headers([(name.encode(), value.encode()) for name, value in fields])
    body = content if isinstance(content, bytes | ByteStream) else Pieces(content)
    return Request(method, URL(url), raw, body, timeouts=limits() if timeouts is None else timeouts)


async def answer(transport: HTTPTransport, method: str, url: str, **kwargs: Any) -> tuple[int, bytes]:
    """Status and whole body of the answer to one request."""
    response = await transport.send(request(method, url, **kwargs))
    return response.status_code, await whole(response)


def stream(response: Response) -> AsyncIterator[bytes]:
    return aiter(response.stream)


async def whole(response: Response) -> bytes:
    """The body, closed."""
    try:
        return b"".join([data async for data in stream(response)])
    finally:
        await response.aclose()


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - whatever the condition, the test's own limit ends it
        await asyncio.sleep(0.002)


async def settled(count: Callable[[], int]) -> int:
    """The count, once it no longer grows."""
    last, same = -1, 0
    while same < 20:
        await asyncio.sleep(0.01)
        now = count()
        same = same + 1 if now == last else 0
        last = now
    return last


async def echo(peer: Peer) -> None:
    while True:
        _, body = await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def serving(*answers: bytes, close: bool = False) -> Callable[[Peer], Awaitable[None]]:
    """A script: these answers, one to each request of a connection."""

    async def script(peer: Peer) -> None:
        for data in answers:
            await peer.request()
            await peer.send(data)
        if not close:
            await peer.eof()

    return script


# -- connections -------------------------------------------------------------------------------------------------------


def test_connection_is_kept_and_reused(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(echo) as server:
            for number in range(5):
                body = b"%d" % number
                assert await answer(transport, "POST", server.url, content=body) == (200, body)
            assert server.peers == 1
            assert (transport.open_connections, transport.in_flight) == (1, 0)
            await transport.aclose()
            await transport.aclose()
            assert transport.open_connections == 0
            with pytest.raises(ConnectError):
                await answer(transport, "GET", server.url)

    run(main)


def test_last_used_connection_goes_first_and_idle_ones_expire(run: Run) -> None:
    async def main() -> None:
        ports: list[int] = []

        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                ports.append(peer.writer.get_extra_info("peername")[1])
                await peer.send(OK)

        transport = HTTPTransport(idle_seconds=0.2)
        async with Server(script) as server:
            held = [await transport.send(request("GET", server.url)) for _ in range(3)]
            for response in held:
                await whole(response)
            await response.aclose()
            for _ in range(3):
                await answer(transport, "GET", server.url)
            assert ports[3:] == [ports[2]] * 3
            await until(lambda: transport.open_connections == 0)
            await answer(transport, "GET", server.url)
            assert server.peers == 4
            await transport.aclose()

    run(main)


def test_closed_idle_connection_is_noticed(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(serving(OK, close=True)) as server:
            await answer(transport, "GET", server.url)
            await until(lambda: transport.open_connections == 0)
            assert await answer(transport, "GET", server.url) == (200, b"ok")
            await transport.aclose()

    run(main)


@pytest.mark.parametrize("tail", [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nSTALE", b"garbage", b"\0"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_an_answer_are_never_the_next_answer(run: Run, tail: bytes, together: bool) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(OK + tail if together else OK)
            if not together:
                await asyncio.sleep(0.02)
                await peer.send(tail)
            await peer.eof()

        transport = HTTPTransport(idle_seconds=600)
        async with Server(script) as server:
            assert await answer(transport, "GET", server.url) == (200, b"ok")
            await until(lambda: transport.open_connections == 0)
            assert await answer(transport, "GET", server.url) == (200, b"ok")
            assert server.peers == 2
            await transport.aclose()

    run(main)


class Replayable(ByteStream):
    replayable = True

    def __init__(self) -> None:
        self.started = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.started += 1
        yield b"hello"


async def once() -> AsyncIterator[bytes]:
    yield b"hello"


async def dies_at_second_request(peer: Peer) -> None:
    await peer.request()
    await peer.send(OK)
    await peer.head()


def test_stale_connection_is_replaced_once(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(dies_at_second_request) as server:
            body = Replayable()
            length = {"content-length": "5"}
            assert await answer(transport, "POST", server.url, content=b"first") == (200, b"ok")
            assert await answer(transport, "POST", server.url, content=b"second") == (200, b"ok")
            assert await answer(transport, "POST", server.url, content=body, headers=length) == (200, b"ok")
            assert (server.peers, body.started, transport.in_flight) == (3, 2, 0)
            await transport.aclose()

    run(main)


def test_replacement_is_never_another_kept_connection(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(dies_at_second_request) as server:
            held = [await transport.send(request("GET", server.url)) for _ in range(2)]
            for response in held:
                await whole(response)
            assert transport.open_connections == 2
            assert await answer(transport, "GET", server.url) == (200, b"ok")
            assert server.peers == 3
            await transport.aclose()

    run(main)


def test_body_that_cannot_be_replayed_is_not_sent_twice(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(dies_at_second_request) as server:
            await answer(transport, "POST", server.url, content=b"first")
            with pytest.raises(ReadError):
                await answer(transport, "POST", server.url, content=once())
            assert server.peers == 1
            await until(lambda: transport.open_connections == 0)

    run(main)


def test_fresh_connection_is_not_retried(run: Run) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()

        transport = HTTPTransport()
        async with Server(script) as server:
            with pytest.raises(ReadError):
                await answer(transport, "POST", server.url, content=b"x")
            assert server.peers == 1
            assert transport.in_flight == 0

    run(main)


def test_no_retry_once_a_byte_of_the_answer_came(run: Run) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(OK)
            await peer.request()
            await peer.send(b"HTTP/1.1 2")

        transport = HTTPTransport()
        async with Server(script) as server:
            await answer(transport, "GET", server.url)
            with pytest.raises(RemoteProtocolError):
                await answer(transport, "GET", server.url)
            assert server.peers == 1

    run(main)


def test_bound_on_connections(run: Run) -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def script(peer: Peer) -> None:
            while True:
                await peer.request()
                await gate.wait()
                await peer.send(OK)

        transport = HTTPTransport(max_connections=2)
        async with Server(script) as server, Server(echo) as other:
            busy = [asyncio.create_task(answer(transport, "GET", server.url)) for _ in range(2)]
            await until(lambda: server.peers == 2)
            with pytest.raises(PoolTimeout):
                await answer(transport, "GET", other.url, timeouts=limits(pool=0.02))
            with pytest.raises(PoolTimeout):
                await answer(transport, "GET", other.url, timeouts={"connect": 0.02})
            queued = [asyncio.create_task(answer(transport, "GET", server.url)) for _ in range(5)]
            elsewhere = asyncio.create_task(answer(transport, "POST", other.url, content=b"hi"))
            await asyncio.sleep(0.01)
            queued[0].cancel()
            assert transport.open_connections == 2
            gate.set()
            assert await asyncio.gather(*busy, *queued[1:]) == [(200, b"ok")] * 6
            assert await elsewhere == (200, b"hi")
            assert transport.open_connections == 2
            assert server.peers <= 3
            await transport.aclose()

    run(main)


def test_closing_the_transport_ends_everything(run: Run) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.eof()

        transport = HTTPTransport(max_connections=1)
        async with Server(script) as server:
            calls = [asyncio.create_task(answer(transport, "GET", server.url)) for _ in range(2)]
            await until(lambda: server.peers == 1)
            await transport.aclose()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert all(isinstance(result, TransportError) for result in results)
            await until(lambda: server.ended == 1)
            assert (transport.open_connections, transport.in_flight) == (0, 0)

    run(main)


# -- answers -----------------------------------------------------------------------------------------------------------


def test_chunks_arrive_one_by_one(run: Run, secured: Secured) -> None:
    async def main() -> None:
        step = asyncio.Semaphore(0)

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED)
            for number in range(10):
                await step.acquire()
                await peer.send(b"3\r\n<%d>\r\n" % number)
            await step.acquire()
            await peer.send(b"0\r\n\r\n")
            await peer.eof()

        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(script, secured[0]) as server:
            response = await transport.send(request("GET", server.url))
            body = stream(response)
            for number in range(10):
                step.release()
                assert await anext(body) == b"<%d>" % number
            step.release()
            with pytest.raises(StopAsyncIteration):
                await anext(body)
            assert transport.in_flight == 1
            await response.aclose()
            assert (transport.in_flight, transport.open_connections) == (0, 1)
            with pytest.raises(StreamClosed):
                await anext(body)
            await transport.aclose()

    run(main)


@pytest.mark.parametrize(
    ("method", "raw", "expected", "kept"),
    [
        ("GET", OK, (200, b"ok"), True),
        ("GET", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", (200, b"ok"), True),
        ("GET", CHUNKED + b"2;x=y\r\nok\r\n0\r\nX-Trailer: 1\r\n\r\n", (200, b"ok"), True),
        ("GET", b"HTTP/1.1 200 OK\r\n\r\nok", (200, b"ok"), False),
        ("GET", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", (200, b"ok"), False),
        ("GET", b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", (200, b"ok"), False),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", (204, b""), True),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", (304, b""), True),
        ("GET", b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", (302, b""), True),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", (200, b""), False),
        ("GET", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, (200, b"ok"), True),
        ("GET", b"HTTP/1.1 200\r\nContent-Length: 2\r\nEmpty:\r\n\r\nok", (200, b"ok"), True),
    ],
)
def test_kinds_of_answers(run: Run, method: str, raw: bytes, expected: tuple[int, bytes], kept: bool) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(serving(raw, raw, close=not kept and method == "GET")) as server:
            if not kept and method == "GET":
                server.script = serving(raw, close=True)
            assert await answer(transport, method, server.url) == expected
            assert await answer(transport, method, server.url) == expected
            assert server.peers == (1 if kept else 2)
            await transport.aclose()

    run(main)


def test_headers_arrive_as_sent(run: Run) -> None:
    async def main() -> None:
        raw = b"HTTP/1.1 200 OK\r\nX-Odd:  a b \r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n"
        transport = HTTPTransport()
        async with Server(serving(raw)) as server:
            response = await transport.send(request("GET", server.url))
            assert response.headers.raw == [
                (b"X-Odd", b"a b"),
                (b"Set-Cookie", b"a=1"),
                (b"Set-Cookie", b"b=2"),
                (b"Content-Length", b"0"),
            ]
            await response.aclose()
            await transport.aclose()

    run(main)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        CHUNKED + b"9\r\ncut",
        CHUNKED + b"3\r\ncut\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"no HTTP at all",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nA: b\nB: c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        CHUNKED + b"zz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (HEAD_LIMIT + 1) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (HEAD_LIMIT + 1) + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (HEAD_LIMIT // 25 + 1),
    ],
)
def test_broken_answers(run: Run, raw: bytes) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(serving(raw, close=True)) as server:
            with pytest.raises(RemoteProtocolError):
                await answer(transport, "GET", server.url)
            assert (transport.in_flight, server.peers) == (0, 1)
            await until(lambda: transport.open_connections == 0)

    run(main)


def test_what_came_before_a_cut_is_delivered(run: Run, secured: Secured) -> None:
    async def main() -> None:
        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(serving(CHUNKED + b"4\r\nsome\r\n", close=True), secured[0]) as server:
            response = await transport.send(request("GET", server.url))
            body = stream(response)
            await until(lambda: transport.open_connections == 0)
            assert await anext(body) == b"some"
            with pytest.raises(RemoteProtocolError):
                await anext(body)
            await response.aclose()

    run(main)


def test_body_that_ends_with_the_connection(run: Run, secured: Secured) -> None:
    async def main() -> None:
        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(serving(b"HTTP/1.1 200 OK\r\n\r\nall", close=True), secured[0]) as server:
            assert await answer(transport, "GET", server.url) == (200, b"all")
            await transport.aclose()

    run(main)


def test_own_end_is_not_taken_for_the_servers(run: Run, secured: Secured) -> None:
    async def main() -> None:
        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(serving(b"HTTP/1.1 200 OK\r\n\r\npart"), secured[0]) as server:
            response = await transport.send(request("GET", server.url))
            body = stream(response)
            assert await anext(body) == b"part"
            waiting = asyncio.ensure_future(anext(body))
            await asyncio.sleep(0)
            await transport.aclose()
            with pytest.raises(RemoteProtocolError):
                await waiting
            await response.aclose()

    run(main)


def test_reset_in_mid_answer(run: Run) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED + b"4\r\nsome\r\n")
            await asyncio.sleep(0.02)
            peer.reset()

        transport = HTTPTransport()
        async with Server(script) as server:
            with pytest.raises((ReadError, RemoteProtocolError)):
                await answer(transport, "GET", server.url)

    run(main)


def test_unread_answer_does_not_pile_up(run: Run, secured: Secured) -> None:
    async def main() -> None:
        sent = 0

        async def script(peer: Peer) -> None:
            nonlocal sent
            await peer.request()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PLENTY)
            for _ in range(PLENTY // 65536):
                await peer.send(bytes(65536))
                sent += 65536
            await peer.eof()

        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(script, secured[0]) as server:
            response = await transport.send(request("GET", server.url))
            assert await settled(lambda: sent) < PLENTY // 2
            connection = response.stream._connection  # type: ignore[union-attr]
            assert connection._buffered <= READ_HIGH + 512 * 1024
            got = 0
            async for data in stream(response):
                got += len(data)
            assert got == PLENTY
            await response.aclose()
            assert (transport.open_connections, server.peers) == (1, 1)
            await transport.aclose()

    run(main)


RECORDED = (
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\nEmpty:\r\nX-Long:  v w \r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1;ext=1\r\n \r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)


class Wire(asyncio.Transport):
    """A transport that goes nowhere."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def write(self, data: Any) -> None: ...

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, len(RECORDED) - 1), max_size=12))
def test_segments_do_not_matter(cuts: list[int]) -> None:
    async def main() -> tuple[Any, ...]:
        connection = Connection(lambda _: None)
        connection.connection_made(Wire())
        results = []
        for _ in range(2):
            encoded = EncodedRequest.of(request("GET", "http://localhost/"))
            exchange = asyncio.create_task(connection.exchange(encoded, {}))
            await asyncio.sleep(0)
            edges = [0, *sorted(set(cuts)), len(RECORDED)]
            for start, end in itertools.pairwise(edges):
                connection.data_received(RECORDED[start:end])
            await exchange
            body = b"".join(iter([await connection.read({}), await connection.read({})]))
            results.append((connection.status, connection.headers, body, connection.reusable))
        assert results[0] == results[1]
        return results[0]

    assert asyncio.run(main()) == (
        200,
        [
            (b"Content-Type", b"audio/mpeg"),
            (b"Empty", b""),
            (b"X-Long", b"v w"),
            (b"Transfer-Encoding", b"chunked"),
        ],
        b"hello 0123456789",
        True,
    )


# -- requests ----------------------------------------------------------------------------------------------------------


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_kinds_of_bodies(run: Run) -> None:
    async def main() -> None:
        seen: list[bytes] = []

        async def script(peer: Peer) -> None:
            seen.append(await peer.reader.readuntil(b"end!"))
            if b"chunked" in seen[-1]:
                seen[-1] += await peer.reader.readexactly(7)
            await peer.send(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

        big = bytes(3 * WRITE_HIGH + 7) + b"end!"
        transport = HTTPTransport()
        async with Server(script, limit=2 * len(big)) as server:
            for content in (b"end!", big):
                await answer(transport, "POST", server.url, content=content)
                assert seen[-1].endswith(b"content-length: %d\r\n\r\n%b" % (len(content), content)) or seen[
                    -1
                ].endswith(b"Content-Length: %d\r\n\r\n%b" % (len(content), content))
            length = {"content-length": "8"}
            await answer(transport, "POST", server.url, content=pieces(b"abc", b"", b"dend!"), headers=length)
            assert seen[-1].endswith(b"\r\n\r\nabcdend!")
            await answer(transport, "POST", server.url, content=pieces(b"abc", b"", b"x" * 70000, b"end!"))
            assert b"Transfer-Encoding: chunked\r\n" in seen[-1]
            assert seen[-1].endswith(b"\r\n\r\n3\r\nabc\r\n11170\r\n" + b"x" * 70000 + b"\r\n4\r\nend!\r\n0\r\n\r\n")
            await transport.aclose()

    run(main)


def test_small_request_leaves_in_one_segment(run: Run) -> None:
    async def main() -> None:
        seen: list[bytes] = []

        async def script(peer: Peer) -> None:
            seen.append(await peer.reader.read(65536))
            await peer.send(OK)
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            await answer(transport, "POST", f"{server.url}v1/a%20b?c=d", content=b"{}", headers={"X-Key": "v"})
            first, *rest = seen[0].split(b"\r\n")
            assert first == b"POST /v1/a%20b?c=d HTTP/1.1"
            assert b"Host: 127.0.0.1:%d" % server.port in rest
            assert rest[-1] == b"{}"
            await transport.aclose()

    run(main)


@pytest.mark.parametrize(
    ("headers", "content"),
    [
        ({"x": "a\r\nInjected: b"}, b""),
        ({"x": "a\nb"}, b""),
        ({"x": "a\rb"}, b""),
        ({"x": "a\0b"}, b""),
        ({"x\r\nInjected": "b"}, b""),
        ({"content-length": "3"}, b"four"),
        ({"content-length": "x"}, b""),
        ([("content-length", "1"), ("content-length", "2")], b"1"),
        ([("content-length", "4"), ("transfer-encoding", "chunked")], b"four"),
    ],
)
def test_requests_that_would_desynchronise_are_not_sent(run: Run, headers: Any, content: bytes) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(echo) as server:
            with pytest.raises(LocalProtocolError):
                await answer(transport, "POST", server.url, headers=headers, content=content)
            assert (server.peers, transport.in_flight) == (0, 0)

    run(main)


@pytest.mark.parametrize("parts", [(b"ab",), (b"ab", b"cdef")])
def test_stream_of_another_length_than_declared(run: Run, parts: tuple[bytes, ...]) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(echo) as server:
            with pytest.raises(LocalProtocolError):
                await answer(transport, "POST", server.url, content=pieces(*parts), headers={"content-length": "4"})
            await until(lambda: transport.open_connections == 0)

    run(main)


def test_failing_source_of_a_body_closes_the_connection(run: Run) -> None:
    async def main() -> None:
        async def failing() -> AsyncIterator[bytes]:
            yield b"x"
            raise ZeroDivisionError

        async def script(peer: Peer) -> None:
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            with pytest.raises(ZeroDivisionError):
                await answer(transport, "POST", server.url, content=failing())
            await until(lambda: server.ended == 1)
            assert (transport.open_connections, transport.in_flight) == (0, 0)

    run(main)


def test_upload_waits_for_a_slow_server(run: Run, secured: Secured) -> None:
    async def main() -> None:
        go = asyncio.Event()
        taken = received = 0

        async def source() -> AsyncIterator[bytes]:
            nonlocal taken
            for _ in range(PLENTY // 65536):
                taken += 65536
                yield bytes(65536)

        async def script(peer: Peer) -> None:
            nonlocal received
            await peer.head()
            await go.wait()
            while received < PLENTY:
                received += len(await peer.reader.read(1 << 20))
            await peer.send(OK)
            await peer.eof()

        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(script, secured[0]) as server:
            call = asyncio.create_task(
                answer(transport, "POST", server.url, content=source(), headers={"content-length": str(PLENTY)})
            )
            assert 0 < await settled(lambda: taken) < PLENTY // 2
            go.set()
            assert await call == (200, b"ok")
            assert (received, transport.open_connections) == (PLENTY, 1)
            await transport.aclose()

    run(main)


@pytest.mark.parametrize("kind", ["bytes", "stream"])
@pytest.mark.parametrize("end", ["stays", "closes", "resets"])
def test_early_answer_ends_the_upload(run: Run, secured: Secured, kind: str, end: str) -> None:
    async def main() -> None:
        taken = 0
        closed = False

        class Source(ByteStream):
            async def __aiter__(self) -> AsyncIterator[bytes]:
                nonlocal taken, closed
                try:
                    for _ in range(PLENTY // 65536):
                        taken += 65536
                        yield bytes(65536)
                finally:
                    closed = True

        async def script(peer: Peer) -> None:
            await peer.head()
            await peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
            if end != "stays":
                await asyncio.sleep(0.05)
            if end == "resets":
                peer.reset()
            elif end == "stays":
                await peer.eof()

        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(script, secured[0]) as server:
            if kind == "bytes":
                assert await answer(transport, "POST", server.url, content=bytes(PLENTY)) == (413, b"big")
            else:
                length = {"content-length": str(PLENTY)}
                assert await answer(transport, "POST", server.url, content=Source(), headers=length) == (413, b"big")
                assert taken < PLENTY
                assert closed
            await until(lambda: transport.open_connections == 0)

    run(main)


# -- time-outs and cancellation ----------------------------------------------------------------------------------------


async def silent(peer: Peer) -> None:
    await peer.eof()


def test_read_time_out_before_the_head(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(silent) as server:
            with pytest.raises(ReadTimeout):
                await answer(transport, "GET", server.url, timeouts=limits(read=0.05))
            await until(lambda: server.ended == 1 and transport.open_connections == 0)

    run(main)


def test_limits_are_looked_up_at_each_wait(run: Run) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await asyncio.sleep(0.2)
            await peer.send(CHUNKED + b"2\r\nhi\r\n")
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            timeouts = limits(read=20.0)
            asked = request("GET", server.url, timeouts=timeouts)
            response = await transport.send(asked)
            body = stream(response)
            assert await anext(body) == b"hi"
            timeouts["read"] = 0.05
            async with asyncio.timeout(5):
                with pytest.raises(ReadTimeout):
                    await anext(body)
            await response.aclose()
            await until(lambda: server.ended == 1)

    run(main)


def test_steady_stream_outlives_its_time_out(run: Run) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED)
            for _ in range(12):
                await asyncio.sleep(0.05)
                await peer.send(b"1\r\nx\r\n")
            await peer.send(b"0\r\n\r\n")
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            assert await answer(transport, "GET", server.url, timeouts=limits(read=0.4)) == (200, b"x" * 12)
            await transport.aclose()

    run(main)


def test_slow_consumer_is_no_time_out(run: Run) -> None:
    async def main() -> None:
        go = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED + b"1\r\nx\r\n")
            await go.wait()
            await peer.send(b"1\r\ny\r\n0\r\n\r\n")
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            asked = request("GET", server.url, timeouts=limits(read=0.1))
            response = await transport.send(asked)
            body = stream(response)
            assert await anext(body) == b"x"
            await asyncio.sleep(0.3)
            go.set()
            assert await anext(body) == b"y"
            await response.aclose()
            await transport.aclose()

    run(main)


def test_write_time_out(run: Run) -> None:
    async def main() -> None:
        release = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.head()
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await release.wait()

        transport = HTTPTransport()
        async with Server(script) as server:
            with pytest.raises(WriteTimeout):
                await answer(transport, "POST", server.url, content=bytes(PLENTY), timeouts=limits(write=0.1))
            await until(lambda: transport.open_connections == 0)
            release.set()

    run(main)


def test_connect_time_out_covers_the_tls_handshake(run: Run) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(silent) as server:
            url = server.url.replace("http:", "https:")
            with pytest.raises(ConnectTimeout):
                await answer(transport, "GET", url, timeouts=limits(connect=0.3))
            await until(lambda: server.ended == 1)
            assert transport.open_connections == 0

    run(main)


@pytest.mark.parametrize("stage", ["handshake", "head", "body", "upload"])
def test_cancellation_closes_the_socket(run: Run, stage: str) -> None:
    async def main() -> None:
        reached = asyncio.Event()

        async def script(peer: Peer) -> None:
            if stage == "body":
                await peer.head()
                await peer.send(CHUNKED)
            elif stage in ("head", "upload"):
                await peer.head()
            reached.set()
            if stage == "upload":
                await asyncio.sleep(0.05)
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            url = server.url.replace("http:", "https:") if stage == "handshake" else server.url
            content = bytes(PLENTY) if stage == "upload" else b""
            call = asyncio.create_task(answer(transport, "POST", url, content=content))
            await reached.wait()
            await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            await until(lambda: server.ended == 1)
            await until(lambda: transport.open_connections == 0)
            assert transport.in_flight == 0

    run(main)


def test_closing_an_unfinished_answer_closes_the_socket(run: Run, secured: Secured) -> None:
    async def main() -> None:
        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED + b"1\r\nx\r\n")
            await peer.eof()

        transport = HTTPTransport(ssl_context=secured[1])
        async with Server(script, secured[0]) as server:
            response = await transport.send(request("GET", server.url))
            assert await anext(stream(response)) == b"x"
            await response.aclose()
            await response.aclose()
            await until(lambda: server.ended == 1)
            assert (transport.open_connections, transport.in_flight) == (0, 0)

    run(main)


def test_a_thousand_streams_at_once(run: Run) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        if hard != resource.RLIM_INFINITY and hard < 4096:
            pytest.skip("the limit on open files is too low")
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, hard))

    async def main() -> None:
        go = asyncio.Event()

        async def script(peer: Peer) -> None:
            await peer.request()
            await peer.send(CHUNKED + b"1\r\na\r\n")
            await go.wait()
            await peer.send(b"1\r\nb\r\n0\r\n\r\n")
            await peer.eof()

        transport = HTTPTransport()
        async with Server(script) as server:
            calls = [asyncio.create_task(answer(transport, "GET", server.url)) for _ in range(1000)]
            await until(lambda: server.peers == 1000)
            assert (transport.open_connections, transport.in_flight) == (1000, 1000)
            go.set()
            assert set(await asyncio.gather(*calls)) == {(200, b"ab")}
            assert (transport.open_connections, transport.in_flight) == (1000, 0)
            await transport.aclose()

    run(main)


# -- the way there -----------------------------------------------------------------------------------------------------


def test_tls(run: Run, authority: trustme.CA) -> None:
    async def main() -> None:
        protocols: set[str | None] = set()

        async def script(peer: Peer) -> None:
            protocols.add(peer.writer.get_extra_info("ssl_object").selected_alpn_protocol())
            await echo(peer)

        transport = HTTPTransport(ssl_context=client_tls(authority))
        async with Server(script, server_tls(authority, "127.0.0.1")) as server:
            for body in (b"small", bytes(3_000_000)):
                assert await answer(transport, "POST", server.url, content=body) == (200, body)
                assert await answer(
                    transport, "POST", server.url, content=pieces(body), headers={"content-length": str(len(body))}
                ) == (200, body)
            assert (server.peers, protocols) == (1, {"http/1.1"})
            await transport.aclose()
            assert transport.open_connections == 0

    run(main)


def test_tls_of_another_name_or_authority(run: Run, authority: trustme.CA) -> None:
    async def main() -> None:
        async with Server(echo, server_tls(authority, "vendor.test")) as server:
            for context in (client_tls(authority), None):
                transport = HTTPTransport(ssl_context=context)
                with pytest.raises(ConnectError, match="certificate"):
                    await answer(transport, "GET", server.url)
                assert transport.open_connections == 0

    run(main)


def test_refused_and_unknown_hosts(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(host: str, port: int) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    async def main() -> None:
        transport = HTTPTransport()
        async with Server(silent) as server:
            url = server.url
        await server.server.wait_closed()
        with pytest.raises(ConnectError):
            await answer(transport, "GET", url)
        with pytest.raises(ConnectError):
            await answer(transport, "GET", "http://a..b/")
        with pytest.raises(UnsupportedProtocol):
            await answer(transport, "GET", "ftp://localhost/")
        monkeypatch.setattr(dial_module, "_resolve", unknown)
        with pytest.raises(ConnectError):
            await answer(transport, "GET", url)
        assert (transport.open_connections, transport.in_flight) == (0, 0)

    run(main)


def test_second_address_is_tried(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        transport = HTTPTransport()
        async with Server(echo) as server:

            async def resolve(host: str, port: int) -> Any:
                kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
                return [(*kind, ("127.0.0.1", closed)), (*kind, ("127.0.0.1", server.port))]

            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                closed = unused.getsockname()[1]
                monkeypatch.setattr(dial_module, "_resolve", resolve)
                assert await answer(transport, "POST", "http://vendor.test/", content=b"hi") == (200, b"hi")
            await transport.aclose()

    run(main)


def forward_proxy(heads: list[bytes], target: Callable[[], int]) -> Callable[[Peer], Awaitable[None]]:
    """A script: a forward proxy that leads everything to one local port."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def script(peer: Peer) -> None:
        head = await peer.head()
        heads.append(head)
        if not head.startswith(b"CONNECT"):
            await peer.send(OK)
            await peer.eof()
            return
        if b"Basic dXNlcjpwYSBzcw==" not in head:  # user:pa ss
            await peer.send(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
            return
        reader, writer = await asyncio.open_connection("127.0.0.1", target())
        await peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(pump(reader, peer.writer), pump(peer.reader, writer))

    return script


def test_https_through_a_forward_proxy(run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        heads: list[bytes] = []
        async with (
            Server(echo, server_tls(authority, "vendor.test")) as vendor,
            Server(forward_proxy(heads, lambda: vendor.port)) as forward,
        ):
            monkeypatch.setenv("HTTPS_PROXY", f"http://user:pa%20ss@127.0.0.1:{forward.port}")
            transport = HTTPTransport(ssl_context=client_tls(authority))
            for body in (b"one", bytes(1_000_000)):
                assert await answer(transport, "POST", "https://vendor.test/x", content=body) == (200, body)
            assert (forward.peers, vendor.peers) == (1, 1)
            assert heads[0].startswith(b"CONNECT vendor.test:443 HTTP/1.1\r\nHost: vendor.test:443\r\n")
            with pytest.raises(ConnectError):  # a certificate for another name
                await answer(transport, "GET", "https://other.test/")
            await transport.aclose()
            await until(lambda: forward.ended == 2)

            monkeypatch.setenv("HTTPS_PROXY", f"http://user:wrong@127.0.0.1:{forward.port}")
            transport = HTTPTransport(ssl_context=client_tls(authority))
            with pytest.raises(ForwardProxyError, match="407") as caught:
                await answer(transport, "GET", "https://vendor.test/")
            assert "wrong" not in str(caught.value)
            assert (transport.open_connections, transport.in_flight) == (0, 0)

    run(main)


def test_http_through_a_forward_proxy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        heads: list[bytes] = []
        transport = HTTPTransport()
        async with Server(forward_proxy(heads, lambda: 0)) as forward, Server(echo) as local:
            monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{forward.port}")
            assert await answer(transport, "GET", "http://vendor.test:81/a?b=c") == (200, b"ok")
            assert heads[0].startswith(b"GET http://vendor.test:81/a?b=c HTTP/1.1\r\nHost: vendor.test:81\r\n")
            assert await answer(transport, "POST", local.url, content=b"straight") == (200, b"straight")
            assert len(heads) == 1
            await transport.aclose()

    run(main)


def test_no_proxy_and_socks(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setenv("HTTP_PROXY", "socks5://user:secret@127.0.0.1:1")
        monkeypatch.setenv("NO_PROXY", ".inside.test")
        transport = HTTPTransport()
        with pytest.raises(UnsupportedProtocol) as caught:
            await answer(transport, "GET", "http://vendor.test/")
        assert "secret" not in str(caught.value)

        async def nothing(host: str, port: int) -> Any:
            raise OSError(host)

        monkeypatch.setattr(dial_module, "_resolve", nothing)
        for straight, url in (
            (transport, "http://a.inside.test/"),
            (HTTPTransport(trust_env=False), "http://vendor.test/"),
        ):
            with pytest.raises(ConnectError):
                await answer(straight, "GET", url)

    run(main)


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    if sys.platform == "darwin":  # there the system's settings count too
        monkeypatch.setattr("urllib.request.getproxies_macosx_sysconf", dict, raising=False)
