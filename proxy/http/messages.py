"""Requests and responses. They are made for every call, so nothing is parsed, encoded or copied before it is needed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote

import httpx

from proxy.http.errors import InvalidURL
from proxy.http.head import RawHeaders, encode_head

#: Scheme, host and port (None: the scheme's default) of a URL.
Origin = tuple[str, str, int | None]
#: Seconds (None: no limit) by name: ``connect``, ``pool``, ``write``, ``read``. See `HTTPTransport`.
Timeouts = Mapping[str, float | None]

NO_TIMEOUTS: Final[Timeouts] = MappingProxyType({})
NO_EXTENSIONS: Final[Mapping[str, Any]] = MappingProxyType({})
#: Headers that describe a body, and so belong to one request only.
BODY_HEADERS: Final = frozenset({b"content-type", b"content-length"})
#: Different paths whose encoded heads are kept; some APIs put ids or queries into the path.
MAX_PREPARED_PATHS: Final = 64


class URL:
    """An absolute URL, parsed once (by httpx, with its normalisation). Raises InvalidURL."""

    __slots__ = ("_text", "authority", "host", "origin", "port", "scheme", "target", "userinfo")

    def __init__(self, text: str) -> None:
        try:
            parsed = httpx.URL(text)
        except httpx.InvalidURL as error:
            raise InvalidURL(str(error)) from None
        self._text = str(parsed)
        self.scheme = parsed.scheme
        #: ASCII, lower case, without the brackets of an IPv6 address.
        self.host = parsed.raw_host.decode("ascii")
        self.port = parsed.port
        self.userinfo = parsed.userinfo
        #: Host and port, as in the ``Host`` header.
        self.authority = parsed.netloc
        #: Path and query, as in the request line.
        self.target = parsed.raw_path
        self.origin: Origin = (self.scheme, self.host, self.port)

    @property
    def path(self) -> str:
        """Decoded."""
        return unquote(self.target.partition(b"?")[0].decode("ascii"))

    @property
    def query(self) -> str:
        """As it is encoded, without the question mark."""
        return self.target.partition(b"?")[2].decode("ascii")

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        """Without user, password and query, which may hold secrets."""
        return f"<URL {self.scheme}://{self.authority.decode('ascii')}{self.path}>"


class Headers(Mapping[str, str]):
    """Header fields in the order in which they go over the wire. Names are looked up in any case.

    ``headers[name]`` joins the values of a field that occurs more than once with commas (RFC 9110, section 5.3).
    """

    __slots__ = ("_first", "raw")

    def __init__(self, raw: RawHeaders | None = None) -> None:
        self.raw: RawHeaders = [] if raw is None else raw
        self._first: dict[bytes, bytes] | None = None

    @classmethod
    def of(cls, fields: Mapping[str, str]) -> Headers:
        return cls([(name.encode("ascii"), value.encode("latin-1")) for name, value in fields.items()])

    @property
    def first(self) -> Mapping[bytes, bytes]:
        """The first value of each field by its lower-case name: the fast way to look something up."""
        if self._first is None:
            first = self._first = {}
            for name, value in self.raw:
                first.setdefault(name.lower(), value)
        return self._first

    def __getitem__(self, name: str) -> str:
        key = name.lower().encode("latin-1")
        values = [value for raw_name, value in self.raw if raw_name.lower() == key]
        if not values:
            raise KeyError(name)
        return b", ".join(values).decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        """The names, in lower case."""
        return (name.decode("latin-1") for name in self.first)

    def __len__(self) -> int:
        return len(self.first)

    def __repr__(self) -> str:
        """Names only: values may be secrets."""
        return f"<Headers {', '.join(self)}>"


class ByteStream(ABC):
    """A body that is read piece by piece. Whoever has it closes it."""

    __slots__ = ()

    #: Each iteration begins at the start of the body, so that it can be sent again.
    replayable: bool = False

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[bytes]: ...

    @property
    def at_end(self) -> bool:
        """Whether it is known already that no further bytes will follow."""
        return False

    async def aclose(self) -> None:  # noqa: B027 - most bodies of requests hold nothing that must be closed
        pass


class Request:
    """A request. ``extensions`` are for special transports, and for the sender itself; HTTP ignores them."""

    __slots__ = ("_headers", "body", "extensions", "method", "timeouts", "url")

    def __init__(
        self,
        method: str,
        url: URL,
        headers: Headers | None = None,
        body: bytes | ByteStream = b"",
        *,
        timeouts: Timeouts = NO_TIMEOUTS,
        extensions: Mapping[str, Any] = NO_EXTENSIONS,
    ) -> None:
        self.method = method
        self.url = url
        self.body = body
        self.timeouts = timeouts
        self.extensions = extensions
        self._headers = headers

    @property
    def headers(self) -> Headers:
        if self._headers is None:
            self._headers = Headers()
        return self._headers

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url!r}>"


class PreparedHeaders:
    """Headers, including ``Host``, that many POSTs share. What repeats in their heads is encoded once for each path."""

    __slots__ = ("_extensions", "_heads", "raw")

    def __init__(self, headers: Headers, extensions: Mapping[str, Any] = NO_EXTENSIONS) -> None:
        """``extensions`` are those of every request."""
        self.raw = [(name, value) for name, value in headers.raw if name.lower() not in BODY_HEADERS]
        self._extensions = extensions
        self._heads: dict[bytes, bytes] = {}

    def post(self, url: URL, body: bytes | ByteStream, content_type: bytes, length: int) -> PreparedPost:
        """``length`` is that of the body. Raises ValueError for control characters in headers."""
        target = url.target
        start = self._heads.get(target) or self._encode(target)
        head = b"%bcontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (start, content_type, length)
        return PreparedPost(url, self, head, body, content_type, length, self._extensions)

    def _encode(self, target: bytes) -> bytes:
        """The head without the headers of the body, and without the empty line at its end."""
        if len(self._heads) >= MAX_PREPARED_PATHS:
            self._heads.clear()
        head = self._heads[target] = encode_head(b"POST %b HTTP/1.1\r\n" % target, self.raw)[:-2]
        return head


class PreparedPost(Request):
    """A POST whose head is ready for the wire."""

    __slots__ = ("_content_type", "_prepared", "head", "length")

    def __init__(
        self,
        url: URL,
        prepared: PreparedHeaders,
        head: bytes,
        body: bytes | ByteStream,
        content_type: bytes,
        length: int,
        extensions: Mapping[str, Any],
    ) -> None:
        self.method = "POST"
        self.url = url
        self.body = body
        self.timeouts = NO_TIMEOUTS
        self.extensions = extensions
        self.head = head
        self.length = length
        self._prepared = prepared
        self._content_type = content_type
        self._headers = None

    @property
    def headers(self) -> Headers:
        """For whoever reads them: `head` is what is sent."""
        if self._headers is None:
            own = [(b"content-type", self._content_type), (b"content-length", b"%d" % self.length)]
            self._headers = Headers([*self._prepared.raw, *own])
        return self._headers


class Response:
    """A response. Its body is bytes, or a stream that is still arriving; whoever gets it closes it.

    ``extensions`` are what a special transport tells the sender; HTTP itself knows none.
    """

    __slots__ = ("body", "extensions", "headers", "is_closed", "request", "status_code")

    def __init__(
        self,
        status_code: int,
        headers: Headers | None = None,
        body: bytes | ByteStream = b"",
        *,
        extensions: Mapping[str, Any] = NO_EXTENSIONS,
    ) -> None:
        self.status_code = status_code
        self.headers = Headers() if headers is None else headers
        self.body = body
        self.extensions = extensions
        #: The request that it answers, if the caller has noted it.
        self.request: Request | None = None
        self.is_closed = False

    @property
    def content(self) -> bytes:
        if not isinstance(self.body, bytes):
            raise RuntimeError("the body of this response is a stream")
        return self.body

    @property
    def stream(self) -> ByteStream:
        return _BytesStream(self.body) if isinstance(self.body, bytes) else self.body

    async def aclose(self) -> None:
        """Close the body, once."""
        if not self.is_closed:
            self.is_closed = True
            if not isinstance(self.body, bytes):
                await self.body.aclose()

    def __repr__(self) -> str:
        return f"<Response {self.status_code}>"


class _BytesStream(ByteStream):
    __slots__ = ("_content",)

    replayable = True

    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._content:
            yield self._content
