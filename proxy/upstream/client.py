"""The only vendor I/O: runs a vendor's flow over a transport, within time limits, and maps foreign errors to ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol, TypeVar, runtime_checkable

import httpx

from proxy.errors import (
    ProxyError,
    Saturated,
    UpstreamInvalid,
    UpstreamRateLimited,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnfinished,
    UpstreamUnreachable,
)
from proxy.providers.base import Adapter, BufferedRequest, Step
from proxy.providers.wire.requests import header

CONNECT_TIMEOUT = 10.0
ERROR_BYTES = 64 * 1024
WHOLE_BYTES = 64 * 1024 * 1024
#: For each deletion of what a flow had uploaded, and how many may be under way.
CLEANUP_SECONDS = 20.0
MAX_CLEANINGS = 256
#: In a row, of looks at a job, before one that fails is the end of it.
FAILED_LOOKS = 2
#: For the answer to a step that makes something, once the caller has left.
MAKING_SECONDS = 3.0
PASSING = (UpstreamInvalid, UpstreamRateLimited, UpstreamTimeout, UpstreamUnavailable, UpstreamUnreachable)

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


class Deadlines(Mapping[str, float | None]):
    """The time limits of one attempt, in seconds, under httpx's names; the transport looks them up at each wait.

    ``first_byte`` holds until the first byte came, ``stall`` from then on; none reaches past ``total`` from the start.
    """

    __slots__ = ("_deadline", "_limits", "_stall")

    def __init__(self, *, total: float, first_byte: float | None, stall: float | None) -> None:
        self._deadline = perf_counter() + total
        self._stall = stall
        self._limits = {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT, "write": stall, "read": first_byte}

    @property
    def left(self) -> float:
        """Seconds of the whole."""
        return self._deadline - perf_counter()

    def answering(self) -> None:
        """The first byte came: from here on a silence is a stall."""
        self._limits["read"] = self._stall

    def __getitem__(self, name: str) -> float:
        limit, left = self._limits[name], max(self.left, 0.001)
        return left if limit is None or left < limit else limit

    def __iter__(self) -> Iterator[str]:
        return iter(self._limits)

    def __len__(self) -> int:
        return len(self._limits)


@runtime_checkable
class Warmable(Protocol):
    """A transport that can open a connection before it is needed."""

    def warm(self, request: httpx.Request) -> None: ...


class Upstream:
    """Runs flows. ``transports`` are mounted by scheme, as httpx mounts them: ``https``, ``http``, ``local``."""

    def __init__(self, transports: Mapping[str, httpx.AsyncBaseTransport]) -> None:
        self._transports = transports
        #: Deletions under way, which no caller waits for.
        self._cleaning: set[asyncio.Task[None]] = set()

    async def run(
        self, adapter: Adapter, flow: Generator[Step, httpx.Response, A], deadlines: Deadlines
    ) -> tuple[A, httpx.Response]:
        """The flow's answer and its last response, unread. The caller closes that response, on every path."""
        cleanups: list[httpx.Request] = []
        step = next(flow)
        try:
            while True:
                if isinstance(step, BufferedRequest) and step.cleanup is not None:
                    cleanups.append(step.cleanup)
                if isinstance(step, BufferedRequest) and step.wait:
                    response = await self._look(adapter, step, deadlines)
                elif isinstance(step, BufferedRequest) and step.creates:
                    response = await self._create(adapter, flow, step, deadlines)
                else:
                    response = await self._send(adapter, step, deadlines)
                try:
                    step = flow.send(response)
                except StopIteration as stop:
                    return stop.value, response
                except BaseException:
                    await response.aclose()
                    raise
                await response.aclose()
        finally:
            for request in cleanups:
                self._clean(adapter, request)

    def warm(self, request: httpx.Request) -> None:
        """Begin to open the way that a request like this one will take, where the transport can."""
        transport = self._transports.get(request.url.scheme)
        if isinstance(transport, Warmable):
            transport.warm(request)

    async def _look(self, adapter: Adapter, step: BufferedRequest, deadlines: Deadlines) -> httpx.Response:
        """One look of those that are repeated: what has been uploaded and billed is not lost by one that fails."""
        wait = step.wait
        for failed in range(FAILED_LOOKS + 1):
            if wait > deadlines.left:
                raise UpstreamUnfinished("The upstream vendor took too long to answer.")
            await asyncio.sleep(wait)
            try:
                return await self._send(adapter, step, deadlines)
            except PASSING as error:
                wait = max(step.wait, error.retry_after or 0.0)
                if failed == FAILED_LOOKS or wait > deadlines.left:
                    raise
        raise AssertionError("a loop that is left by its last round")

    async def _create(
        self, adapter: Adapter, flow: Generator[Step, httpx.Response, A], step: BufferedRequest, deadlines: Deadlines
    ) -> httpx.Response:
        sending = asyncio.ensure_future(self._send(adapter, step, deadlines))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            self._behind(self._undone(adapter, flow, sending))
            raise

    async def _undone(
        self, adapter: Adapter, flow: Generator[Step, httpx.Response, A], sending: asyncio.Future[httpx.Response]
    ) -> None:
        """Nobody waits for what is being made: it is deleted as soon as it is known."""
        with contextlib.suppress(ProxyError, StopIteration, TimeoutError):
            step = flow.send(await asyncio.wait_for(sending, MAKING_SECONDS))
            if isinstance(step, BufferedRequest) and step.cleanup is not None:
                await self._cleaned(adapter, step.cleanup)

    async def _send(self, adapter: Adapter, step: Step, deadlines: Deadlines) -> httpx.Response:
        request = step.request if isinstance(step, BufferedRequest) else step
        request.extensions["timeout"] = deadlines
        try:
            response = await self._transports[request.url.scheme].handle_async_request(request)
        except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
            raise foreign(error) from error
        response.request = request
        if isinstance(step, BufferedRequest) or not 200 <= response.status_code < 300:
            return await _read(adapter, response)
        try:
            _check_plain(response)
        except UpstreamInvalid:
            await response.aclose()
            raise
        return response

    def _clean(self, adapter: Adapter, request: httpx.Request) -> None:
        self._behind(self._cleaned(adapter, request))

    def _behind(self, cleaning: Coroutine[Any, Any, None]) -> None:
        """Do it while the caller goes on, unless too much is under way."""
        if len(self._cleaning) >= MAX_CLEANINGS:
            cleaning.close()
            return
        task = asyncio.ensure_future(cleaning)
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)

    async def _cleaned(self, adapter: Adapter, request: httpx.Request) -> None:
        """What cannot be deleted ages out at the vendor; it is no failure of the call, which is over."""
        deadlines = Deadlines(total=CLEANUP_SECONDS, first_byte=None, stall=None)
        with contextlib.suppress(ProxyError):
            await self._send(adapter, BufferedRequest(request), deadlines)

    async def aclose(self) -> None:
        if self._cleaning:
            await asyncio.wait(self._cleaning, timeout=CLEANUP_SECONDS)
        for transport in set(self._transports.values()):
            await transport.aclose()


