"""The only vendor I/O: runs a vendor's flow over a transport, within time limits, and maps foreign errors to ours."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from time import perf_counter
from typing import TypeVar

import httpx

from proxy.errors import ProxyError, Saturated, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from proxy.providers.base import Adapter, Step, Whole

CONNECT_TIMEOUT = 10.0
ERROR_BYTES = 64 * 1024
WHOLE_BYTES = 64 * 1024 * 1024

A = TypeVar("A")

#: Every exception of httpx's transports, most special first.
FOREIGN: tuple[tuple[type[Exception], type[ProxyError], str], ...] = (
    (httpx.ConnectTimeout, UpstreamUnreachable, "The upstream vendor could not be reached in time."),
    (httpx.PoolTimeout, Saturated, "The server has too many calls under way. Please try again."),
    (httpx.TimeoutException, UpstreamTimeout, "The upstream vendor took too long to answer."),
    (httpx.RemoteProtocolError, UpstreamInvalid, "The upstream vendor's answer broke off or made no sense."),
    (httpx.TransportError, UpstreamUnreachable, "The upstream vendor could not be reached."),
    (httpx.InvalidURL, UpstreamUnreachable, "The upstream vendor could not be reached."),
    (OSError, UpstreamUnreachable, "The upstream vendor could not be reached."),
)


def foreign(error: Exception) -> ProxyError:
    """Our error for one of the transport's; what the transport said is for the log only."""
    if _out_of_files(error):
        return Saturated("The server has too many connections open. Please try again.", detail=str(error))
    for theirs, ours, message in FOREIGN:
        if isinstance(error, theirs):
            return ours(message, detail=f"{type(error).__name__}: {error}")
    raise error


def _out_of_files(error: BaseException | None) -> bool:
    """Whether this process, and not the vendor, is why there was no connection."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False


class Waits(Mapping[str, float | None]):
    """The time limits of one attempt, in seconds, under httpx's names; the transport looks them up at each wait.

    ``first_byte`` holds until the first byte came, ``stall`` from then on; none reaches past ``total`` from the start.
    """

    __slots__ = ("_deadline", "_limits", "_stall")

    def __init__(self, *, total: float, first_byte: float | None, stall: float | None) -> None:
        self._deadline = perf_counter() + total
        self._stall = stall
        self._limits = {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT, "write": stall, "read": first_byte}

    def answering(self) -> None:
        """The first byte came: from here on a silence is a stall."""
        self._limits["read"] = self._stall

    def __getitem__(self, name: str) -> float:
        limit, left = self._limits[name], max(self._deadline - perf_counter(), 0.001)
        return left if limit is None or left < limit else limit

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)


class Upstream:
    """Runs flows. ``transports`` are mounted by scheme, as httpx mounts them: ``https``, ``http``, ``local``."""

    def __init__(self, transports: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        self._transports = transports

    async def run(
        self, adapter: Adapter, flow: Generator[Step, httpx.Response, A], waits: Waits
    ) -> tuple[A, httpx.Response]:
        """The flow's answer and its last response, unread. The caller closes that response, on every path."""
        step = next(flow)
        while True:
            response = await self._send(adapter, step, waits)
            try:
                step = flow.send(response)
            except StopIteration as stop:
                return stop.value, response
            except BaseException:
                await response.aclose()
                raise
            await response.aclose()

    async def _send(self, adapter: Adapter, step: Step, waits: Waits) -> httpx.Response:
        request = step.request if isinstance(step, Whole) else step
        request.extensions["timeout"] = waits
        try:
            response = await self._transports[request.url.scheme].handle_async_request(request)
        except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
            raise foreign(error) from error
        if 200 <= response.status_code < 300 and not isinstance(step, Whole):
            return response
        try:
            if not 200 <= response.status_code < 300:
                raise adapter.error(response, await _beginning(response, ERROR_BYTES))
            return httpx.Response(
                response.status_code, headers=response.headers, content=await read_whole(response), request=request
            )
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        for transport in set(self._transports.values()):
            await transport.aclose()


def stream(response: httpx.Response) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises our errors where it breaks off or stalls."""
    return _Body(aiter(response.stream))  # type: ignore[arg-type]


class _Body:
    """An iterator and no generator, for the event loop keeps a list of those."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    @property
    def at_end(self) -> bool:
        """Nothing more comes, as far as the transport can tell."""
        return getattr(self._chunks, "at_end", False)

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._chunks.__anext__()
        except (httpx.TransportError, OSError) as error:
            raise foreign(error) from error


async def read_whole(response: httpx.Response, limit: int = WHOLE_BYTES) -> bytes:
    """The whole body; raises UpstreamInvalid where it passes ``limit`` bytes."""
    body = bytearray()
    async for chunk in stream(response):
        body += chunk
        if len(body) > limit:
            raise UpstreamInvalid("The upstream vendor's answer is too large.", detail=f"more than {limit} bytes")
    return bytes(body)


async def _beginning(response: httpx.Response, limit: int) -> bytes:
    """At most ``limit`` bytes of an error document; one that breaks off counts as far as it came."""
    body = bytearray()
    try:
        async for chunk in stream(response):
            body += chunk
            if len(body) >= limit:
                break
    except ProxyError:
        pass
    return bytes(body[:limit])
