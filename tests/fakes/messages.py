"""Responses of a vendor made by hand, and the bodies of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from json import dumps
from typing import Any

import httpx

from proxy.http.messages import NO_EXTENSIONS, ByteStream, Headers, Request, Response


class Pieces(ByteStream):
    """A body that arrives piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


def response(
    status: int,
    *,
    headers: Mapping[str, str] | list[tuple[str, str]] | list[tuple[bytes, bytes]] | None = None,
    content: bytes | str | ByteStream = b"",
    json: Any = None,
    request: Request | None = None,
    extensions: Mapping[str, Any] = NO_EXTENSIONS,
) -> Response:
    """``json`` in place of ``content``."""
    body = dumps(json) if json is not None else content
    made = Response(status, _headers(headers), body.encode() if isinstance(body, str) else body, extensions=extensions)
    made.request = request
    return made


def body_of(request: Request) -> bytes:
    """All of it."""

    async def read(stream: ByteStream) -> bytes:
        return b"".join([chunk async for chunk in stream])

    return request.body if isinstance(request.body, bytes) else asyncio.run(read(request.body))


def params(request: Request) -> httpx.QueryParams:
    """Those of its query."""
    return httpx.QueryParams(request.url.query)


def _headers(fields: Any) -> Headers:
    pairs = fields.items() if isinstance(fields, Mapping) else fields or ()
    return Headers([(_bytes(name), _bytes(value)) for name, value in pairs])


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
