"""Requests from prepared URLs and headers: a hot path, so nothing is parsed, looked up or encoded twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import httpx

from proxy.messages import Headers, Post, head
from proxy.providers.wire.multipart import MultipartStream

#: Headers that hold a vendor's id of the request.
ID_HEADERS = frozenset({
    b"x-request-id", b"request-id", b"x-requestid", b"apim-request-id", b"x-ms-request-id", b"dg-request-id",
    b"x-goog-request-id", b"x-deepinfra-request-id", b"x-generation-id",
})  # fmt: skip
MAX_ID_LENGTH = 200
OF_THE_BODY = (b"content-type", b"content-length")
#: Request headers that are never secret; any other may hold a key or a header that the operator configured.
NO_SECRETS = frozenset({b"host", b"user-agent", b"accept", b"accept-encoding", b"connection", *OF_THE_BODY})
MIN_SECRET_LENGTH = 8
#: Request lines with headers that are cached per target; with some vendors the path holds a voice or a query.
MAX_OPENINGS = 64


class Prepared:
    """The headers of every request to a target, and the beginnings of requests with them, encoded once."""

    def __init__(self, headers: httpx.Headers) -> None:
        self._headers = [(name, value) for name, value in headers.raw if name.lower() not in OF_THE_BODY]
        self._secrets = _secrets(headers.raw)
        self._openings: dict[bytes, bytes] = {}

    def post_json(self, url: httpx.URL, content: bytes) -> Post:
        return self._post(url, httpx.ByteStream(content), b"application/json", len(content))

    def post_form(self, url: httpx.URL, form: MultipartStream) -> Post:
        return self._post(url, form, form.content_type.encode("ascii"), form.length)

    def _post(self, url: httpx.URL, body: httpx.ByteStream | MultipartStream, content_type: bytes, length: int) -> Post:
        path = url.raw_path
        opening = self._openings.get(path) or self._opening(path)
        return Post(url, self._headers, opening, body, content_type, length, self._secrets)

    def _opening(self, path: bytes) -> bytes:
        if len(self._openings) >= MAX_OPENINGS:
            self._openings.clear()
        opening = self._openings[path] = head(b"POST %b HTTP/1.1\r\n" % path, self._headers)[:-2]
        return opening


def header(response: httpx.Response, name: bytes) -> str:
    """A response header, empty if it is missing; ``httpx.Headers`` would guess an encoding at every lookup."""
    return _firsts(response).get(name, b"").decode("latin-1")


def upstream_id(response: httpx.Response) -> str:
    """The vendor's id of the request, for its support; empty if there is none, or if it contains a key."""
    for name, value in _firsts(response).items():
        if name in ID_HEADERS:
            return "" if holds(value, secrets_of(response)) else value.decode("latin-1")[:MAX_ID_LENGTH]
    return ""


def _firsts(response: httpx.Response) -> Mapping[bytes, bytes]:
    headers = response.headers
    return headers.firsts if isinstance(headers, Headers) else Headers(headers.raw).firsts


def secrets_of(response: httpx.Response) -> tuple[bytes, ...]:
    """The keys that the request carried; a response header that `holds` one of them is never passed on."""
    request: httpx.Request | None = getattr(response, "_request", None)
    if request is None:
        return ()
    return request.secrets if isinstance(request, Post) else _secrets(request.headers.raw)


def _secrets(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    values = (value.rpartition(b" ")[2] for name, value in headers if name.lower() not in NO_SECRETS)
    return tuple(secret for secret in values if len(secret) >= MIN_SECRET_LENGTH)


def holds(value: bytes, secrets: Iterable[bytes]) -> bool:
    for secret in secrets:  # noqa: SIM110 - any() costs more, and this runs for every response
        if secret in value:
            return True
    return False
