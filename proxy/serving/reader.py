"""The bytes of one connection become requests: httptools parses them, and each complete head begins a `Cycle`.

The size of a head is bounded. Large bodies bypass the parser, which would copy them. An offer to upgrade is declined.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn
from urllib.parse import unquote

import httptools
from starlette.types import Scope

from proxy.errors import BadRequest
from proxy.serving.cycle import Cycle, Header

#: Fields that say who calls, what is called and how the body is read. Two of them could be read in two ways.
_SINGLE_FIELDS = frozenset(
    {b"authorization", b"api-key", b"x-api-key", b"x-litellm-api-key", b"host", b"content-type", b"content-length"}
    | {b"transfer-encoding", b"x-request-id"}
)
_OWN_FIELDS = b"x-proxy-"

MAX_HEAD_BYTES = 64 * 1024
#: Bodies of at least this size bypass the parser. Only what arrives together with the head is parsed.
LARGE_BODY = 64 * 1024


class RequestReader:
    """httptools calls the methods that begin with ``on_``.

    ``connection`` is the part of ASGI's scope that all requests of the connection share. ``begin`` is called with the
    scope of a request, whether its client waits for "100 Continue", and whether the connection may be kept alive.
    """

    def __init__(self, connection: Scope, begin: Callable[[Scope, bool, bool], Cycle]) -> None:
        self._connection = connection
        self._root_path: str = connection["root_path"]
        self._begin = begin
        self._parser = self._new_parser()
        #: The newest request, whose body may still be arriving.
        self._cycle: Cycle | None = None
        #: Bytes still to arrive of a body that bypasses the parser.
        self._large_body_left = 0
        # The head that is arriving, or arrived last
        self.in_head = False
        self._head_bytes = 0
        self._url = b""
        self._headers: list[Header] = []
        self._expects_continue = False
        self._offers_upgrade = False
        #: Why the head was refused.
        self.refusal: BadRequest | None = None
        #: The last URL of this connection, and its path, raw path and query string: most requests repeat it.
        self._target: tuple[bytes, str, bytes, bytes] = (b"", "", b"", b"")

    def feed(self, data: bytes) -> None:
        """Raises httptools.HttpParserError for bytes that are not HTTP, and for a head that is refused."""
        if self._large_body_left:
            data = self._bypass_parser(data)
        self._parse(data)

    def close(self) -> None:
        """End two reference cycles: the parser holds methods of ours, and we hold one of the protocol's."""
        del self._parser, self._begin

    # -- bytes to parser -----------------------------------------------------------------------------------------------

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # Bytes after a request with "connection: close" are ignored; by default they are an error.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _parse(self, data: bytes | memoryview) -> None:
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stop:
                # The parser stops after a head that offers an upgrade, and after CONNECT.
                if not self._offers_upgrade:
                    return
                self._decline_upgrade()
                data = memoryview(data)[stop.args[0] :]
            else:
                return

    def _decline_upgrade(self) -> None:
        """Ignore the offer, as RFC 9110, section 7.8 allows: a new parser reads the same head without it.

        This is the place to accept a WebSocket instead: hand the head and all further bytes to another protocol (see
        ``asyncio.Transport.set_protocol``), and feed nothing here any more.
        """
        start = b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, self._parser.get_http_version().encode())
        fields = [b"%b: %b" % (name, value) for name, value in self._headers if name != b"upgrade"]
        self._parser = self._new_parser()
        self._parser.feed_data(b"\r\n".join([start, *fields, b"", b""]))

    def _bypass_parser(self, data: bytes) -> bytes:
        """Pass a large body on. What follows its end in ``data`` is returned, for a new parser."""
        left = self._large_body_left
        body, rest = (data, b"") if len(data) <= left else (data[:left], data[left:])
        self.on_body(body)
        if not self._large_body_left:
            self._parser = self._new_parser()  # the old one still waits for the body
            self.on_message_complete()
        return rest

    # -- called by the parser ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.in_head = True
        self._head_bytes = 0
        self._url = b""
        self._headers = []
        self._expects_continue = False

    def on_url(self, url: bytes) -> None:
        self._count_head(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count_head(len(name) + len(value))
        if not self.in_head:
            return  # a trailer: it must not replace a field of the head
        name = name.lower()
        if name == b"expect" and value.lower() == b"100-continue":
            self._expects_continue = True
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        self.in_head = False
        self._check_fields()
        # CONNECT is a request like any other here: it is answered with an error.
        self._offers_upgrade = bool(self._parser.should_upgrade()) and self._parser.get_method() != b"CONNECT"
        if self._offers_upgrade:
            return
        self._large_body_left = self._large_body()
        scope = self._scope()
        http_1_0 = scope["http_version"] == "1.0"
        keep_alive = not http_1_0 and self._parser.should_keep_alive()
        self._cycle = self._begin(scope, self._expects_continue and not http_1_0, keep_alive)

    def on_body(self, body: bytes) -> None:
        if self._large_body_left:
            self._large_body_left -= len(body)
        if self._cycle is not None and not self._cycle.response_complete and not self._offers_upgrade:
            self._cycle.feed_body(body)

    def on_message_complete(self) -> None:
        if self._cycle is not None and not self._cycle.response_complete and not self._offers_upgrade:
            self._cycle.end_body()

    # -- heads ---------------------------------------------------------------------------------------------------------

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(BadRequest("The header of the request is too large.", status=431))

    def _check_fields(self) -> None:
        names = [name for name, _ in self._headers]
        if b"host" not in names and self._parser.get_http_version() == "1.1":
            self._refuse(BadRequest("The header 'Host' is missing."))
        if len(set(names)) < len(names):
            for name in names:
                if (name in _SINGLE_FIELDS or name.startswith(_OWN_FIELDS)) and names.count(name) > 1:
                    self._refuse(BadRequest(f"The header '{name.decode('ascii')}' must be sent only once."))

    def _refuse(self, error: BadRequest) -> NoReturn:
        self.refusal = error
        raise error

    def _large_body(self) -> int:
        """The length of a large body, else 0."""
        length = 0
        for name, value in self._headers:
            if name == b"transfer-encoding":
                return 0
            if name == b"content-length" and value.isdigit():
                length = int(value)
        return length if length >= LARGE_BODY else 0

    def _scope(self) -> Scope:
        if self._url != self._target[0]:
            self._target = self._split(self._url)
        _, path, raw_path, query = self._target
        return {
            **self._connection,
            "http_version": self._parser.get_http_version(),
            "method": self._parser.get_method().decode("ascii"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
        }

    def _split(self, url: bytes) -> tuple[bytes, str, bytes, bytes]:
        try:
            target = httptools.parse_url(url)
            path = (target.path or b"").decode("ascii")
        except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
            self._refuse(BadRequest("The URL of the request is not valid."))
        if not path:
            self._refuse(BadRequest("The URL of the request has no path."))
        path = self._root_path + (unquote(path) if "%" in path else path)
        return url, path, self._root_path.encode("ascii") + (target.path or b""), target.query or b""
