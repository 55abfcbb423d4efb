"""A request as it goes over the wire in HTTP/1.1."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from proxy.http.errors import LocalProtocolError
from proxy.http.head import RawHeaders, encode_head
from proxy.http.messages import ByteStream, PreparedPost, Request

#: Pieces of a chunked body up to this size are copied once, to travel in one write with their frame.
SMALL_PIECE = 64 * 1024
#: Methods whose requests state the length of an empty body, too (RFC 9110, section 8.6).
_METHODS_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})


class EncodedRequest:
    """Head and body of one request.

    `body` is bytes, or None if `pieces` yields the body. ``length`` is that of the body; None: it is sent in chunks.
    Raises LocalProtocolError if body and length contradict each other.
    """

    __slots__ = ("_length", "_stream", "body", "head", "replayable", "response_has_no_body")

    def __init__(
        self, head: bytes, body: bytes | ByteStream, length: int | None, *, response_has_no_body: bool = False
    ) -> None:
        self.head = head
        self.response_has_no_body = response_has_no_body
        self._length = length
        self.body: bytes | None = None
        self._stream: ByteStream | None = None
        if isinstance(body, bytes):
            if len(body) != length:
                raise LocalProtocolError("the length of the request's body is not the declared one")
            self.body = body
            self.replayable = True
        else:
            self._stream = body
            self.replayable = body.replayable

    @classmethod
    def of(cls, request: Request, *, absolute: bool = False, proxy_authorization: bytes = b"") -> EncodedRequest:
        """``absolute``: with the whole URL in the request line, for a forward proxy. Raises LocalProtocolError."""
        if isinstance(request, PreparedPost) and not absolute and not proxy_authorization:
            return cls(request.head, request.body, request.length)
        url = request.url
        headers, length = _framed(request)
        if proxy_authorization:
            headers = [*headers, (b"Proxy-Authorization", proxy_authorization)]
        target = b"%b://%b%b" % (url.scheme.encode("ascii"), url.authority, url.target) if absolute else url.target
        head = _encode_head(b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), target), headers)
        return cls(head, request.body, length, response_has_no_body=request.method == "HEAD")

    @classmethod
    def connect(cls, authority: bytes, proxy_authorization: bytes) -> EncodedRequest:
        """A CONNECT request, which asks a forward proxy for a tunnel."""
        headers = [(b"Host", authority)]
        if proxy_authorization:
            headers.append((b"Proxy-Authorization", proxy_authorization))
        return cls(_encode_head(b"CONNECT %b HTTP/1.1\r\n" % authority, headers), b"", 0, response_has_no_body=True)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The body, framed for the wire. Closing it closes the iteration of its source."""
        if self._stream is None:
            raise RuntimeError("the body of this request is bytes")
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
                raise LocalProtocolError("the length of the request's body is not the declared one")
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()


def _framed(request: Request) -> tuple[RawHeaders, int | None]:
    """The headers with the host and the framing of the body, and the body's length; None if it is sent in chunks."""
    length, has_host = None, False
    headers, body = request.headers.raw, request.body
    for name, value in headers:
        size = len(name)
        if size == 14 and name.lower() == b"content-length":
            if length is not None:
                raise LocalProtocolError("a request with two lengths")
            length = _length(value)
        elif size == 17 and name.lower() == b"transfer-encoding":
            raise LocalProtocolError("a request chooses its own transfer encoding")
        elif size == 4 and name.lower() == b"host":
            has_host = True
    if not has_host:
        headers = [(b"Host", request.url.authority), *headers]
    if length is not None:
        return headers, length
    if not isinstance(body, bytes):
        return [*headers, (b"Transfer-Encoding", b"chunked")], None
    if body or request.method in _METHODS_WITH_BODY:
        headers = [*headers, (b"Content-Length", b"%d" % len(body))]
    return headers, len(body)


def _chunk(piece: bytes) -> tuple[bytes, ...]:
    size = len(piece)
    if not size:  # an empty chunk would end the body
        return ()
    if size <= SMALL_PIECE:
        return (b"%x\r\n%b\r\n" % (size, piece),)
    return (b"%x\r\n" % size, piece, b"\r\n")


def _encode_head(start: bytes, headers: RawHeaders) -> bytes:
    """Raises LocalProtocolError if a header would begin another one, or the target a second request line."""
    if start.count(b" ") != 2:
        raise LocalProtocolError("a space in the target of a request")
    try:
        return encode_head(start, headers)
    except ValueError as error:
        raise LocalProtocolError(str(error)) from None


def _length(value: bytes) -> int:
    if not value.isdigit():
        raise LocalProtocolError("the content-length of a request is not a number")
    return int(value)
