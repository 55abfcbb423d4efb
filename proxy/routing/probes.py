"""Probes: real but tiny calls that check deployments. One word to speak, or one second of speech to transcribe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from time import perf_counter

from proxy.attempts import AttemptRunner, HealthTracker
from proxy.domain.call import Call
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import ProxyError, UpstreamTimeout
from proxy.matching import (
    BoundDeployment,
    Rejection,
    SpeechPlan,
    TranscriptionPlan,
    match_speech,
)

CONCURRENT_PROBES = 8
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
    container: str | None = "wav"

    def __init__(self, audio: bytes) -> None:
        self._audio = audio
        self.size = len(audio)

    async def chunks(self) -> AsyncIterator[bytes]:
        yield self._audio

    def read_at(self, size: int, offset: int) -> bytes:
        return self._audio[offset : offset + size]

    def fileno(self) -> int | None:
        return None

    def getbuffer(self) -> bytes:
        return self._audio


class Probes:
    """Probes every deployment of ``groups``, a few at a time."""

    def __init__(
        self, groups: Mapping[str, Sequence[BoundDeployment]], runner: AttemptRunner, health: HealthTracker
    ) -> None:
        """``health`` is updated with the outcomes; the runner's own tracker is not used."""
        self._deployments = [(group, bound) for group, deployments in groups.items() for bound in deployments]
        self._runner = runner
        self._health = health
        self._lock = asyncio.Lock()

    async def run(self, *, cooldown: float | None = None) -> list[Outcome]:
        """``cooldown``: seconds for a deployment that fails. One that answers takes calls again at once."""
        async with self._lock:
            slots = asyncio.Semaphore(CONCURRENT_PROBES)
            probes = (self._probe(group, bound, slots, cooldown) for group, bound in self._deployments)
            return await asyncio.gather(*probes)

    async def _probe(
        self, group: str, bound: BoundDeployment, slots: asyncio.Semaphore, cooldown: float | None
    ) -> Outcome:
        async with slots:
            started = perf_counter()
            error = await self._call(bound)
        deployment = bound.deployment.id
        if error is None:
            self._health.recovered(deployment)
        elif cooldown is not None:
            self._health.cool_down(deployment, cooldown, error.kind)
        return Outcome(deployment, group, perf_counter() - started, error)

    async def _call(self, bound: BoundDeployment) -> ProxyError | None:
        plan = await _plan(bound)
        if isinstance(plan, Rejection):
            return plan.error
        started = perf_counter()
        call = Call("", "probe", started)
        try:
            async with asyncio.timeout(SECONDS):
                if isinstance(plan, SpeechPlan):
                    async with self._runner.attempt(plan, call, started + SECONDS) as speech:
                        async for _ in speech.rest:
                            pass
                else:
                    async with self._runner.attempt(plan, call, started + SECONDS):
                        pass
        except ProxyError as error:
            return error
        except TimeoutError:
            return UpstreamTimeout("The upstream vendor took too long to answer.")
        return None


async def _plan(bound: BoundDeployment) -> SpeechPlan | TranscriptionPlan | Rejection:
    deployment = bound.deployment
    if deployment.mode == Mode.SPEECH:
        voice = deployment.voice or "alloy"
        return match_speech(SpeechRequest(model=deployment.group, input=WORD, voice=voice), bound)
    audio = await asyncio.to_thread(files("proxy.routing").joinpath(CLIP).read_bytes)
    form = TranscriptionRequest(
        model=deployment.group,
        file=Clip(audio),
        task="translate" if deployment.mode == Mode.TRANSLATION else "transcribe",
    )
    # The deployment's limits are for callers: the vendor is asked, however small they are.
    return TranscriptionPlan(bound, form)
