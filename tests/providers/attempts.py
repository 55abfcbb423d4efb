"""One attempt on a deployment within this process, for what no client sees: usage, the vendor's id, warnings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from time import perf_counter

from proxy.attempts import AttemptRunner
from proxy.audio.container import container_of
from proxy.audio.pool import WorkerPool
from proxy.domain.call import Attempt, Call
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.domain.results import SpeechResult
from proxy.http.transport import HTTPTransport
from proxy.matching import (
    BoundDeployment,
    Rejection,
    SpeechPlan,
    TranscriptionPlan,
    match_speech,
    match_transcription,
)
from proxy.upstream.client import Upstream


@dataclass(frozen=True)
class Held:
    """An upload that lies in memory."""

    content: bytes
    filename: str = "a.wav"
    content_type: str = "audio/wav"

    @property
    def container(self) -> str | None:
        return container_of(self.read_at)

    @property
    def size(self) -> int:
        return len(self.content)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self.content

    def read_at(self, size: int, offset: int) -> bytes:
        return self.content[offset : offset + size]

    def fileno(self) -> int | None:
        return None

    def getbuffer(self) -> bytes:
        return self.content


def speech_attempt(line: BoundDeployment, request: SpeechRequest) -> Attempt:
    return _attempt(match_speech(request, line))


def transcription_attempt(line: BoundDeployment, request: TranscriptionRequest) -> Attempt:
    return _attempt(match_transcription(request, line))


def _attempt(plan: SpeechPlan | TranscriptionPlan | Rejection) -> Attempt:
    """As it stands when the answer has been read to its end."""
    assert not isinstance(plan, Rejection)

    async def main() -> Attempt:
        upstream = Upstream({"http": HTTPTransport()})
        pool = WorkerPool()
        attempt = AttemptRunner(upstream, pool, pool).attempt(plan, Call("", "", perf_counter()))
        try:
            async with attempt as result:
                rest = result.rest if isinstance(result, SpeechResult) else getattr(result.content, "rest", None)
                async for _ in rest or _nothing():
                    pass
        finally:
            await upstream.aclose()
            await pool.aclose()
        return attempt.record

    return asyncio.run(main())


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
