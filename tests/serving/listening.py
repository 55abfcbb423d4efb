"""An ASGI application behind our own HTTP protocol on a real socket, without the rest of the proxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import TypeVar

from starlette.types import ASGIApp

from proxy.serving.protocol import HttpProtocol, ServerState

T = TypeVar("T")


@asynccontextmanager
async def listening(application: ASGIApp) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A client's connection to the application."""
    state, loop = ServerState(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: HttpProtocol(application, state), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        try:
            yield reader, writer
        finally:
            writer.close()


def responses(application: ASGIApp, requests: bytes) -> bytes:
    """What the server sends in answer to the bytes of one or more requests, until it closes the connection."""

    async def run() -> bytes:
        async with listening(application) as (reader, writer):
            writer.write(requests)
            return await soon(reader.read())

    return asyncio.run(run())


def soon(result: Awaitable[T]) -> Awaitable[T]:
    """The result, which is there within seconds."""
    return asyncio.wait_for(result, 10)


def request(*lines: str, method: str = "POST", version: str = "1.1", closes: bool = True, body: bytes = b"") -> bytes:
    """One request; the server closes the connection after it unless told otherwise."""
    fields = ["Host: proxy.test", *(["Connection: close"] if closes else []), *lines]
    if body:
        fields.append(f"Content-Length: {len(body)}")
    return "\r\n".join([f"{method} /v1/audio/speech HTTP/{version}", *fields, "", ""]).encode() + body
