"""The caller's own httpx client as a transport, with its proxies, certificates, connections, hooks and headers.

The client is never closed here. Redirects are not followed, because keys would go along; the time limits are those of
the call. Headers of the client are sent unless the call sets them itself.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from abc import abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import anyio.from_thread
import anyio.to_thread
import httpx

from proxy.errors import BadRequest
from proxy.http import errors
from proxy.http.messages import ByteStream, Headers, Request, Response
from proxy.http.transport import Transport

Client = httpx.AsyncClient | httpx.Client

#: Our error for each error of a client, the most specific ones first.
ERRORS: Final[tuple[tuple[type[Exception], type[errors.TransportError]], ...]] = (
    (httpx.ConnectTimeout, errors.ConnectTimeout),
    (httpx.PoolTimeout, errors.PoolTimeout),
    (httpx.WriteTimeout, errors.WriteTimeout),
    (httpx.TimeoutException, errors.ReadTimeout),
    (httpx.ConnectError, errors.ConnectError),
    (httpx.NetworkError, errors.ReadError),
    (httpx.ProxyError, errors.ForwardProxyError),
    (httpx.LocalProtocolError, errors.LocalProtocolError),
    (httpx.ProtocolError, errors.RemoteProtocolError),
    (httpx.UnsupportedProtocol, errors.UnsupportedProtocol),
    (httpx.TransportError, errors.ReadError),
    (httpx.InvalidURL, errors.InvalidURL),
)


def transport_of(client: Client) -> Transport:
    if not isinstance(client, httpx.AsyncClient | httpx.Client):
        raise BadRequest(
            f"'client' must be an httpx.AsyncClient or httpx.Client, not {type(client).__name__}.", param="client"
        )
    if client.is_closed:
        raise BadRequest("'client' is closed.", param="client")
    return AsyncClientTransport(client) if isinstance(client, httpx.AsyncClient) else ClientTransport(client)


@contextmanager
def mapped_errors() -> Iterator[None]:
    """Raises our errors for those of httpx."""
    try:
        yield
    except (httpx.TransportError, httpx.InvalidURL) as error:
        ours = next(ours for theirs, ours in ERRORS if isinstance(error, theirs))
        raise ours(str(error)) from error


class AsyncClientTransport:
    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def send(self, request: Request) -> Response:
        with mapped_errors():
            converted = _converted(request, self._client, request.body)
            response = await self._client.send(converted, stream=True, follow_redirects=False)
        return Response(response.status_code, Headers(response.headers.raw), _AsyncBody(response, request))

    async def aclose(self) -> None:
        """The client stays open."""


class ClientTransport:
    """Runs each step of a synchronous client in a thread of anyio.

    The body of an upload is pulled from the event loop block by block and never held as a whole. Its file is read in
    other threads (those of asyncio), because those of anyio may all be waiting for it.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    async def send(self, request: Request) -> Response:
        sending = _Sending(self._client)
        try:
            with mapped_errors():
                response = await anyio.to_thread.run_sync(sending.run, request, abandon_on_cancel=True)
        except BaseException:
            sending.abandon()
            raise
        return Response(response.status_code, Headers(response.headers.raw), _ThreadBody(response, request))

    async def aclose(self) -> None:
        """The client stays open."""


class _Sending:
    """One request of a synchronous client. The event loop may abandon it while a thread is still sending it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._response: httpx.Response | None = None
        self._abandoned = False

    def run(self, request: Request) -> httpx.Response:
        body = request.body if isinstance(request.body, bytes) else _PulledBody(aiter(request.body), self)
        converted = _converted(request, self._client, body)
        response = self._client.send(converted, stream=True, follow_redirects=False)
        with self._lock:
            self._response = response
            abandoned = self._abandoned
        if abandoned:
            response.close()
        return response

    def abandon(self) -> None:
        """Send nothing more of the body, and close the response, even if it arrives later."""
        with self._lock:
            self._abandoned = True
        if self._response is not None:
            self._response.close()

    async def next(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        chunk = await anext(chunks, None)
        if self._abandoned:  # the file may be closed by now, and its descriptor may belong to another one
            raise httpx.WriteError("the call was abandoned")
        return chunk


class _PulledBody:
    """An asynchronous body, iterated in a thread."""

    def __init__(self, chunks: AsyncIterator[bytes], sending: _Sending) -> None:
        self._chunks = chunks
        self._sending = sending

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := anyio.from_thread.run(self._sending.next, self._chunks)) is not None:
            yield chunk


class _Body(ByteStream):
    """The body of a response. The time limit is looked up at each wait; httpx looks it up once."""

    def __init__(self, response: httpx.Response, request: Request) -> None:
        self._response = response
        self._timeouts = request.timeouts

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            try:
                with mapped_errors():
                    async with asyncio.timeout(self._timeouts.get("read")):
                        chunk = await self._next()
            except TimeoutError as error:
                raise errors.ReadTimeout("the response stalled") from error
            if chunk is None:
                return
            yield chunk

    @abstractmethod
    async def _next(self) -> bytes | None: ...


class _AsyncBody(_Body):
    def __init__(self, response: httpx.Response, request: Request) -> None:
        super().__init__(response, request)
        self._chunks = aiter(response.stream)  # type: ignore[arg-type]

    async def _next(self) -> bytes | None:
        return await anext(self._chunks, None)

    async def aclose(self) -> None:
        await self._response.aclose()


class _ThreadBody(_Body):
    def __init__(self, response: httpx.Response, request: Request) -> None:
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


def _converted(request: Request, client: Client, body: bytes | AsyncIterable[bytes] | Iterable[bytes]) -> httpx.Request:
    headers = httpx.Headers(request.headers.raw)
    for name, value in client.headers.items():
        headers.setdefault(name, value)
    extensions = {"timeout": request.timeouts}
    return httpx.Request(request.method, str(request.url), headers=headers, content=body, extensions=extensions)
