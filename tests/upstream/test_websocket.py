"""The transport of conversations against WebSocket servers on loopback, on asyncio's loop and on uvloop's."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from proxy.audio.pool import WorkerPool
from proxy.errors import UpstreamUnavailable
from proxy.http import messages
from proxy.http.errors import ConnectError, PoolTimeout, ReadTimeout, RemoteProtocolError, WriteTimeout
from proxy.providers.sockets.conversation import NOTHING, Message, Turn
from proxy.upstream import websocket
from proxy.upstream.duplex import MAX_MESSAGE_LENGTH, READ_HIGH
from proxy.upstream.websocket import WebSocketTransport
from tests.audio import sounds
from tests.http.test_transport import (
    Peer,
    Run,
    Server,
    authority,
    client_tls,
    forward_proxy,
    run,
    server_tls,
    until,
)
from tests.providers.attempts import Held

__all__ = ["authority", "run"]

Script = Callable[[ServerConnection], Awaitable[None]]
PATIENT = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}


class Asking:
    """Sends its question, and outputs every message before ``end``."""

    rate = 24_000

    def __init__(self, question: str = "go", setting: str | None = "one", *, wants_audio: bool = False) -> None:
        self.question, self.setting = question, setting
        self.wants_audio = wants_audio
        self.accepted = self.done = False
        self.started: list[bool] = []
        self.fed = 0

    def start(self, *, resumed: bool) -> Sequence[str]:
        self.started.append(resumed)
        return [self.question]

    def receive(self, message: Message) -> Turn:
        self.accepted = True
        if message == "over":
            raise UpstreamUnavailable("The session is over.")
        if message == "end":
            self.done = True
            return NOTHING
        return Turn(output=message.encode() if isinstance(message, str) else message)

    def feed(self, pcm: bytes) -> Turn:
        self.wants_audio = bool(pcm)
        self.fed += len(pcm)
        return Turn(send=[pcm.hex()] if pcm else ["fed"])

    def cancel(self) -> Sequence[str]:
        return ["cancel"]


class Vendor:
    """Runs `script` for every socket; `received` holds the messages, `open` the sockets that are still open."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.handshakes: list[Request] = []
        self.refusal: tuple[int, Mapping[str, str], bytes] | None = None
        self.received: list[Message] = []
        self.open: set[ServerConnection] = set()
        self.delay = 0.0

    async def __aenter__(self) -> Vendor:
        self._server = await serve(
            self._serve, "127.0.0.1", 0, ssl=self.tls, process_request=self._greet, max_size=None, close_timeout=1
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]
        self.url = f"{'wss' if self.tls else 'ws'}://127.0.0.1:{self.port}/talk?to=me"
        return self

    async def __aexit__(self, *_: object) -> None:
        for connection in list(self.open):
            connection.transport.abort()
        self._server.close()

    async def _greet(self, connection: ServerConnection, request: Request) -> Response | None:
        self.handshakes.append(request)
        await asyncio.sleep(self.delay)
        if self.refusal is None:
            return None
        status, headers, body = self.refusal
        return Response(status, HTTPStatus(status).phrase, Headers({"Content-Length": str(len(body)), **headers}), body)

    async def _serve(self, connection: ServerConnection) -> None:
        self.open.add(connection)
        try:
            with contextlib.suppress(ConnectionClosed):
                await self.script(connection)
                await connection.wait_closed()
        finally:
            self.open.discard(connection)

    async def emptied(self) -> None:
        await until(lambda: not self.open)

    async def answering(self, connection: ServerConnection) -> None:
        """Each question is answered with one word and the end."""
        async for message in connection:
            self.received.append(message)
            if message != "cancel":
                await connection.send("word")
                await connection.send("end")


def answering() -> Vendor:
    vendor = Vendor(lambda connection: vendor.answering(connection))
    return vendor


@contextlib.asynccontextmanager
async def opened(**settings: Any) -> AsyncIterator[WebSocketTransport]:
    readers = WorkerPool(size=1)
    transport = WebSocketTransport(readers, **({"trust_env": False} | settings))
    try:
        yield transport
    finally:
        await transport.aclose()
        await readers.aclose()


