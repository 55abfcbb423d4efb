"""Trailers behind a chunked answer (RFC 9112, 7.1.2), for clients that say that they read them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from proxy.api.exchange import Exchange, Header, RequestLimits
from proxy.serving.protocol import BoundedProtocol

WARNINGS = [(b"x-proxy-warnings", b"The speed was left out."), (b"x-proxy-cost", b"0.0015")]


def answers(request: bytes, headers: Sequence[Header] = (), trailers: Sequence[Header] = WARNINGS) -> bytes:
    """What the server sends for the bytes of one or more requests: two pieces and then the trailers."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, RequestLimits(body=1000, stall=10))
        await exchange.start(200, [(b"content-type", b"audio/mpeg"), *headers])
        await exchange.write(b"one", more=True)
        await exchange.write(b"two", more=True)
        await exchange.write(b"", more=False, trailers=trailers)

    return asyncio.run(_served(application, request))


async def _served(application: object, request: bytes) -> bytes:
    config = uvicorn.Config(application, http=BoundedProtocol, log_config=None)  # type: ignore[arg-type]
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request)
        try:
            return await within(reader.read())
        finally:
            writer.close()


def within(answer: Awaitable[bytes]) -> Awaitable[bytes]:
    return asyncio.wait_for(answer, 10)


def request(*lines: str, version: str = "1.1", closes: bool = True) -> bytes:
    also = ["Connection: close"] if closes else []
    return "\r\n".join([f"POST /v1/audio/speech HTTP/{version}", "Host: proxy.test", *also, *lines, "", ""]).encode()


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("te", ["trailers", "deflate;q=0.5, Trailers"])
def test_trailers_follow_the_last_piece(te: str) -> None:
    assert body_of(answers(request(f"TE: {te}"))) == (
        b"3\r\none\r\n3\r\ntwo\r\n0\r\nx-proxy-warnings: The speed was left out.\r\nx-proxy-cost: 0.0015\r\n\r\n"
    )


@pytest.mark.parametrize("te", [(), ("TE: gzip",)])
def test_nobody_gets_trailers_who_did_not_ask(te: tuple[str, ...]) -> None:
    assert body_of(answers(request(*te))) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_none_are_sent_where_there_are_none() -> None:
    assert body_of(answers(request("TE: trailers"), trailers=())) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_an_answer_with_a_length_has_no_room_for_them() -> None:
    assert body_of(answers(request("TE: trailers"), [(b"content-length", b"6")])) == b"onetwo"


def test_http_1_0_has_none() -> None:
    assert body_of(answers(request("TE: trailers", version="1.0"))) == b"onetwo"


def test_the_connection_serves_on_behind_them() -> None:
    answer = answers(request("TE: trailers", closes=False) + request())
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answer.count(b"x-proxy-cost: 0.0015\r\n\r\n") == 1


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\0b"])
def test_a_trailer_cannot_smuggle_in_another(value: bytes) -> None:
    answer = answers(request("TE: trailers"), trailers=[(b"x-proxy-warnings", value)])
    assert answer.endswith(b"3\r\ntwo\r\n")
    assert b"evil" not in answer
