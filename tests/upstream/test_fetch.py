"""One request and its whole response."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from proxy.errors import ProxyError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from proxy.http.errors import ConnectError, ReadTimeout
from proxy.http.messages import Request, Response
from proxy.upstream.fetch import fetch
from tests.fakes import messages


class Body(messages.Pieces):
    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


class Transport:
    def __init__(self, answer: Callable[[Request], Response]) -> None:
        self.answer = answer

    async def send(self, request: Request) -> Response:
        return self.answer(request)

    async def aclose(self) -> None:
        pass


def run(answer: Callable[[Request], Response], url: str = "http://h/x", **headers: str) -> tuple[int, bytes]:
    return asyncio.run(fetch(Transport(answer), "POST", url, {"a": "b"} | headers, b"abc", seconds=5, max_length=8))


def test_request_and_response() -> None:
    requests: list[Request] = []
    body = Body(b"abcd", b"efgh")

    def answer(request: Request) -> Response:
        requests.append(request)
        return messages.response(418, content=body)

    assert run(answer) == (418, b"abcdefgh")
    (request,) = requests
    assert (request.method, str(request.url), messages.body_of(request)) == ("POST", "http://h/x", b"abc")
    assert (request.headers["a"], request.headers["accept-encoding"]) == ("b", "identity")
    assert 0 < (request.timeouts["read"] or 0) <= 5
    assert body.is_closed


def test_compression_is_not_the_callers_to_ask_for() -> None:
    def answer(request: Request) -> Response:
        assert request.headers["accept-encoding"] == "identity"
        return messages.response(200)

    assert run(answer, **{"Accept-Encoding": "gzip"}) == (200, b"")


def test_a_response_that_is_too_long_is_closed() -> None:
    body = Body(b"abcdefghi")
    with pytest.raises(UpstreamInvalid):
        run(lambda _: messages.response(200, content=body))
    assert body.is_closed


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ReadTimeout("late"), UpstreamTimeout),
        (ConnectError("refused"), UpstreamUnreachable),
        (OSError("refused"), UpstreamUnreachable),
    ],
)
def test_transport_errors_become_ours(raised: Exception, error: type[ProxyError]) -> None:
    def answer(_: Request) -> Response:
        raise raised

    with pytest.raises(error):
        run(answer)


def test_an_invalid_url_cannot_be_reached() -> None:
    with pytest.raises(UpstreamUnreachable):
        run(lambda _: messages.response(200), url="http://h:port/")