def _check_plain(response: httpx.Response) -> None:
    """Raises UpstreamInvalid for a compressed body: nobody asked for one, and a small one may unpack to any size."""
    coding = header(response, b"content-encoding").strip().lower()
    if coding not in ("", "identity"):
        raise UpstreamInvalid("The upstream vendor compressed its answer, unasked.", detail=coding[:60])


async def _read(adapter: Adapter, response: httpx.Response) -> httpx.Response:
    """The response with its body, closed; raises the adapter's error where it is one."""
    try:
        if not 200 <= response.status_code < 300:
            raise adapter.error(response, await _beginning(response, ERROR_BYTES))
        _check_plain(response)
        content = await read_whole(response)
        return httpx.Response(response.status_code, headers=response.headers, content=content, request=response.request)
    finally:
        await response.aclose()


def stream(response: httpx.Response) -> BodyStream:
    """The body as it arrives. Raises our errors where it breaks off or stalls."""
    return BodyStream(aiter(response.stream))  # type: ignore[arg-type]


class BodyStream:
    """An iterator and no generator, for the event loop keeps a list of those."""

    __slots__ = ("_chunks",)

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    @property
    def at_end(self) -> bool:
        """Nothing more comes, as far as the transport can tell."""
        return getattr(self._chunks, "at_end", False)

    def __aiter__(self) -> BodyStream:
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