def ask(
    url: str, conversation: Asking, timeouts: Mapping[str, float | None] = PATIENT, **headers: str
) -> messages.Request:
    fields, extensions = messages.Headers.of(headers), {"conversation": conversation}
    return messages.Request("GET", messages.URL(url), fields, timeouts=timeouts, extensions=extensions)


async def whole(transport: WebSocketTransport, request: messages.Request) -> bytes:
    response = await transport.send(request)
    try:
        return b"".join([chunk async for chunk in response.stream])
    finally:
        await response.aclose()


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_conversation(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            assert await whole(transport, ask(vendor.url, Asking(), authorization="Bearer x")) == b"word"
            assert vendor.received == ["go"]
            [handshake] = vendor.handshakes
            assert (handshake.path, handshake.headers["authorization"]) == ("/talk?to=me", "Bearer x")
            assert handshake.headers["host"] == f"127.0.0.1:{vendor.port}"
            assert "sec-websocket-extensions" not in handshake.headers
            assert transport.in_flight == 0

    run(main)


def test_messages_of_all_kinds(run: Run) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send(["in ", "three ", "pieces"])
        await connection.send(b"\0binary")
        await (await connection.ping())
        await connection.send("x" * (MAX_MESSAGE_LENGTH - 1))
        await connection.send("end")

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            answer = await whole(transport, ask(vendor.url, Asking()))
            assert answer.startswith(b"in three pieces\0binaryxx")
            assert len(answer) == 22 + MAX_MESSAGE_LENGTH - 1

    run(main)


def test_a_message_that_is_too_long_ends_it(run: Run) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("word")
        await connection.send("x" * (MAX_MESSAGE_LENGTH + 1))

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            with pytest.raises(RemoteProtocolError):
                await whole(transport, ask(vendor.url, Asking()))
            await vendor.emptied()

    run(main)


@pytest.mark.parametrize("how", ["close", "close with a reason", "abort"])
def test_a_close_before_the_conversation_is_done_is_an_error(run: Run, how: str) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        await connection.send("word")
        if how == "abort":
            connection.transport.abort()
        elif how == "close":
            await connection.close()
        else:
            await connection.close(1008, "policy")

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            response = await transport.send(ask(vendor.url, Asking()))
            with pytest.raises(RemoteProtocolError, match="policy" if "reason" in how else "closed"):
                async for _ in response.stream:
                    pass
            await response.aclose()
            assert transport.open_connections == 0

    run(main)


def test_reading_pauses_while_too_much_is_unread(run: Run) -> None:
    sent = 0

    async def script(connection: ServerConnection) -> None:
        nonlocal sent
        await connection.recv()
        for _ in range(800):
            await connection.send("x" * 64 * 1024)
            sent += 64 * 1024
        await connection.send("end")

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            response = await transport.send(ask(vendor.url, Asking()))
            before = -1
            while before != sent:
                before = sent
                await asyncio.sleep(0.2)
            assert READ_HIGH < sent < 800 * 64 * 1024
            got = 0
            async for chunk in response.stream:
                got += len(chunk)
            assert got == 800 * 64 * 1024
            await response.aclose()

    run(main)


def test_many_tiny_messages_count_as_more_than_their_bytes(run: Run) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.write(text_frame(b"x") * 10_000_000)

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            response = await transport.send(ask(vendor.url, Asking()))
            [connection] = vendor.open
            before, unsent = -1, 0
            while before != unsent or not unsent:
                before = unsent
                await asyncio.sleep(0.2)
                unsent = connection.transport.get_write_buffer_size()
            assert unsent > 15_000_000
            await response.aclose()

    run(main)


def test_pings_are_answered_while_messages_are_unread(run: Run) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.write(text_frame(b"x" * 200) * 3000)
        async with asyncio.timeout(3):
            await (await connection.ping())
        await connection.send("end")

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            response = await transport.send(ask(vendor.url, Asking()))
            await asyncio.sleep(0.5)
            chunks = [chunk async for chunk in response.stream]  # type: ignore[union-attr]
            assert len(chunks) == 3000
            await response.aclose()

    run(main)


def text_frame(payload: bytes) -> bytes:
    return (
        bytes([0x81, len(payload)]) + payload
        if len(payload) < 126
        else b"\x81\x7e" + len(payload).to_bytes(2) + payload
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"\x88\x08" + (1008).to_bytes(2) + b"policy", "1008 .*policy"),
        (b"\x8b\x00", "1002 .*invalid opcode"),
        (b"\x81\x7f" + (MAX_MESSAGE_LENGTH + 1).to_bytes(8) + b"x", "1009 .*too big"),
    ],
)
def test_the_end_does_not_wait_until_the_vendor_closes_tcp(run: Run, frame: bytes, reason: str) -> None:
    async def script(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.write(text_frame(b"word") + frame)
        await asyncio.sleep(30)

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            with pytest.raises(RemoteProtocolError, match=reason):
                await whole(transport, ask(vendor.url, Asking()))
            assert transport.open_connections == 0

    run(main)


# -- audio that is sent ------------------------------------------------------------------------------------------------


def test_the_conversation_is_fed_with_decoded_audio(run: Run) -> None:
    samples = sounds.pcm(3.0)

    async def script(connection: ServerConnection) -> None:
        got = bytearray()
        async for message in connection:
            if message == "fed":
                await connection.send(str(len(got)))
                await connection.send("end")
            elif message != "go":
                assert isinstance(message, str)
                got += bytes.fromhex(message)
        assert got == samples

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            conversation = Asking(wants_audio=True)
            conversation.accepted = True
            request = ask(vendor.url, conversation)
            request.extensions["audio"] = Held(sounds.wav(samples))
            assert await whole(transport, request) == str(len(samples)).encode()

    run(main)


def test_a_vendor_that_does_not_take_the_audio_is_a_timeout(run: Run) -> None:
    async def script(connection: ServerConnection) -> None:
        connection.transport.pause_reading()
        await asyncio.sleep(30)

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            conversation = Asking(wants_audio=True)
            conversation.accepted = True
            request = ask(vendor.url, conversation, PATIENT | {"write": 0.3})
            request.extensions["audio"] = Held(sounds.wav(sounds.pcm(1.0) * 300))
            with pytest.raises(WriteTimeout):
                await whole(transport, request)
            assert conversation.fed > 0

    run(main)


# -- handshakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [302, 401, 429, 500])
def test_a_refused_handshake_is_the_response(run: Run, status: int) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            vendor.refusal = (status, {"Retry-After": "7", "Location": vendor.url}, b'{"error": "no"}')
            response = await transport.send(ask(vendor.url, Asking()))
            assert (response.status_code, response.headers["retry-after"]) == (status, "7")
            assert response.content == b'{"error": "no"}'
            assert len(vendor.handshakes) == 1
            assert (transport.in_flight, transport.open_connections) == (0, 0)

    run(main)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: no\r\n\r\n",
        b"\x16\x03\x01 what?\r\n\r\n",
        b"",
    ],
)
def test_an_invalid_handshake_is_an_error(run: Run, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(answer)
        peer.writer.close()

    async def main() -> None:
        async with Server(script) as server, opened() as transport:
            with pytest.raises(RemoteProtocolError):
                await whole(transport, ask(server.url.replace("http", "ws"), Asking()))
            assert (transport.in_flight, transport.open_connections) == (0, 0)

    run(main)


def test_silence_after_the_question_and_in_the_handshake(run: Run) -> None:
    async def main() -> None:
        async with Vendor(lambda connection: asyncio.sleep(30)) as vendor, opened() as transport:
            with pytest.raises(ReadTimeout):
                await whole(transport, ask(vendor.url, Asking(), PATIENT | {"read": 0.2}))
            vendor.delay = 20
            with pytest.raises(ReadTimeout):
                await whole(transport, ask(vendor.url, Asking(), PATIENT | {"read": 0.2}))
            assert (transport.in_flight, transport.open_connections) == (0, 0)

    run(main)


def test_a_refused_connection_is_an_error(run: Run) -> None:
    async def main() -> None:
        async with opened() as transport:
            with pytest.raises(ConnectError):
                await whole(transport, ask("ws://127.0.0.1:1/", Asking()))

    run(main)


def test_certificates_are_checked(run: Run, authority: trustme.CA) -> None:
    async def main() -> None:
        vendor = Vendor(lambda connection: vendor.answering(connection), tls=server_tls(authority, "127.0.0.1"))
        async with vendor:
            async with opened(ssl_context=client_tls(authority)) as transport:
                assert await whole(transport, ask(vendor.url, Asking())) == b"word"
            async with opened(ssl_context=client_tls(trustme.CA())) as stranger:
                with pytest.raises(ConnectError, match="certificate"):
                    await whole(stranger, ask(vendor.url, Asking()))

    run(main)


def test_a_forward_proxy(run: Run, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []

    async def main() -> None:
        vendor = Vendor(lambda connection: vendor.answering(connection), tls=server_tls(authority, "vendor.test"))
        async with vendor, Server(forward_proxy(heads, lambda: vendor.port)) as forward:
            monkeypatch.setenv("https_proxy", f"http://user:pa%20ss@127.0.0.1:{forward.port}")
            async with opened(ssl_context=client_tls(authority), trust_env=True) as transport:
                assert await whole(transport, ask("wss://vendor.test/talk", Asking())) == b"word"
        assert heads[0].startswith(b"CONNECT vendor.test:443 ")
        assert b"authorization" not in vendor.handshakes[0].headers.serialize().lower()

    run(main)


# -- sockets that are reused -------------------------------------------------------------------------------------------


def test_a_socket_is_reused_for_the_same_setting(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            conversations = [Asking(), Asking(), Asking(setting="two"), Asking(setting=None), Asking()]
            for conversation in conversations:
                assert await whole(transport, ask(vendor.url, conversation)) == b"word"
            assert [conversation.started for conversation in conversations] == [
                [False],
                [True],
                [False],
                [False],
                [True],
            ]
            assert len(vendor.handshakes) == 3
            assert transport.open_connections == 2
            other_key = ask(vendor.url, Asking(), authorization="Bearer other")
            await whole(transport, other_key)
            assert len(vendor.handshakes) == 4

    run(main)


def test_closing_early_cancels_and_closes_the_socket(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            response = await transport.send(ask(vendor.url, Asking()))
            await response.aclose()
            await vendor.emptied()
            assert vendor.received == ["go", "cancel"]
            assert (transport.in_flight, transport.open_connections) == (0, 0)

    run(main)


def test_a_cancelled_call_closes_its_socket(run: Run) -> None:
    async def main() -> None:
        async with Vendor(lambda connection: asyncio.sleep(0)) as vendor, opened() as transport:
            task = asyncio.ensure_future(whole(transport, ask(vendor.url, Asking())))
            await until(lambda: bool(vendor.open))
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await vendor.emptied()
            assert transport.in_flight == 0

    run(main)


@pytest.mark.parametrize("how", ["closed", "closed when asked", "over", "silent"])
def test_a_dead_idle_socket_is_replaced(run: Run, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket, "REUSE_TIMEOUT", 0.2)
    numbers: list[int] = []

    async def script(connection: ServerConnection) -> None:
        number = len(numbers)
        numbers.append(number)
        await connection.recv()
        await connection.send("word")
        await connection.send("end")
        if number:
            return
        if how == "closed":
            await connection.close()
            return
        await connection.recv()
        if how == "over":
            await connection.send("over")
        elif how == "closed when asked":
            connection.transport.abort()

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            await whole(transport, ask(vendor.url, Asking()))
            conversation = Asking()
            assert await whole(transport, ask(vendor.url, conversation)) == b"word"
            assert len(vendor.handshakes) == 2
            assert conversation.started[-1] is False

    run(main)


def test_only_one_is_replaced(run: Run) -> None:
    """A new socket that dies at once is an error, and no third is opened."""
    numbers: list[int] = []

    async def script(connection: ServerConnection) -> None:
        numbers.append(0)
        await connection.recv()
        if len(numbers) == 1:
            await connection.send("word")
            await connection.send("end")
            await connection.recv()
        connection.transport.abort()

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            await whole(transport, ask(vendor.url, Asking()))
            with pytest.raises(RemoteProtocolError):
                await whole(transport, ask(vendor.url, Asking()))
            assert len(vendor.handshakes) == 2

    run(main)


def test_late_messages_of_one_conversation_do_not_reach_the_next(run: Run) -> None:
    async def script(connection: ServerConnection) -> None:
        async for _ in connection:
            await connection.send("word")
            await connection.send("end")
            await connection.send("late")

    async def main() -> None:
        async with Vendor(script) as vendor, opened() as transport:
            for _ in range(3):
                assert await whole(transport, ask(vendor.url, Asking())) == b"word"
                await asyncio.sleep(0.02)
            assert len(vendor.handshakes) == 1

    run(main)


def test_idle_sockets_are_bounded_in_number_time_and_age(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor:
            async with opened(max_idle=2) as transport:
                for setting in "abc":
                    await whole(transport, ask(vendor.url, Asking(setting=setting)))
                await until(lambda: transport.open_connections <= 2)
            for settings in ({"idle_seconds": 0.05}, {"max_age": 0.0}, {"max_idle": 0}):
                async with opened(**settings) as transport:
                    await whole(transport, ask(vendor.url, Asking()))
                    await vendor.emptied()
                    assert transport.open_connections == 0

    run(main)


def test_the_number_of_conversations_is_bounded(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened(max_connections=1) as transport:
            first = await transport.send(ask(vendor.url, Asking()))
            with pytest.raises(PoolTimeout):
                await whole(transport, ask(vendor.url, Asking(), PATIENT | {"pool": 0.1}))
            waiting = asyncio.ensure_future(whole(transport, ask(vendor.url, Asking())))
            await asyncio.sleep(0.05)
            await first.aclose()
            assert await waiting == b"word"

    run(main)


def test_closing_the_transport_closes_every_socket(run: Run) -> None:
    async def main() -> None:
        async with Vendor(lambda connection: connection.send("word")) as vendor, opened() as transport:
            response = await transport.send(ask(vendor.url, Asking()))
            await transport.aclose()
            with pytest.raises(RemoteProtocolError):
                async for _ in response.stream:
                    pass
            await response.aclose()
            await vendor.emptied()
            with pytest.raises(ConnectError):
                await whole(transport, ask(vendor.url, Asking()))

    run(main)


# -- sockets that are opened ahead -------------------------------------------------------------------------------------


def ahead(url: str, setting: str = "one") -> messages.Request:
    return messages.Request("GET", messages.URL(url), extensions={"setting": setting})


def test_a_socket_opened_ahead_is_used_next(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            transport.warm(ahead(vendor.url))
            endpoint = websocket.endpoint_of(ahead(vendor.url))
            await until(lambda: transport.idle.has(endpoint, "one"))
            transport.warm(ahead(vendor.url))
            conversation = Asking()
            assert await whole(transport, ask(vendor.url, conversation)) == b"word"
            assert conversation.started == [False]
            transport.warm(ahead(vendor.url))
            await whole(transport, ask(vendor.url, Asking()))
            assert len(vendor.handshakes) == 1

    run(main)


def test_a_socket_that_is_being_opened_is_waited_for(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            vendor.delay = 0.1
            transport.warm(ahead(vendor.url))
            assert await whole(transport, ask(vendor.url, Asking())) == b"word"
            assert len(vendor.handshakes) == 1
            transport.warm(ahead(vendor.url, "two"))
            with pytest.raises(ReadTimeout):
                await whole(transport, ask(vendor.url, Asking(setting="two"), PATIENT | {"read": 0.02}))

    run(main)


def test_a_refusal_ahead_reaches_only_a_waiting_conversation(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor, opened() as transport:
            vendor.refusal = (429, {}, b"slowly")
            transport.warm(ahead(vendor.url))
            response = await transport.send(ask(vendor.url, Asking()))
            assert (response.status_code, len(vendor.handshakes)) == (429, 1)
            transport.warm(ahead(vendor.url))
            transport.warm(ahead("ws://127.0.0.1:1/"))
            await asyncio.sleep(0.1)
            assert transport.open_connections == 0

    run(main)


def test_opening_ahead_is_bounded_and_ends_with_the_transport(run: Run) -> None:
    async def main() -> None:
        async with answering() as vendor:
            async with opened() as transport:
                vendor.delay = 0.2
                for _ in range(50):
                    transport.warm(ahead(vendor.url))
                await asyncio.sleep(0.1)
                assert len(vendor.handshakes) == websocket.MAX_WARMING
            await vendor.emptied()

    run(main)
