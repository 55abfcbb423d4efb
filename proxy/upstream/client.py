"""Runs a vendor's flow over a transport, within time limits, and maps the transport's errors to ours."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Coroutine, Generator, Iterator, Mapping
from time import perf_counter
from typing import Any, Protocol, TypeVar, runtime_checkable

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
from proxy.http.errors import (
    ConnectError,
    ConnectTimeout,
    ForwardProxyError,
    InvalidURL,
    LocalProtocolError,
    PoolTimeout,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    TransportError,
    UnsupportedProtocol,
    WriteTimeout,
)
from proxy.http.messages import ByteStream, Request, Response
from proxy.http.transport import Transport
from proxy.providers.base import Adapter, BufferedRequest, Step
from proxy.providers.wire.headers import header

CONNECT_TIMEOUT = 10.0
ERROR_BYTES = 64 * 1024
WHOLE_BYTES = 64 * 1024 * 1024
#: Time limit for deleting what a flow has uploaded, and how many deletions may be in progress.
CLEANUP_SECONDS = 20.0
MAX_CLEANUPS = 256
#: How many polls of a job may fail in a row before the next failure ends it.
FAILED_POLLS = 2
#: How long to wait for the response to a step that creates something, after the caller has left.
CREATE_SECONDS = 3.0
#: Errors of a poll after which the next one may succeed.
TRANSIENT = (UpstreamInvalid, UpstreamRateLimited, UpstreamTimeout, UpstreamUnavailable, UpstreamUnreachable)

A = TypeVar("A")

_UNREACHABLE = UpstreamUnreachable, "The upstream vendor could not be reached."
_TOO_SLOW = UpstreamTimeout, "The upstream vendor took too long to answer."
#: Our error and its message for each error of a transport.
ERRORS: Mapping[type[TransportError], tuple[type[ProxyError], str]] = {
    ConnectTimeout: (UpstreamUnreachable, "The upstream vendor could not be reached in time."),
    PoolTimeout: (Saturated, "The server is handling too many calls. Please try again."),
    ReadTimeout: _TOO_SLOW,
    WriteTimeout: _TOO_SLOW,
    RemoteProtocolError: (UpstreamInvalid, "The upstream vendor's answer broke off or was malformed."),
    ConnectError: _UNREACHABLE,
    ForwardProxyError: _UNREACHABLE,
    ReadError: _UNREACHABLE,
    LocalProtocolError: _UNREACHABLE,
    UnsupportedProtocol: _UNREACHABLE,
    InvalidURL: _UNREACHABLE,
}


def mapped_error(error: TransportError | OSError) -> ProxyError:
    """Our error for a transport's error, whose text is only for the log."""
    if _is_out_of_files(error):
        return Saturated("The server has too many connections open. Please try again.", detail=str(error))
    kind, message = _UNREACHABLE if isinstance(error, OSError) else ERRORS[type(error)]
    return kind(message, detail=f"{type(error).__name__}: {error}")


