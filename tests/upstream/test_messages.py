"""The light messages are httpx's own to whoever uses them as such."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx
import pytest

from proxy.messages import Headers, Post, Reply, head

RAW = [(b"Content-Type", b"audio/mpeg"), (b"X-Two", b"a"), (b"x-two", b"b"), (b"X-Name", "Zoë".encode("latin-1"))]

LOOKS: dict[str, Callable[[httpx.Headers], object]] = {
    "raw": lambda headers: headers.raw,
    "get": lambda headers: headers.get("content-type"),
    "missing": lambda headers: headers.get("x-none", "none"),
    "joined": lambda headers: headers["X-TWO"],
    "list": lambda headers: headers.get_list("x-two"),
    "in": lambda headers: ("x-name" in headers, "x-none" in headers),
    "items": lambda headers: headers.multi_items(),
    "length": len,
    "repr": repr,
    "encoding": lambda headers: headers.encoding,
    "copy": lambda headers: headers.copy().raw,
    "again": lambda headers: httpx.Headers(headers).raw,
    "request": lambda headers: httpx.Request("GET", "http://x.test", headers=headers).headers.raw,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_headers_tell_what_those_of_httpx_tell(look: Callable[[httpx.Headers], object]) -> None:
    assert look(Headers(RAW)) == look(httpx.Headers(RAW))


CHANGES: dict[str, Callable[[httpx.Headers], object]] = {
    "set": lambda headers: headers.__setitem__("X-Two", "c"),
    "add": lambda headers: headers.__setitem__("x-new", "1"),
    "delete": lambda headers: headers.__delitem__("x-two"),
    "update": lambda headers: headers.update({"x-name": "Zoe"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen_from_every_side(change: Callable[[httpx.Headers], object]) -> None:
    ours, theirs = Headers(RAW), httpx.Headers(RAW)
    change(ours)
    change(theirs)
    assert (ours.raw, ours.multi_items()) == (theirs.raw, theirs.multi_items())
    assert RAW[0] == (b"Content-Type", b"audio/mpeg")


def test_a_post_can_be_read() -> None:
    shared = [(b"host", b"x.test")]
    opening = head(b"POST /a HTTP/1.1\r\n", shared)[:-2]
    request = Post(httpx.URL("http://x.test/a"), shared, opening, httpx.ByteStream(b"abc"), b"text/plain", 3)
    assert (request.method, request.read(), request.content) == ("POST", b"abc", b"abc")
    assert "x.test" in repr(request)
    assert request.head == head(b"POST /a HTTP/1.1\r\n", request.headers.raw)
    assert dict(request.headers) == {"host": "x.test", "content-type": "text/plain", "content-length": "3"}


class Body(httpx.AsyncByteStream):
    closed = 0

    async def __aiter__(self):  # type: ignore[no-untyped-def]
        yield b"ab"
        yield b"c"

    async def aclose(self) -> None:
        self.closed += 1


def test_a_reply_can_be_read_as_a_response_of_httpx() -> None:
    body = Body()
    reply = Reply(200, Headers([(b"Content-Type", b"text/plain")]), body, {"http_version": b"HTTP/1.1"})

    async def read() -> bytes:
        return await reply.aread()

    assert asyncio.run(read()) == b"abc"
    assert (reply.text, reply.is_success, reply.http_version, reply.reason_phrase) == ("abc", True, "HTTP/1.1", "OK")
    assert (reply.is_closed, body.closed) == (True, 1)


def test_a_reply_is_closed_once() -> None:
    body = Body()
    reply = Reply(200, Headers([]), body, {})

    async def close() -> None:
        await reply.aclose()
        await reply.aclose()

    asyncio.run(close())
    assert body.closed == 1


def test_a_head() -> None:
    assert head(b"HTTP/1.1 200 OK\r\n", [(b"a", b"1"), (b"b", b"")]) == b"HTTP/1.1 200 OK\r\na: 1\r\nb: \r\n\r\n"


@pytest.mark.parametrize("bad", [b"a\r\nb: 2", b"a\n", b"\ra", b"\0", b"\r\n"])
def test_nothing_is_smuggled_into_a_head(bad: bytes) -> None:
    for start, headers in (
        (b"GET / HTTP/1.1\r\n", [(b"a", bad)]),
        (b"GET / HTTP/1.1\r\n", [(bad, b"1")]),
        (b"GET /" + bad + b" HTTP/1.1\r\n", []),
    ):
        with pytest.raises(ValueError, match="control character"):
            head(start, headers)
