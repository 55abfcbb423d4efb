"""Speech as the functions return it: complete, or as a stream."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx
from anyio.from_thread import BlockingPortal, start_blocking_portal

from proxy.domain.call import Attempt
from proxy.domain.results import Headers
from proxy.errors import BadRequest
from proxy.render.body import RenderedBody
from proxy.sdk.costs import CostTracker
from proxy.sdk.documents import Document

StrPath = str | os.PathLike[str]


class Speech:
    """Complete speech: all methods work with and without an event loop.

    With ``stream=True`` it is a stream: read it once, with the methods of the function's kind (``a…`` after
    ``aspeech``), and close it, preferably by ``with`` or ``async with``. `content` is there after `read` or `aread`.
    """

    def __init__(
        self, content_type: str, headers: httpx.Headers, content: bytes | None = None, costs: CostTracker | None = None
    ) -> None:
        self.content_type = content_type
        self._costs = costs
        #: The vendor's: content type, request id, rate limits.
        self.headers = headers
        self._content = content
        self._usage = Document(usage) if content and (usage := _usage(content_type, content)) else None
        self._taken = False
        self._closed = False

    @property
    def content(self) -> bytes:
        if self._content is None:
            raise BadRequest(
                "The stream of speech has already been read."
                if self._taken
                else "The stream of speech has not been read yet.",
                code="stream_consumed" if self._taken else "stream_not_read",
            )
        return self._content

    @property
    def usage(self) -> Document | None:
        """What the vendor reports at the end; OpenAI only with ``stream_format="sse"``."""
        return self._usage

    @property
    def cost(self) -> Decimal | None:
        """USD; None if it is not known. Of a stream, it is known after its end, or once it is closed."""
        return self._costs.cost if self._costs is not None else None

    def read(self) -> bytes:
        return self.content

    async def aread(self) -> bytes:
        return self.content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        """Pieces of ``chunk_size`` bytes, except the last one; None: as they arrive."""
        cutter = _Cutter(chunk_size)
        yield from cutter.feed(self.content)
        yield from cutter.end()

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        for piece in Speech.iter_bytes(self, chunk_size):
            yield piece

    def stream_to_file(self, path: StrPath) -> None:
        """The file is created or replaced when all of it is there. Raises OSError as ``open`` does."""
        with _saved(path) as file:
            for piece in self.iter_bytes():
                file.write(piece)

    async def astream_to_file(self, path: StrPath) -> None:
        """As `stream_to_file`; a thread writes to the disk."""
        with _saved(path) as file:
            async for piece in self.aiter_bytes():
                await asyncio.to_thread(file.write, piece)

    def close(self) -> None:
        """End the call, read or not. What has been read remains available."""

    async def aclose(self) -> None:
        """As `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        size = "stream" if self._content is None else f"{len(self._content)} bytes"
        return f"<Speech {self.content_type}, {size}>"

    def _take(self) -> None:
        """A stream can be read once, and only while it is open."""
        if self._taken:
            raise BadRequest("The stream of speech has already been read.", code="stream_consumed")
        self._check_open()
        self._taken = True

    def _check_open(self) -> None:
        if self._closed:
            raise BadRequest("The stream of speech was closed before its end.", code="stream_closed")

    def _warn_if_open(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"{self!r} was not closed", ResourceWarning, stacklevel=2, source=self)


class AsyncStream(Speech):
    """Speech as it arrives, in the caller's event loop."""

    def __init__(self, body: RenderedBody, headers: httpx.Headers, costs: CostTracker, stack: AsyncExitStack) -> None:
        super().__init__(body.content_type, headers, costs=costs)
        self._body = body
        self._stack = stack

    async def aread(self) -> bytes:
        if self._content is None:
            self._content = b"".join([chunk async for chunk in self.aiter_bytes()])
        return self._content

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncIterator[bytes]:
        if self._content is not None:
            async for piece in super().aiter_bytes(chunk_size):
                yield piece
            return
        self._take()
        cutter = _Cutter(chunk_size)
        try:
            async for chunk in chunks_of(self._body):
                if usage := _usage(self.content_type, chunk):
                    self._usage = Document(usage)
                for piece in cutter.feed(chunk):
                    yield piece
                    self._check_open()
            for piece in cutter.end():
                yield piece
        finally:
            await self.aclose()

    @property
    def cost(self) -> Decimal | None:
        return super().cost if self._closed else None

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            await self._stack.aclose()

    def __del__(self) -> None:
        self._warn_if_open()


class BlockingStream(Speech):
    """Speech as it arrives, for callers without an event loop: one runs in a thread until the answer is closed."""

    def __init__(self, inner: Speech, portal: BlockingPortal, stack: ExitStack) -> None:
        super().__init__(inner.content_type, inner.headers)
        self._inner = inner
        self._portal = portal
        self._stack = stack

    @classmethod
    def open(cls, call: Callable[[], Awaitable[Speech]]) -> BlockingStream:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal(name="proxy-speech"))
            inner = portal.call(call)
            stack.callback(portal.call, inner.aclose)
            return cls(inner, portal, stack.pop_all())

    @property
    def usage(self) -> Document | None:
        return self._inner.usage

    @property
    def cost(self) -> Decimal | None:
        return self._inner.cost

    def read(self) -> bytes:
        if self._content is None:
            self._content = b"".join(self.iter_bytes())
        return self._content

    def iter_bytes(self, chunk_size: int | None = None) -> Iterator[bytes]:
        if self._content is not None:
            yield from super().iter_bytes(chunk_size)
            return
        self._take()
        pieces = self._inner.aiter_bytes(chunk_size)
        try:
            while (piece := self._portal.call(_next, pieces)) is not None:
                yield piece
                self._check_open()
        finally:
            self.close()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._stack.close()

    def __del__(self) -> None:
        self._warn_if_open()


async def chunks_of(body: RenderedBody) -> AsyncIterator[bytes]:
    if body.first:
        yield body.first
    if body.rest is not None:
        async for chunk in body.rest:
            yield chunk


def headers_of(body: RenderedBody, headers: Headers, attempt: Attempt) -> httpx.Headers:
    """The vendor's headers that callers read, with its request id."""
    result = httpx.Headers([(b"content-type", body.content_type.encode("latin-1")), *headers])
    if attempt.upstream_id:
        result["x-request-id"] = attempt.upstream_id
    return result


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)


def _usage(content_type: str, data: bytes) -> dict[str, Any] | None:
    """The usage in the last of OpenAI's events; None if ``data`` has no such event."""
    if not content_type.startswith("text/event-stream") or b'"speech.audio.done"' not in data:
        return None
    for line in data.splitlines():
        if line.startswith(b"data:") and b'"speech.audio.done"' in line:
            with suppress(ValueError):
                usage = json.loads(line[5:]).get("usage")
                return usage if isinstance(usage, dict) else None
    return None


class _Cutter:
    """Cuts chunks of any size into pieces of one size."""

    def __init__(self, size: int | None) -> None:
        if size is not None and size < 1:
            raise BadRequest("'chunk_size' must be 1 or more.", param="chunk_size")
        self._size = size
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        if self._size is None:
            yield data
            return
        data = self._rest + data
        whole = len(data) - len(data) % self._size
        for start in range(0, whole, self._size):
            yield data[start : start + self._size]
        self._rest = data[whole:]

    def end(self) -> Iterator[bytes]:
        if self._rest:
            yield self._rest


@contextmanager
def _saved(path: StrPath) -> Iterator[IO[bytes]]:
    """A file that gets its name when it is complete. A device or pipe is written to directly."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with target.open("wb") as file:
            yield file
        return
    part = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
