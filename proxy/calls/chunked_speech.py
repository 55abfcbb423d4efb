"""A long text spoken in pieces, one request after the other, as one stream of sound."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol

import httpx

from proxy.audio.codec import SPEECH_RATE
from proxy.calls.speech import OpenedStream
from proxy.domain.usage import Usage, total
from proxy.errors import UpstreamError, UpstreamInvalid
from proxy.providers.base import ResponseMetadata

#: How often a later piece is asked for. The first one is the router's to ask again, of another deployment perhaps.
TRIES = 2
#: Seconds before the second time, where the vendor names none, and the most that it may name: what comes before still
#: plays, and a vendor's limit on requests is soon reached by a long text.
PAUSE, MAX_PAUSE = 0.2, 10.0


class OpenPiece(Protocol):
    def __call__(self, text: str, *, first: bool) -> Coroutine[Any, Any, OpenedStream]: ...


class ChunkedSpeech:
    """While a piece streams, the next one is begun: no more than one, and no more of it is read than its first bytes.

    ``begin`` asks for one text; ``decoded`` turns what is no pcm into s16le mono at a rate. As `ResponseMetadata`,
    the sum of what was said about each piece. ``start`` comes first, then ``samples``, which is to be closed.
    """

    def __init__(
        self, begin: OpenPiece, decoded: Callable[[OpenedStream, int], AsyncGenerator[bytes]], texts: Sequence[str]
    ) -> None:
        self._begin = begin
        self._decoded = decoded
        self._texts = texts
        self._remarks: list[ResponseMetadata] = []
        #: Samples a second.
        self.rate = SPEECH_RATE

    async def start(self) -> httpx.Response:
        """The first piece's response, for the caller to close."""
        self._first = await self._begin(self._texts[0], first=True)
        if self._first.format == "pcm":
            self.rate = self._first.rate
        self._note(self._first)
        return self._first.response

    async def samples(self) -> AsyncGenerator[bytes]:
        """s16le, mono. Raises what the first failing piece raises."""
        current, ahead = self._first, None
        try:
            for text in (*self._texts[1:], None):
                ahead = asyncio.ensure_future(self._begin_later(text)) if text is not None else None
                async with aclosing(self._sound(current)) as sound:
                    async for data in sound:
                        yield data
                await current.response.aclose()
                if ahead is not None:
                    current, ahead = await ahead, None
                    self._note(current)
        finally:
            await current.response.aclose()
            if ahead is not None:
                await _let_go(ahead)

    async def _begin_later(self, text: str) -> OpenedStream:
        tries = 1
        while True:
            try:
                return await self._begin(text, first=False)
            except UpstreamError as error:
                pause = error.retry_after or PAUSE
                if tries == TRIES or not error.retryable or pause > MAX_PAUSE:
                    raise
            await asyncio.sleep(pause)
            tries += 1

    def _sound(self, piece: OpenedStream) -> AsyncGenerator[bytes]:
        if not piece.format:
            raise UpstreamInvalid("The upstream vendor sent events where audio was due.")
        if piece.format != "pcm":
            return self._decoded(piece, self.rate)
        if piece.rate != self.rate:
            raise UpstreamInvalid(
                "The upstream vendor's audio changed on the way.", detail=f"{self.rate} Hz, then {piece.rate} Hz"
            )
        return _whole_samples(piece.first, piece.chunks)

    # -- remarks -------------------------------------------------------------------------------------------------------

    def _note(self, piece: OpenedStream) -> None:
        if piece.metadata is not None:
            self._remarks.append(piece.metadata)

    @property
    def usage(self) -> Usage | None:
        return total(metadata.usage for metadata in self._remarks)

    @property
    def warnings(self) -> Sequence[str]:
        return list(dict.fromkeys(warning for metadata in self._remarks for warning in metadata.warnings))


async def _whole_samples(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    """Without half a sample at the end, which would turn all that follows into noise."""
    data = first
    while True:
        whole = len(data) // 2 * 2
        if whole:
            yield data[:whole]
        chunk = await anext(chunks, None)
        if chunk is None:
            return
        data = data[whole:] + chunk


async def _let_go(ahead: asyncio.Future[OpenedStream]) -> None:
    ahead.cancel()
    (outcome,) = await asyncio.gather(ahead, return_exceptions=True)
    if isinstance(outcome, OpenedStream):
        await outcome.response.aclose()
