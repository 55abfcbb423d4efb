"""A long text spoken in pieces, one request after the other, as one stream of sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from proxy.attempts.opened import OpenedStream
from proxy.audio.codec import SPEECH_RATE
from proxy.domain.results import ResponseMetadata
from proxy.domain.usage import Usage, total
from proxy.errors import UpstreamError, UpstreamInvalid
from proxy.tasks import cancel_all

#: How often a later piece is requested. The router retries the first one.
TRIES = 2
#: Seconds before the second try if the vendor does not say, and the longest pause that it may request: earlier pieces
#: are still playing, and a long text soon reaches a vendor's limit on requests.
PAUSE, MAX_PAUSE = 0.2, 10.0
#: Seconds more than the vendor asks for: a timer may fire a little early.
MARGIN = 0.02


class OpenPiece(Protocol):
    def __call__(self, text: str, *, first: bool) -> Coroutine[Any, Any, OpenedStream]: ...


class ChunkedSpeech:
    """While a piece streams, the next one is opened: only one, and only its first bytes are read.

    ``open_piece`` requests one text; ``decode`` converts formats other than pcm to s16le mono at a rate. As
    `ResponseMetadata` it is the sum over all pieces. Call ``start`` first, then ``samples``, and close that.
    """

    def __init__(
        self, open_piece: OpenPiece, decode: Callable[[OpenedStream, int], AsyncGenerator[bytes]], texts: Sequence[str]
    ) -> None:
        self._open = open_piece
        self._decode = decode
        self._texts = texts
        self._metadata: list[ResponseMetadata] = []
        #: Samples per second.
        self.rate = SPEECH_RATE

    async def start(self) -> None:
        """Open the first piece; the caller closes its response."""
        self._first = await self._open(self._texts[0], first=True)
        if self._first.format == "pcm":
            self.rate = self._first.rate
        self._note(self._first)

    async def samples(self) -> AsyncGenerator[bytes]:
        """s16le, mono. Raises the error of the first piece that fails."""
        current, ahead = self._first, None
        try:
            for text in (*self._texts[1:], None):
                ahead = asyncio.ensure_future(self._open_later(text)) if text is not None else None
                async with aclosing(self._pcm(current)) as pcm:
                    async for data in pcm:
                        yield data
                await current.response.aclose()
                if ahead is not None:
                    current, ahead = await ahead, None
                    self._note(current)
        finally:
            await current.response.aclose()
            if ahead is not None:
                await _close_unused(ahead)

    async def _open_later(self, text: str) -> OpenedStream:
        tries = 1
        while True:
            try:
                return await self._open(text, first=False)
            except UpstreamError as error:
                pause = error.retry_after or PAUSE
                if tries == TRIES or not error.retryable or pause > MAX_PAUSE:
                    raise
            await asyncio.sleep(pause + MARGIN)
            tries += 1

    def _pcm(self, piece: OpenedStream) -> AsyncGenerator[bytes]:
        if piece.format != "pcm" or piece.channels != 1:
            return self._decode(piece, self.rate)
        if piece.rate != self.rate:
            raise UpstreamInvalid(
                "The upstream vendor changed the sample rate within one answer.",
                detail=f"{self.rate} Hz, then {piece.rate} Hz",
            )
        return _whole_samples(piece.first, piece.chunks)

    # -- metadata ------------------------------------------------------------------------------------------------------

    def _note(self, piece: OpenedStream) -> None:
        if piece.metadata is not None:
            self._metadata.append(piece.metadata)

    @property
    def usage(self) -> Usage | None:
        return total(metadata.usage for metadata in self._metadata)

    @property
    def warnings(self) -> Sequence[str]:
        return list(dict.fromkeys(warning for metadata in self._metadata for warning in metadata.warnings))


async def _whole_samples(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Drops half a sample at the end, which would turn all that follows into noise."""
    data = first
    while True:
        whole = len(data) // 2 * 2
        if whole:
            yield data[:whole]
        chunk = await anext(chunks, None)
        if chunk is None:
            return
        data = data[whole:] + chunk


async def _close_unused(opening: asyncio.Future[OpenedStream]) -> None:
    (outcome,) = await cancel_all([opening])
    if isinstance(outcome, OpenedStream):
        await outcome.response.aclose()
