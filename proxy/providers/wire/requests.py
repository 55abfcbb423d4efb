"""Requests on prepared URLs and headers: a hot path, so nothing is parsed, looked up or encoded twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import httpx

from proxy.messages import Headers, Post
from proxy.providers.wire.multipart import MultipartStream

#: Where vendors tell their id of a request.
ID_HEADERS = frozenset({
    b"x-request-id", b"request-id", b"x-requestid", b"apim-request-id", b"x-ms-request-id", b"dg-request-id",
    b"x-goog-request-id", b"x-deepinfra-request-id", b"x-generation-id",
})  # fmt: skip
LONGEST_ID = 200
OF_THE_BODY = (b"content-type", b"content-length")
#: What a request says to anybody; whatever else it carries is a key, or the operator's own business.
NO_SECRETS = frozenset({b"host", b"user-agent", b"accept", b"accept-encoding", b"connection", *OF_THE_BODY})
SHORTEST_SECRET = 8


class Prepared:
    """The headers that every request to a target has, worked out once."""

    def __init__(self, headers: httpx.Headers) -> None:
        self.headers = [(name, value) for name, value in headers.raw if name.lower() not in OF_THE_BODY]
        self.secrets = _secrets(headers.raw)

    def post_json(self, url: httpx.URL, content: bytes) -> Post:
        return self._post(url, httpx.ByteStream(content), b"application/json", len(content))

    def post_form(self, url: httpx.URL, form: MultipartStream) -> Post:
        return self._post(url, form, form.content_type.encode("ascii"), form.length)

    def _post(
        self, url: httpx.URL, body: httpx.ByteStream | MultipartStream, content_type: bytes, length: int
    ) -> Post:
        headers = Headers([*self.headers, (b"content-type", content_type), (b"content-length", b"%d" % length)])
        return Post(url, headers, body, length, self.secrets)


def header(response: httpx.Response, name: bytes) -> str:
    """A header of the response, empty where it is missing; ``httpx.Headers`` guesses an encoding at each look."""
    return _firsts(response).get(name, b"").decode("latin-1")


def upstream_id(response: httpx.Response) -> str:
    """The vendor's id of the request, by which its support finds it; empty where it tells none."""
    told = _firsts(response)
    if ID_HEADERS.isdisjoint(told):
        return ""
    value = next(told[raw] for name, _ in response.headers.raw if (raw := name.lower()) in ID_HEADERS)
    return "" if holds(value, secrets_of(response)) else value.decode("latin-1")[:LONGEST_ID]


def _firsts(response: httpx.Response) -> Mapping[bytes, bytes]:
    headers = response.headers
    return headers.firsts if isinstance(headers, Headers) else Headers(headers.raw).firsts


def secrets_of(response: httpx.Response) -> tuple[bytes, ...]:
    """What the question carried as keys; a header of the answer that `holds` one of them is nobody's to see."""
    asked: httpx.Request | None = getattr(response, "_request", None)
    if asked is None:
        return ()
    return asked.secrets if isinstance(asked, Post) else _secrets(asked.headers.raw)


def _secrets(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    carried = (value.rpartition(b" ")[2] for name, value in headers if name.lower() not in NO_SECRETS)
    return tuple(secret for secret in carried if len(secret) >= SHORTEST_SECRET)


def holds(value: bytes, secrets: Iterable[bytes]) -> bool:
    return any(secret in value for secret in secrets)
