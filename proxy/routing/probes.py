"""Real, tiny calls to the vendors: a word of speech, a second of speech to transcribe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from time import perf_counter

from proxy.calls import Answer, AttemptRunner, BoundDeployment
from proxy.domain.call import Attempt
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import ProxyError, UpstreamTimeout
from proxy.routing.health import HealthTracker

AT_A_TIME = 8
SECONDS = 30.0
WORD = "Hello."
#: A second of speech: 16 kHz, mono, s16le, made with espeak-ng.
CLIP = "hello.wav"


@dataclass(frozen=True, slots=True)
class Outcome:
    deployment: str
    group: str
    #: Seconds to the end of the answer.
    seconds: float
    error: ProxyError | None


class Clip:
    """The second of speech, as an upload."""

    filename = CLIP
    content_type = "audio/wav"

    def __init__(self, audio: bytes) -> None:
        self._audio = audio
        self.size = len(audio)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._audio

    def fileno(self) -> int | None:
        return None

    def getbuffer(self) -> bytes:
        return self._audio


class Probes:
    """Asks every deployment of ``groups``, some at a time."""

    def __init__(
        self, groups: Mapping[str, Sequence[BoundDeployment]], calls: AttemptRunner, health: HealthTracker
    ) -> None:
        self._lines = [(group, line) for group, lines in groups.items() for line in lines]
        self._calls = calls
        self._fleet = health
        self._one_at_a_time = asyncio.Lock()

    async def run(self, *, rest: float | None = None) -> list[Outcome]:
        """``rest``: seconds that a deployment is left alone which fails; one that answers is back at once."""
        async with self._one_at_a_time:
            return await self._run(rest)

    async def _run(self, rest: float | None) -> list[Outcome]:
        turns = asyncio.Semaphore(AT_A_TIME)
        return await asyncio.gather(*(self._probe(group, line, turns, rest) for group, line in self._lines))

    async def _probe(self, group: str, line: BoundDeployment, turns: asyncio.Semaphore, rest: float | None) -> Outcome:
        async with turns:
            began = perf_counter()
            error = await self._ask(line)
        deployment = line.deployment.id
        if error is None:
            self._fleet.recovered(deployment)
        elif rest is not None:
            self._fleet.rest(deployment, rest, error.kind)
        return Outcome(deployment, group, perf_counter() - began, error)

    async def _ask(self, line: BoundDeployment) -> ProxyError | None:
        attempt = Attempt(line.deployment.id, line.deployment.vendor, asked=perf_counter())
        try:
            async with asyncio.timeout(SECONDS):
                answer = await self._call(line, attempt)
                try:
                    await _read_to_the_end(answer)
                finally:
                    await answer.aclose()
        except ProxyError as error:
            return error
        except TimeoutError:
            return UpstreamTimeout("The upstream vendor took too long to answer.")
        return None

    async def _call(self, line: BoundDeployment, attempt: Attempt) -> Answer:
        deployment = line.deployment
        if deployment.mode == Mode.SPEECH:
            voice = deployment.voice or "alloy"
            speech = SpeechRequest(model=deployment.group, input=WORD, voice=voice)
            return await self._calls.speech(line, speech, attempt, SECONDS)
        audio = await asyncio.to_thread(files("proxy.routing").joinpath(CLIP).read_bytes)
        form = TranscriptionRequest(
            model=deployment.group,
            file=Clip(audio),
            task="translate" if deployment.mode == Mode.TRANSLATION else "transcribe",
        )
        return await self._calls.transcription(line, form, attempt, SECONDS)


async def _read_to_the_end(answer: Answer) -> None:
    if answer.rest is not None:
        async for _ in answer.rest:
            pass
