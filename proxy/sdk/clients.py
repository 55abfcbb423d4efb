"""The caller's own HTTP client as a transport: its proxies, certificates, connections, hooks and headers are used.

The client is never closed here. Redirects are not followed, since keys would go along; time limits are those of the
call. Of a client's `headers`, those are sent that the call does not set itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import anyio.from_thread
import anyio.to_thread
import httpx

from proxy.errors import BadRequest

Client = httpx.AsyncClient | httpx.Client


def transport_of(client: Client) -> httpx.AsyncBaseTransport:
    if not isinstance(client, httpx.AsyncClient | httpx.Client):
        raise BadRequest(
            f"'client' must be an httpx.AsyncClient or httpx.Client, not {type(client).__name__}.", param="client"
        )
    if client.is_closed:
        raise BadRequest("'client' is closed.", param="client")
    return ThroughAsyncClient(client) if isinstance(client, httpx.AsyncClient) else ThroughClient(client)


class ThroughAsyncClient(httpx.AsyncBaseTransport):
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        _add_headers(request, self._client.headers)
        response = await self._client.send(request, stream=True, follow_redirects=False)
        return _passed_on(response, _Timed(response, request))


class ThroughClient(httpx.AsyncBaseTransport):
    """Every step of the client is made in a thread, and a call that is cancelled waits for the step that is under way.

    A body that comes asynchronously is pulled from the event loop block by block, never held as a whole.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        _add_headers(request, self._client.headers)
        if not isinstance(request.stream, httpx.SyncByteStream):
            request = httpx.Request(
                request.method,
                request.url,
                headers=request.headers,
                stream=_Pulled(request.stream),
                extensions=request.extensions,
            )
        response = await anyio.to_thread.run_sync(self._send, request)
        return _passed_on(response, _InThread(response))

    def _send(self, request: httpx.Request) -> httpx.Response:
        return self._client.send(request, stream=True, follow_redirects=False)


class _Timed(httpx.AsyncByteStream):
    """The body of an answer; looks the time limit up at each wait, which httpx does once."""

    def __init__(self, response: httpx.Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = aiter(self._response.stream)  # type: ignore[arg-type]
        while True:
            try:
                async with asyncio.timeout(self._request.extensions["timeout"]["read"]):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise httpx.ReadTimeout("the answer stalled", request=self._request) from error
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


class _InThread(httpx.AsyncByteStream):
    """The body of a synchronous client's answer."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = iter(self._response.stream)  # type: ignore[arg-type]
        while (chunk := await anyio.to_thread.run_sync(next, chunks, None)) is not None:
            yield chunk

    async def aclose(self) -> None:
        await anyio.to_thread.run_sync(self._response.close)


class _Pulled(httpx.SyncByteStream):
    """An asynchronous body, iterated in a thread of anyio's."""

    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._stream)
        while (chunk := anyio.from_thread.run(_next, chunks)) is not None:
            yield chunk


async def _next(chunks: AsyncIterator[bytes]) -> bytes | None:
    return await anext(chunks, None)


def _add_headers(request: httpx.Request, headers: httpx.Headers) -> None:
    for name, value in headers.items():
        request.headers.setdefault(name, value)


def _passed_on(response: httpx.Response, stream: httpx.AsyncByteStream) -> httpx.Response:
    return httpx.Response(response.status_code, headers=response.headers, stream=stream)
