"""Trailers after a chunked response (RFC 9112, 7.1.2), for clients that announce that they read them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from starlette.types import Receive, Scope, Send

from proxy.api.exchange import Exchange, Header, RequestLimits
from tests.serving.listening import request, responses

WARNINGS = [(b"x-proxy-warnings", b"The speed was left out."), (b"x-proxy-cost", b"0.0015")]


def answers(requests: bytes, headers: Sequence[Header] = (), trailers: Sequence[Header] = WARNINGS) -> bytes:
    """What the server sends in answer to the bytes of one or more requests: two pieces and then the trailers."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send, RequestLimits(body=1000, stall=10))
        await exchange.start(200, [(b"content-type", b"audio/mpeg"), *headers])
        await exchange.write(b"one", more=True)
        await exchange.write(b"two", more=True)
        await exchange.write(b"", more=False, trailers=trailers)

    return responses(application, requests)


def body_of(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("te", ["trailers", "deflate;q=0.5, Trailers"])
def test_trailers_follow_the_last_piece(te: str) -> None:
    assert body_of(answers(request(f"TE: {te}"))) == (
        b"3\r\none\r\n3\r\ntwo\r\n0\r\nx-proxy-warnings: The speed was left out.\r\nx-proxy-cost: 0.0015\r\n\r\n"
    )


@pytest.mark.parametrize("te", [(), ("TE: gzip",)])
def test_a_client_that_did_not_ask_gets_no_trailers(te: tuple[str, ...]) -> None:
    assert body_of(answers(request(*te))) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_an_empty_list_of_trailers() -> None:
    assert body_of(answers(request("TE: trailers"), trailers=())) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


def test_a_response_with_a_length_cannot_have_trailers() -> None:
    assert body_of(answers(request("TE: trailers"), [(b"content-length", b"6")])) == b"onetwo"


def test_http_1_0_has_no_trailers() -> None:
    assert body_of(answers(request("TE: trailers", version="1.0"))) == b"onetwo"


def test_the_connection_can_be_used_again_after_trailers() -> None:
    answer = answers(request("TE: trailers", closes=False) + request())
    assert answer.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert answer.count(b"x-proxy-cost: 0.0015\r\n\r\n") == 1


@pytest.mark.parametrize("value", [b"a\r\nx-evil: 1", b"a\nb", b"a\0b"])
def test_a_trailer_cannot_inject_another(value: bytes) -> None:
    answer = answers(request("TE: trailers"), trailers=[(b"x-proxy-warnings", value)])
    assert answer.endswith(b"3\r\ntwo\r\n")
    assert b"evil" not in answer
