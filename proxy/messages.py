"""httpx's messages without what httpx works out at once and a proxy seldom asks for: names, encodings, contexts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import httpx

RawHeaders = list[tuple[bytes, bytes]]
#: Scheme, host and port (None: the scheme's own) of a URL.
Origin = tuple[bytes, bytes, int | None]


def head(start: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A start line (with its line end) and headers, as they go over the wire.

    Raises ValueError where one of them would smuggle in another.
    """
    lines = [b": ".join(field) for field in headers]
    line_ends = len(lines) + 2
    lines.append(b"\r\n")
    block = start + b"\r\n".join(lines)
    if len(block) - len(block.translate(None, b"\r\n\0")) != 2 * line_ends:
        raise ValueError("a control character in the head of a message")
    return block


class Headers(httpx.Headers):
    """Headers as they go over the wire; httpx's own list of them is made when somebody looks a name up."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self._raw = list(raw)
        self._made: list[tuple[bytes, bytes, bytes]] | None = None
        self._encoding = None
        self._firsts: dict[bytes, bytes] | None = None

    @property
    def raw(self) -> RawHeaders:
        return self._raw if self._made is None else [(name, value) for name, _, value in self._made]

    @property
    def firsts(self) -> Mapping[bytes, bytes]:
        """By lower-case name, the value that stands first. Not for headers that are still being changed."""
        if self._firsts is None:
            firsts = self._firsts = {}
            for name, value in self.raw:
                firsts.setdefault(name.lower(), value)
        return self._firsts

    @property
    def _list(self) -> list[tuple[bytes, bytes, bytes]]:
        if self._made is None:
            self._made = [(name, name.lower(), value) for name, value in self._raw]
        return self._made

    @_list.setter
    def _list(self, made: list[tuple[bytes, bytes, bytes]]) -> None:
        self._made = made


class Address(httpx.URL):
    """A URL that is asked for again and again: what a connection needs of it is worked out once."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.origin: Origin = (self.raw_scheme, self.raw_host, self.port)
        self._target = super().raw_path

    @property
    def raw_path(self) -> bytes:
        return self._target


def origin(url: httpx.URL) -> Origin:
    return url.origin if isinstance(url, Address) else (url.raw_scheme, url.raw_host, url.port)


class Post(httpx.Request):
    """A POST whose URL, headers and body are ready; its head is ready for the wire, too.

    ``prepared`` are headers that it shares with others, the host among them, and ``opening`` is the start of the head
    with these; ``length`` is that of the body.
    """

    def __init__(
        self,
        url: httpx.URL,
        prepared: RawHeaders,
        opening: bytes,
        stream: httpx.SyncByteStream | httpx.AsyncByteStream,
        content_type: bytes,
        length: int,
        secrets: tuple[bytes, ...] = (),
    ) -> None:
        self.method = "POST"
        self.url = url
        self.stream = stream
        self.extensions = {}
        self.length = length
        self.head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (opening, content_type, length)
        #: What the headers carry that is nobody's to see.
        self.secrets = secrets
        self._prepared = prepared
        self._content_type = content_type
        self._made: Headers | None = None

    @property
    def headers(self) -> Headers:
        """For those who look at them; what they change is not sent."""
        if self._made is None:
            own = [(b"content-type", self._content_type), (b"content-length", b"%d" % self.length)]
            self._made = Headers([*self._prepared, *own])
        return self._made

    @headers.setter
    def headers(self, headers: httpx.Headers) -> None:
        raise AttributeError("the head of this request is ready")


class Reply(httpx.Response):
    """A response whose body is still on its way; closing it closes the stream, whatever the request was."""

    stream: httpx.AsyncByteStream

    def __init__(
        self, status: int, headers: Headers, stream: httpx.AsyncByteStream, extensions: dict[str, Any]
    ) -> None:
        self.status_code = status
        self.headers = headers
        self.stream = stream
        self.extensions = extensions
        # What httpx.Response's methods expect to be there.
        self._request: httpx.Request | None = None
        self.next_request = None
        self.history: list[httpx.Response] = []
        self.is_closed = self.is_stream_consumed = False
        self.default_encoding = "utf-8"
        self._num_bytes_downloaded = 0

    async def aclose(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            await self.stream.aclose()
