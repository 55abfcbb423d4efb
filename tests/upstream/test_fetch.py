"""One request and its whole response."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from proxy.errors import ProxyError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from proxy.upstream.fetch import fetch


class Body(httpx.AsyncByteStream):
    def __init__(self, *chunks: bytes) -> None:
        self._chunks = chunks
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            yield chunk

    async def aclose(self) -> None:
        self.is_closed = True


def run(answer: Callable[[httpx.Request], httpx.Response], url: str = "http://h/x") -> tuple[int, bytes]:
    transport = httpx.MockTransport(answer)
    return asyncio.run(fetch(transport, "POST", url, {"a": "b"}, b"abc", seconds=5, max_length=8))


def test_request_and_response() -> None:
    requests: list[httpx.Request] = []
    body = Body(b"abcd", b"efgh")

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(418, stream=body)

    assert run(answer) == (418, b"abcdefgh")
    (request,) = requests
    assert (request.method, str(request.url), request.content) == ("POST", "http://h/x", b"abc")
    assert (request.headers["a"], request.headers["accept-encoding"]) == ("b", "identity")
    assert 0 < request.extensions["timeout"]["read"] <= 5
    assert body.is_closed


def test_a_response_that_is_too_long_is_closed() -> None:
    body = Body(b"abcdefghi")
    with pytest.raises(UpstreamInvalid):
        run(lambda _: httpx.Response(200, stream=body))
    assert body.is_closed


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (httpx.ReadTimeout("late"), UpstreamTimeout),
        (httpx.ConnectError("refused"), UpstreamUnreachable),
        (OSError("refused"), UpstreamUnreachable),
    ],
)
def test_transport_errors_become_ours(raised: Exception, error: type[ProxyError]) -> None:
    def answer(_: httpx.Request) -> httpx.Response:
        raise raised

    with pytest.raises(error):
        run(answer)


def test_an_invalid_url_cannot_be_reached() -> None:
    with pytest.raises(UpstreamUnreachable):
        run(lambda _: httpx.Response(200), url="http://h:port/")
