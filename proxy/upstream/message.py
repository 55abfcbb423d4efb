"""An httpx.Request as it goes over the wire in HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from typing import cast

import httpx

from proxy.messages import Post, RawHeaders, head

#: Pieces of a chunked body up to this size are copied once, to travel in one write with their frame.
SMALL_PIECE = 64 * 1024


class Message:
    """Head and body of one request; raises httpx.LocalProtocolError where they contradict each other.

    `body` is bytes, or None where it comes from `pieces`.
    """

    _length: int | None

    __slots__ = ("_length", "_stream", "body", "head", "headless", "replayable")

    def __init__(self, request: httpx.Request, *, absolute: bool = False, proxy_authorization: bytes = b"") -> None:
        self.headless = request.method == "HEAD"
        if isinstance(request, Post) and not absolute and not proxy_authorization:
            self.head, self._length, chunked = request.head, request.length, False
        else:
            chunked = self._make_head(request, absolute, proxy_authorization)
        self._take_body(request, chunked)

    def _make_head(self, request: httpx.Request, absolute: bool, proxy_authorization: bytes) -> bool:
        """Whether the body is chunked."""
        url = request.url
        headers, chunked = self._looked_through(url, request.headers.raw)
        if proxy_authorization:
            headers = [*headers, (b"Proxy-Authorization", proxy_authorization)]
        target = b"%b://%b%b" % (url.raw_scheme, url.netloc, url.raw_path) if absolute else url.raw_path
        self.head = _head(b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), target), headers)
        return chunked

    def _looked_through(self, url: httpx.URL, headers: RawHeaders) -> tuple[RawHeaders, bool]:
        """The headers with the host, and whether the body is chunked; notes its length."""
        self._length = None
        chunked = host = False
        for name, value in headers:
            size = len(name)
            if size == 14 and name.lower() == b"content-length":
                if self._length is not None:
                    raise httpx.LocalProtocolError("a request with two lengths")
                self._length = _length(value)
            elif size == 17 and name.lower() == b"transfer-encoding":
                chunked = True
            elif size == 4 and name.lower() == b"host":
                host = True
        return (headers if host else [*headers, (b"Host", url.netloc)]), chunked

    @classmethod
    def connect(cls, authority: bytes, proxy_authorization: bytes) -> Message:
        """A CONNECT request, which asks a forward proxy for a tunnel."""
        request = httpx.Request("CONNECT", httpx.URL(scheme="http", raw_path=authority), headers=[(b"Host", authority)])
        message = cls(request, proxy_authorization=proxy_authorization)
        message.headless = True
        return message

    def _take_body(self, request: httpx.Request, chunked: bool) -> None:
        stream = request.stream
        length = self._length
        if chunked and length is not None:
            raise httpx.LocalProtocolError("a request with both a length and chunks")
        self.body: bytes | None = None
        self._stream = cast(AsyncIterable[bytes], stream)
        self.replayable = isinstance(stream, httpx.ByteStream) or bool(getattr(stream, "replayable", False))
        if isinstance(stream, httpx.ByteStream) and not chunked:
            self.body = b"".join(stream)
            if len(self.body) != (length or 0):
                raise httpx.LocalProtocolError("the length of the request's body is not the declared one")
        elif not chunked and length is None:
            raise httpx.LocalProtocolError("a request with a body has neither a length nor chunks")
        elif not hasattr(stream, "__aiter__"):
            raise RuntimeError("a request's body must be bytes or an async iterable")

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, framed for the wire. Closing it closes the source."""
        source, left = aiter(self._stream), self._length
        try:
            async for piece in source:
                if left is None:
                    for part in _chunk(piece):
                        yield part
                    continue
                left -= len(piece)
                if left < 0:
                    break
                yield piece
            if left is None:
                yield b"0\r\n\r\n"
            elif left:
                raise httpx.LocalProtocolError("the length of the request's body is not the declared one")
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()


def _chunk(piece: bytes) -> tuple[bytes, ...]:
    size = len(piece)
    if not size:  # an empty chunk would end the body
        return ()
    if size <= SMALL_PIECE:
        return (b"%x\r\n%b\r\n" % (size, piece),)
    return (b"%x\r\n" % size, piece, b"\r\n")


def _head(start: bytes, headers: RawHeaders) -> bytes:
    """No header may smuggle in another, nor the target a second one."""
    if start.count(b" ") != 2:
        raise httpx.LocalProtocolError("a space in the target of a request")
    try:
        return head(start, headers)
    except ValueError as error:
        raise httpx.LocalProtocolError(str(error)) from None


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise httpx.LocalProtocolError("the content-length of a request is not a number")
    return int(value)
