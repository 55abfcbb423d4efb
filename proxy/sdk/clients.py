"""The caller's own HTTP client as a transport: its proxies, certificates, connections, hooks and headers are used.

The client is never closed here. Redirects are not followed, since keys would go along; time limits are those of the
call. Of a client's `headers`, those are sent that the call does not set itself.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

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
        return httpx.Response(response.status_code, headers=response.headers, stream=_AsyncBody(response, request))


class ThroughClient(httpx.AsyncBaseTransport):
    """Every step of the client is made in a thread of anyio's.

    A body that comes asynchronously is pulled from the event loop block by block, never held as a whole. Its file is
    read in other threads (asyncio's), for those of anyio may all be waiting for one.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        _add_headers(request, self._client.headers)
        sending = _Sending(self._client)
        try:
            response = await anyio.to_thread.run_sync(sending.run, request, abandon_on_cancel=True)
        except BaseException:
            sending.abandon()
            raise
        return httpx.Response(response.status_code, headers=response.headers, stream=_ThreadBody(response, request))


class _Sending:
    """One request of a synchronous client, which the event loop may give up while a thread is still at it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._response: httpx.Response | None = None
        self._abandoned = False

    def run(self, request: httpx.Request) -> httpx.Response:
        response = self._client.send(self._synchronous(request), stream=True, follow_redirects=False)
        with self._lock:
            self._response = response
            abandoned = self._abandoned
        if abandoned:
            response.close()
        return response

    def abandon(self) -> None:
        """Nothing more of the body is sent, and an answer is closed, also one that is still to come."""
        with self._lock:
            self._abandoned = True
        if self._response is not None:
            self._response.close()

    def _synchronous(self, request: httpx.Request) -> httpx.Request:
        stream = request.stream
        if isinstance(stream, httpx.SyncByteStream):
            return request
        return httpx.Request(
            request.method,
            request.url,
            headers=request.headers,
            stream=_Pulled(aiter(stream), self),
            extensions=request.extensions,
        )

    async def next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        chunk = await anext(chunks, None)
        if self._abandoned:  # the file may be closed by now, and its descriptor be that of another one
            raise httpx.WriteError("the call was given up")
        return chunk


class _Pulled(httpx.SyncByteStream):
    """An asynchronous body, iterated in a thread."""

    def __init__(self, chunks: AsyncIterator[bytes], sending: _Sending) -> None:
        self._chunks = chunks
        self._sending = sending

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := anyio.from_thread.run(self._sending.next, self._chunks)) is not None:
            yield chunk


class _Body(httpx.AsyncByteStream):
    """The body of an answer. The time limit is looked up at each wait, which httpx does once."""

    def __init__(self, response: httpx.Response, request: httpx.Request) -> None:
        self._response = response
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                async with asyncio.timeout(self._request.extensions["timeout"]["read"]):
                    chunk = await self._next()
            except TimeoutError as error:
                raise httpx.ReadTimeout("the answer stalled", request=self._request) from error
            if chunk is None:
                return
            yield chunk

    async def _next(self) -> bytes | None:
        raise NotImplementedError


class _AsyncBody(_Body):
    def __init__(self, response: httpx.Response, request: httpx.Request) -> None:
        super().__init__(response, request)
        self._chunks = aiter(response.stream)  # type: ignore[arg-type]

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)

    async def aclose(self) -> None:
        await self._response.aclose()


class _ThreadBody(_Body):
    def __init__(self, response: httpx.Response, request: httpx.Request) -> None:
        super().__init__(response, request)
        self._chunks = iter(response.stream)  # type: ignore[arg-type]
        self._reading = False

    async def _next(self) -> bytes | None:
        self._reading = True
        chunk: bytes | None = await anyio.to_thread.run_sync(next, self._chunks, None, abandon_on_cancel=True)
        self._reading = False
        return chunk

    async def aclose(self) -> None:
        if self._reading:
            self._wake()
        await anyio.to_thread.run_sync(self._response.close)

    def _wake(self) -> None:
        """A thread that was given up is still reading; closing a socket does not end that, shutting it down does."""
        stream = self._response.extensions.get("network_stream")
        if stream is not None and self._response.http_version == "HTTP/1.1":
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _add_headers(request: httpx.Request, headers: httpx.Headers) -> None:
    for name, value in headers.items():
        request.headers.setdefault(name, value)
