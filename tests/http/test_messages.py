"""Requests and responses, and their heads on the wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from proxy.http.encoding import EncodedRequest
from proxy.http.errors import InvalidURL, LocalProtocolError
from proxy.http.head import encode_head
from proxy.http.messages import (
    MAX_PREPARED_PATHS,
    URL,
    ByteStream,
    Headers,
    PreparedHeaders,
    Request,
    Response,
)

RAW = [(b"Content-Type", b"audio/mpeg"), (b"X-Two", b"a"), (b"x-two", b"b"), (b"X-Name", "Zoë".encode("latin-1"))]

LOOKS: dict[str, Callable[[Headers | httpx.Headers], object]] = {
    "raw": lambda headers: headers.raw,
    "get": lambda headers: headers.get("content-type"),
    "missing": lambda headers: headers.get("x-none", "none"),
    "joined": lambda headers: headers["X-TWO"],
    "in": lambda headers: ("x-name" in headers, "X-NAME" in headers, "x-none" in headers),
    "items": lambda headers: dict(headers.items()),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_headers_are_looked_up_as_those_of_httpx(look: Callable[[Headers | httpx.Headers], object]) -> None:
    assert look(Headers(RAW)) == look(httpx.Headers(RAW))


def test_the_first_value_of_a_header() -> None:
    assert Headers(RAW).first[b"x-two"] == b"a"
    assert b"X-Two" not in Headers(RAW).first


def test_a_missing_header() -> None:
    with pytest.raises(KeyError):
        Headers(RAW)["x-none"]


def test_headers_of_texts() -> None:
    assert Headers.of({"x-name": "Zoë"}).raw == [(b"x-name", "Zoë".encode("latin-1"))]


URLS = [
    "http://vendor.test",
    "https://vendor.test:8443/v1/a%20b?c=d&e=%2F",
    "https://vendor.test:443/v1/",
    "https://Bücher.example/ä?ö=ü",
    "http://[::1]:8080/x",
    "https://user:pa%20ss@vendor.test/x?key=secret",
    "wss://vendor.test/v1/realtime?model=m",
    "local://espeak-ng/speech",
]


@pytest.mark.parametrize("text", URLS)
def test_a_url_has_the_parts_that_httpx_finds(text: str) -> None:
    ours, theirs = URL(text), httpx.URL(text)
    assert str(ours) == str(theirs)
    assert (ours.scheme, ours.host.encode(), ours.port) == (theirs.scheme, theirs.raw_host, theirs.port)
    assert (ours.authority, ours.target, ours.userinfo) == (theirs.netloc, theirs.raw_path, theirs.userinfo)
    assert (ours.path, ours.query.encode()) == (theirs.path, theirs.query)
    assert ours.origin == (ours.scheme, ours.host, ours.port)
    assert str(URL(str(ours))) == str(ours)


@pytest.mark.parametrize("text", ["http://[::1", "http://a:port/", "http://\ud800/", "http://a/\0"])
def test_what_is_not_a_url(text: str) -> None:
    with pytest.raises(InvalidURL):
        URL(text)


def test_what_is_logged_holds_no_secrets() -> None:
    request = Request(
        "GET", URL("https://user:pass-1@vendor.test/x?key=key-1"), Headers([(b"authorization", b"key-2")])
    )
    shown = f"{request!r} {request.url!r} {request.headers!r} {Response(200, request.headers)!r}"
    assert "vendor.test/x" in shown
    assert "authorization" in shown
    for secret in ("pass-1", "key-1", "key-2"):
        assert secret not in shown


PREPARED = PreparedHeaders(
    Headers([(b"host", b"vendor.test"), (b"Authorization", b"Bearer key"), (b"content-type", b"text/x"), (b"a", b"b")])
)


def test_a_prepared_post_goes_over_the_wire_as_any_request_would() -> None:
    prepared = PREPARED.post(URL("http://vendor.test/a?b=c"), b"abc", b"text/plain", 3)
    plain = Request(prepared.method, prepared.url, Headers(prepared.headers.raw), prepared.body)
    assert prepared.head == EncodedRequest.of(prepared).head == EncodedRequest.of(plain).head
    assert prepared.head.startswith(b"POST /a?b=c HTTP/1.1\r\nhost: vendor.test\r\n")
    assert dict(prepared.headers) == {
        "host": "vendor.test",
        "authorization": "Bearer key",
        "a": "b",
        "content-type": "text/plain",
        "content-length": "3",
    }


def test_a_prepared_post_through_a_forward_proxy_names_the_whole_url() -> None:
    prepared = PREPARED.post(URL("http://vendor.test:81/a"), b"abc", b"text/plain", 3)
    head = EncodedRequest.of(prepared, absolute=True, proxy_authorization=b"Basic x").head
    assert head.startswith(b"POST http://vendor.test:81/a HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic x\r\n" in head


def test_prepared_paths_are_bounded() -> None:
    prepared = PreparedHeaders(Headers())
    for number in range(3 * MAX_PREPARED_PATHS):
        post = prepared.post(URL(f"http://vendor.test/{number}"), b"", b"text/plain", 0)
        assert post.head.startswith(b"POST /%d HTTP" % number)
    assert len(prepared._heads) <= MAX_PREPARED_PATHS


def test_prepared_headers_smuggle_nothing() -> None:
    prepared = PreparedHeaders(Headers([(b"a", b"1\r\nb: 2")]))
    with pytest.raises(ValueError, match="control character"):
        prepared.post(URL("http://vendor.test/"), b"", b"text/plain", 0)


class Body(ByteStream):
    closed = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"c"

    async def aclose(self) -> None:
        self.closed += 1


def test_the_framing_of_a_body() -> None:
    url = URL("http://vendor.test/")
    heads = {
        name: EncodedRequest.of(request).head.partition(b"\r\n")[2]
        for name, request in {
            "nothing": Request("GET", url),
            "nothing posted": Request("POST", url),
            "bytes": Request("POST", url, body=b"abc"),
            "stream": Request("POST", url, body=Body()),
            "stream of a length": Request("POST", url, Headers.of({"content-length": "3"}), Body()),
        }.items()
    }
    host = b"Host: vendor.test\r\n"
    assert heads == {
        "nothing": host + b"\r\n",
        "nothing posted": host + b"Content-Length: 0\r\n\r\n",
        "bytes": host + b"Content-Length: 3\r\n\r\n",
        "stream": host + b"Transfer-Encoding: chunked\r\n\r\n",
        "stream of a length": host + b"content-length: 3\r\n\r\n",
    }


def test_a_transfer_encoding_is_not_the_senders_to_choose() -> None:
    with pytest.raises(LocalProtocolError):
        EncodedRequest.of(Request("POST", URL("http://x.test/"), Headers.of({"transfer-encoding": "gzip"}), Body()))


async def read(response: Response) -> bytes:
    return b"".join([chunk async for chunk in response.stream])


@pytest.mark.parametrize("content", [b"abc", b""])
def test_a_response_with_its_body(content: bytes) -> None:
    response = Response(200, Headers(), content)
    assert response.content == content
    assert asyncio.run(read(response)) == content
    asyncio.run(response.aclose())
    assert response.is_closed


def test_a_response_whose_body_is_a_stream() -> None:
    response = Response(200, Headers(), Body())
    assert asyncio.run(read(response)) == b"abc"
    with pytest.raises(RuntimeError, match="stream"):
        _ = response.content


def test_a_response_is_closed_once() -> None:
    body = Body()
    response = Response(200, Headers(), body)

    async def close() -> None:
        await response.aclose()
        await response.aclose()

    asyncio.run(close())
    assert (response.is_closed, body.closed) == (True, 1)


def test_a_head() -> None:
    assert encode_head(b"HTTP/1.1 200 OK\r\n", [(b"a", b"1"), (b"b", b"")]) == b"HTTP/1.1 200 OK\r\na: 1\r\nb: \r\n\r\n"


@pytest.mark.parametrize("bad", [b"a\r\nb: 2", b"a\n", b"\ra", b"\0", b"\r\n"])
def test_nothing_is_smuggled_into_a_head(bad: bytes) -> None:
    for start, headers in (
        (b"GET / HTTP/1.1\r\n", [(b"a", bad)]),
        (b"GET / HTTP/1.1\r\n", [(bad, b"1")]),
        (b"GET /" + bad + b" HTTP/1.1\r\n", []),
    ):
        with pytest.raises(ValueError, match="control character"):
            encode_head(start, headers)
