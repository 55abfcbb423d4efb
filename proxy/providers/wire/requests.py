"""Requests on prepared URLs and headers: a hot path, so nothing is parsed, looked up or encoded twice."""

from __future__ import annotations

from collections.abc import Iterable

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


def header(response: httpx.Response, name: bytes) -> str:
    """A header of the response, empty where it is missing; ``httpx.Headers`` guesses an encoding at each look."""
    for raw, value in response.headers.raw:
        if raw.lower() == name:
            return value.decode("latin-1")
    return ""


def upstream_id(response: httpx.Response) -> str:
    """The vendor's id of the request, by which its support finds it; empty where it tells none."""
    for raw, value in response.headers.raw:
        if raw.lower() in ID_HEADERS:
            return "" if holds(value, secrets_of(response)) else value.decode("latin-1")[:LONGEST_ID]
    return ""


def secrets_of(response: httpx.Response) -> tuple[bytes, ...]:
    """What the question carried as keys; a header of the answer that `holds` one of them is nobody's to see."""
    asked: httpx.Request | None = getattr(response, "_request", None)
    if asked is None:
        return ()
    carried = (value.rpartition(b" ")[2] for name, value in asked.headers.raw if name.lower() not in NO_SECRETS)
    return tuple(secret for secret in carried if len(secret) >= SHORTEST_SECRET)


def holds(value: bytes, secrets: Iterable[bytes]) -> bool:
    return any(secret in value for secret in secrets)


def post_json(url: httpx.URL, prepared: httpx.Headers, content: bytes) -> httpx.Request:
    return _post(url, prepared, httpx.ByteStream(content), "application/json", len(content))


def post_form(url: httpx.URL, prepared: httpx.Headers, form: MultipartStream) -> httpx.Request:
    return _post(url, prepared, form, form.content_type, form.length)


def _post(
    url: httpx.URL, prepared: httpx.Headers, body: httpx.ByteStream | MultipartStream, content_type: str, length: int
) -> httpx.Request:
    headers = [header for header in prepared.raw if header[0].lower() not in OF_THE_BODY]
    headers.append((b"content-type", content_type.encode("ascii")))
    headers.append((b"content-length", b"%d" % length))
    return Post(url, Headers(headers), body)
