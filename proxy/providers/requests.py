"""Requests on prepared URLs and headers: a hot path, so nothing is parsed, looked up or encoded twice."""

from __future__ import annotations

import httpx

from proxy.messages import Headers, Post
from proxy.providers.multipart import MultipartStream


def header(response: httpx.Response, name: bytes) -> str:
    """A header of the response, empty where it is missing; ``httpx.Headers`` guesses an encoding at each look."""
    for raw, value in response.headers.raw:
        if raw.lower() == name:
            return value.decode("latin-1")
    return ""


def post_json(url: httpx.URL, prepared: httpx.Headers, content: bytes) -> httpx.Request:
    return _post(url, prepared, httpx.ByteStream(content), "application/json", len(content))


def post_form(url: httpx.URL, prepared: httpx.Headers, form: MultipartStream) -> httpx.Request:
    return _post(url, prepared, form, form.content_type, form.length)


def _post(
    url: httpx.URL, prepared: httpx.Headers, body: httpx.ByteStream | MultipartStream, content_type: str, length: int
) -> httpx.Request:
    headers = [pair for pair in prepared.raw if pair[0].lower() not in (b"content-type", b"content-length")]
    headers.append((b"content-type", content_type.encode("ascii")))
    headers.append((b"content-length", b"%d" % length))
    return Post(url, Headers(headers), body)
