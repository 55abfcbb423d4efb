"""One HTTP request and its answer on the hot path: limits on reading, OpenAI's errors, no broken pipes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from starlette.types import Receive, Scope, Send

from proxy.api.identity import HEADER, request_id
from proxy.api.paths import MODEL
from proxy.errors import ClientGone, ClientStalled, ProxyError, RequestTooLarge, UnsupportedMedia

#: Limits on reading the rest of a refused request.
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 30.0
DRAIN_IDLE_SECONDS = 5.0
#: For a client that sent ``expect: 100-continue`` and is refused: most do not send the body then, some already have.
DRAIN_UNSOLICITED_SECONDS = 1.0

TRAILERS = "http.response.trailers"
#: An extension of our own server: returns what ASGI's ``receive`` would return without waiting, else None.
ARRIVED = "audio_proxy.arrived"

Header = tuple[bytes, bytes]
Arrived = Callable[[], MutableMapping[str, Any] | None]


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """``body`` in bytes, ``stall`` in seconds between two pieces of a request."""

    body: int
    stall: float


class Exchange:
    """Wraps the ASGI triple of one request. Nothing is read before `read` or `body` is called."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, limits: RequestLimits) -> None:
        self._receive = receive
        self._arrived: Arrived = scope.get("extensions", {}).get(ARRIVED, _nothing)
        self._send = send
        self._limits = limits
        #: The task that serves this request.
        self.task: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        #: The model that the path names, as Azure's paths do. It takes precedence over the one in the body.
        self.model: str | None = scope.get(MODEL)
        self._identity = request_id(self.headers.get(HEADER))
        #: Bytes of the body that have been received.
        self.received = 0
        self.read_all = False
        self.started = False
        #: The answer is a stream of events, so an error may follow as an event.
        self.sends_events = False
        #: Texts of the request that the log and the ledger must not repeat.
        self.said: tuple[str, ...] = ()
        self.gone = False
        self._stalled = False
        #: Client and server support trailers.
        self._trailers = b"te" in self.headers and _wants_trailers(self.headers[b"te"], scope)
        #: Whether a piece of the answer is being written, and how many have been.
        self.writing = False
        self.written = 0

    @property
    def request_id(self) -> str:
        return self._identity.decode("ascii")

    @property
    def declared_length(self) -> int | None:
        length = self.headers.get(b"content-length", b"")
        return int(length) if length.isdigit() else None

    def check_head(self, content_type: bytes) -> None:
        """Refuse what can be refused without the body: its type, its encoding or its declared length."""
        if self.headers.get(b"content-encoding", b"identity").lower() != b"identity":
            raise UnsupportedMedia("Content-Encoding is not supported; send the body uncompressed.")
        sent = self.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if sent != content_type:
            raise UnsupportedMedia(
                f"The Content-Type must be {content_type.decode()}, not '{sent.decode('latin-1')[:80]}'."
            )
        if (self.declared_length or 0) > self._limits.body:
            raise self._too_large()

    async def read(self) -> bytes:
        """The next bytes of the body, until ``read_all``. Raises RequestTooLarge, ClientStalled or ClientGone."""
        return self._chunk_of(self._arrived() or await self._awaited())

    async def _awaited(self) -> MutableMapping[str, Any]:
        # As asyncio.timeout, but a bare timer costs less, and every call needs one.
        timer = self.task.get_loop().call_later(self._limits.stall, self._stop_waiting)
        try:
            return await self._receive()
        except asyncio.CancelledError:
            if not self._stalled:
                raise
            self.task.uncancel()
            raise ClientStalled("The request did not arrive in time.") from None
        finally:
            timer.cancel()

    def _stop_waiting(self) -> None:
        self._stalled = True
        self.task.cancel()

    async def body(self, limit: int) -> bytes:
        """The whole body, at most ``limit`` bytes."""
        parts = []
        while not self.read_all:
            parts.append(await self.read())
            if self.received > limit:
                raise RequestTooLarge(f"The body is too large; at most {limit} bytes are accepted.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _chunk_of(self, message: MutableMapping[str, Any]) -> bytes:
        if message["type"] == "http.disconnect":
            self.gone = True
            raise ClientGone("The client closed the connection.")
        chunk: bytes = message["body"]
        self.read_all = not message["more_body"]
        self.received += len(chunk)
        if self.received > self._limits.body:
            raise self._too_large()
        return chunk

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The request is too large; at most {self._limits.body} bytes are accepted.")

    async def disconnected(self) -> None:
        """Returns when the client has disconnected. Call it only after the whole body has been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True

    def start(self, status: int, headers: list[Header]) -> Awaitable[None]:
        """Begin an answer. Its head is sent with the first piece that is written, even if that is empty."""
        self.started = True
        headers.append((HEADER, self._identity))
        return self._send(
            {"type": "http.response.start", "status": status, "headers": headers, "trailers": self._trailers}
        )

    async def write(self, body: bytes, *, more: bool, trailers: Sequence[Header] = ()) -> None:
        """The next piece of the answer. ``trailers`` follow the last one if the client supports them."""
        self.writing = True
        await self._send({"type": "http.response.body", "body": body, "more_body": more})
        if self._trailers and not more:
            await self._send({"type": TRAILERS, "headers": trailers, "more_trailers": False})
        self.writing = False
        self.written += 1

    async def refuse(self, error: ProxyError, also: list[Header]) -> None:
        """Send an error. If the body is still arriving, the answer is sent first; then the rest is drained."""
        body = error.json(self.request_id)
        headers = [*error_headers(error, len(body)), *also]
        if self.read_all:
            await self.start(error.status, headers)
            await self.write(body, more=False)
            return
        await self.start(error.status, [*headers, (b"connection", b"close")])
        await self.write(body, more=True)
        if not isinstance(error, ClientStalled):
            await self._drain()
        await self.write(b"", more=False)

    async def _drain(self) -> None:
        """Read the rest, within limits: some clients read the answer only after they have sent everything."""
        is_unsolicited = b"expect" in self.headers and not self.received
        idle = DRAIN_UNSOLICITED_SECONDS if is_unsolicited else DRAIN_IDLE_SECONDS
        drained, limit = 0, max(DRAIN_BYTES, self._limits.body)
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                while drained <= limit:
                    async with asyncio.timeout(idle):
                        message = await self._receive()
                    if message["type"] == "http.disconnect" or not message["more_body"]:
                        return
                    drained += len(message["body"])
        except TimeoutError:
            logging.getLogger(__name__).debug("a refused request was not drained to its end")


def _nothing() -> None:
    return None


def _wants_trailers(te: bytes, scope: Scope) -> bool:
    return b"trailers" in te.lower() and TRAILERS in scope.get("extensions", ())


def error_headers(error: ProxyError, length: int) -> list[Header]:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % length)]
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % ceil(error.retry_after)))
    return headers
