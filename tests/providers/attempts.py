"""One attempt on a deployment within this process, for what no client sees: usage, the vendor's id, warnings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter

from proxy.audio.pool import WorkerPool
from proxy.calls import Answer, AttemptRunner, BoundDeployment
from proxy.domain.call import Attempt
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.http.transport import HTTPTransport
from proxy.upstream.client import Upstream


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


def speech_attempt(line: BoundDeployment, request: SpeechRequest) -> Attempt:
    return _attempt(line, lambda calls, attempt: calls.speech(line, request, attempt))


def transcription_attempt(line: BoundDeployment, request: TranscriptionRequest) -> Attempt:
    return _attempt(line, lambda calls, attempt: calls.transcription(line, request, attempt))


def _attempt(line: BoundDeployment, ask: Callable[[AttemptRunner, Attempt], Awaitable[Answer]]) -> Attempt:
    """As it stands when the answer has been read to its end."""

    async def main() -> Attempt:
        upstream = Upstream({"http": HTTPTransport()})
        pool = WorkerPool()
        attempt = Attempt(line.deployment.id, line.deployment.vendor, asked=perf_counter())
        try:
            answer = await ask(AttemptRunner(upstream, pool, pool), attempt)
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
