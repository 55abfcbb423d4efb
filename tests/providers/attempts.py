"""One attempt on a deployment within this process, for what no client sees: usage, the vendor's id, warnings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from proxy.audio.pool import Pool
from proxy.calls import Answer, Calls, Line
from proxy.records import Attempt, SpeechRequest, TranscriptionRequest
from proxy.upstream.client import Upstream
from proxy.upstream.transport import HTTPTransport


@dataclass(frozen=True)
class Held:
    """An upload that lies in memory."""

    content: bytes
    filename: str = "a.wav"
    content_type: str = "audio/wav"

    @property
    def size(self) -> int:
        return len(self.content)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.content

    def fileno(self) -> int | None:
        return None

    def getbuffer(self) -> bytes:
        return self.content


def speech_attempt(line: Line, request: SpeechRequest) -> Attempt:
    return _attempt(line, lambda calls, attempt: calls.speech(line, request, attempt))


def transcription_attempt(line: Line, request: TranscriptionRequest) -> Attempt:
    return _attempt(line, lambda calls, attempt: calls.transcription(line, request, attempt))


def _attempt(line: Line, ask: Callable[[Calls, Attempt], Awaitable[Answer]]) -> Attempt:
    """As it stands when the answer has been read to its end."""

    async def main() -> Attempt:
        upstream = Upstream({"http": HTTPTransport()})
        pool = Pool()
        attempt = Attempt(line.deployment.id, line.deployment.vendor, asked=perf_counter())
        try:
            answer = await ask(Calls(upstream, pool, pool), attempt)
            answer.attempt = attempt
            async for _ in answer.rest or _nothing():
                pass
            await answer.aclose()
        finally:
            await upstream.aclose()
            await pool.aclose()
        return attempt

    return asyncio.run(main())


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