def _is_out_of_files(error: BaseException | None) -> bool:
    """Whether the connection failed because of this process, not because of the vendor."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            return True
        error = error.__cause__ or error.__context__
    return False


class Deadlines(Mapping[str, float | None]):
    """The time limits of one attempt, in seconds, as `Timeouts`: a transport looks them up at each wait.

    ``first_byte`` applies until the first byte has arrived, ``stall`` from then on; neither extends past ``total``
    seconds from the start.
    """

    __slots__ = ("_deadline", "_limits", "_stall")

    def __init__(self, *, total: float, first_byte: float | None, stall: float | None) -> None:
        self._deadline = perf_counter() + total
        self._stall = stall
        self._limits = {"connect": CONNECT_TIMEOUT, "pool": CONNECT_TIMEOUT, "write": stall, "read": first_byte}

    @property
    def left(self) -> float:
        """Seconds until ``total`` is used up."""
        return self._deadline - perf_counter()

    def answering(self) -> None:
        """The first byte has arrived: ``stall`` applies from now on."""
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

    def warm(self, request: Request) -> None: ...


class Upstream:
    """Runs flows. ``transports`` are mounted by the scheme of the URL: ``https``, ``http``, ``local``, ``wss``."""

    def __init__(self, transports: Mapping[str, Transport]) -> None:
        self._transports = transports
        #: Deletions in progress, which no caller waits for.
        self._cleanups: set[asyncio.Task[None]] = set()

    async def run(
        self, adapter: Adapter, flow: Generator[Step, Response, A], deadlines: Deadlines
    ) -> tuple[A, Response]:
        """The flow's answer and its last response, unread. The caller closes that response, on every path."""
        cleanups: list[Request] = []
        step = next(flow)
        try:
            while True:
                if isinstance(step, BufferedRequest) and step.cleanup is not None:
                    cleanups.append(step.cleanup)
                if isinstance(step, BufferedRequest) and step.wait:
                    response = await self._poll(adapter, step, deadlines)
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
                self._run_in_background(self._delete(adapter, request))

    def warm(self, request: Request) -> None:
        """Begin to open a connection for a request like this one, if the transport can."""
        transport = self._transports.get(request.url.scheme)
        if isinstance(transport, Warmable):
            transport.warm(request)

    async def _poll(self, adapter: Adapter, step: BufferedRequest, deadlines: Deadlines) -> Response:
        """One of the repeated polls of a job. A failed one does not lose what has been uploaded and billed."""
        wait = step.wait
        for failed in range(FAILED_POLLS + 1):
            if wait > deadlines.left:
                raise UpstreamUnfinished("The upstream vendor took too long to answer.")
            await asyncio.sleep(wait)
            try:
                return await self._send(adapter, step, deadlines)
            except TRANSIENT as error:
                wait = max(step.wait, error.retry_after or 0.0)
                if failed == FAILED_POLLS or wait > deadlines.left:
                    raise
        raise AssertionError("the last round returns or raises")

    async def _create(
        self, adapter: Adapter, flow: Generator[Step, Response, A], step: BufferedRequest, deadlines: Deadlines
    ) -> Response:
        sending = asyncio.ensure_future(self._send(adapter, step, deadlines))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            self._run_in_background(self._undo(adapter, flow, sending))
            raise

    async def _undo(
        self, adapter: Adapter, flow: Generator[Step, Response, A], sending: asyncio.Future[Response]
    ) -> None:
        """The caller has left: delete what is being created as soon as its id is known."""
        with contextlib.suppress(ProxyError, StopIteration, TimeoutError):
            step = flow.send(await asyncio.wait_for(sending, CREATE_SECONDS))
            if isinstance(step, BufferedRequest) and step.cleanup is not None:
                await self._delete(adapter, step.cleanup)

    async def _send(self, adapter: Adapter, step: Step, deadlines: Deadlines) -> Response:
        request = step.request if isinstance(step, BufferedRequest) else step
        request.timeouts = deadlines
        try:
            response = await self._transports[request.url.scheme].send(request)
        except (TransportError, OSError) as error:
            raise mapped_error(error) from error
        response.request = request
        if isinstance(step, BufferedRequest) or not 200 <= response.status_code < 300:
            return await _read(adapter, response)
        try:
            _check_uncompressed(response)
        except UpstreamInvalid:
            await response.aclose()
            raise
        return response

    def _run_in_background(self, cleanup: Coroutine[Any, Any, None]) -> None:
        """Nobody waits for it. It is dropped if too many are in progress."""
        if len(self._cleanups) >= MAX_CLEANUPS:
            cleanup.close()
            return
        task = asyncio.ensure_future(cleanup)
        self._cleanups.add(task)
        task.add_done_callback(self._cleanups.discard)

    async def _delete(self, adapter: Adapter, request: Request) -> None:
        """The call is over, so a failed deletion does not fail it; the vendor drops the upload eventually."""
        deadlines = Deadlines(total=CLEANUP_SECONDS, first_byte=None, stall=None)
        with contextlib.suppress(ProxyError):
            await self._send(adapter, BufferedRequest(request), deadlines)

    async def aclose(self) -> None:
        if self._cleanups:
            await asyncio.wait(self._cleanups, timeout=CLEANUP_SECONDS)
        for transport in set(self._transports.values()):
            await transport.aclose()


def _check_uncompressed(response: Response) -> None:
    """Raises UpstreamInvalid for a compressed body, which was not requested and may expand to any size."""
    coding = header(response, b"content-encoding").strip().lower()
    if coding not in ("", "identity"):
        raise UpstreamInvalid("The upstream vendor compressed its answer without being asked to.", detail=coding[:60])


async def _read(adapter: Adapter, response: Response) -> Response:
    """The response with its whole body, closed. Raises the adapter's error if the response is one."""
    try:
        if not 200 <= response.status_code < 300:
            raise adapter.error(response, await _start_of_body(response, ERROR_BYTES))
        _check_uncompressed(response)
        content = await read_whole(response)
    finally:
        await response.aclose()
    response.body = content
    return response


def stream(response: Response) -> BodyStream:
    """The body as it arrives. Raises our errors if it breaks off or stalls."""
    return BodyStream(response.stream)


class BodyStream:
    """An iterator rather than a generator, because the event loop tracks each asynchronous generator."""

    __slots__ = ("_chunks", "_stream")

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._chunks = aiter(stream)

    @property
    def at_end(self) -> bool:
        """Whether the transport knows already that no further bytes will follow."""
        return self._stream.at_end

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await self._chunks.__anext__()
        except (TransportError, OSError) as error:
            raise mapped_error(error) from error


async def read_whole(response: Response, limit: int = WHOLE_BYTES) -> bytes:
    """The whole body. Raises UpstreamInvalid if it is larger than ``limit`` bytes."""
    return await gathered(stream(response), limit)


async def gathered(chunks: AsyncIterator[bytes], limit: int = WHOLE_BYTES) -> bytes:
    """As `read_whole`, for a body of which the first bytes may have been read."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise UpstreamInvalid("The upstream vendor's answer is too large.", detail=f"more than {limit} bytes")
    return bytes(body)


async def _start_of_body(response: Response, limit: int) -> bytes:
    """At most ``limit`` bytes of an error document, or what has arrived if it breaks off."""
    body = bytearray()
    try:
        async for chunk in stream(response):
            body += chunk
            if len(body) >= limit:
                break
    except ProxyError:
        pass
    return bytes(body[:limit])
