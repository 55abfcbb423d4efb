"""The caller's own HTTP client as a transport: its proxies, certificates, connections, hooks and headers are used.

The client is never closed here. Redirects are not followed, since they would carry keys to other hosts. Time limits
are those of the call. A client's `headers` are sent unless the call sets them itself.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from abc import ABC, abstractmethod
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
    """Runs every step of the client in one of anyio's threads.

    An asynchronous body is pulled from the event loop block by block, never held as a whole. Its file is read in
    asyncio's threads, since all of anyio's may be waiting for a body.
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
    """One request of a synchronous client. The event loop may abandon it while a thread still runs it."""

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
        """Send no more of the body, and close the answer, even if it has not arrived yet."""
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
        if self._abandoned:  # the file may be closed by now, and its descriptor belong to another one
            raise httpx.WriteError("the call was abandoned")
        return chunk


class _Pulled(httpx.SyncByteStream):
    """An asynchronous body, iterated in a thread."""

    def __init__(self, chunks: AsyncIterator[bytes], sending: _Sending) -> None:
        self._chunks = chunks
        self._sending = sending

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := anyio.from_thread.run(self._sending.next, self._chunks)) is not None:
            yield chunk


class _Body(httpx.AsyncByteStream, ABC):
    """The body of an answer. The time limit is looked up at each wait; httpx looks it up once."""

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

    @abstractmethod
    async def _next(self) -> bytes | None:
        """The next chunk; None at the end."""


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
        """An abandoned thread is still reading. Closing the socket does not end that, but shutting it down does."""
        stream = self._response.extensions.get("network_stream")
        if stream is not None and self._response.http_version == "HTTP/1.1":
            with suppress(OSError):
                stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


def _add_headers(request: httpx.Request, headers: httpx.Headers) -> None:
    for name, value in headers.items():
        request.headers.setdefault(name, value)
