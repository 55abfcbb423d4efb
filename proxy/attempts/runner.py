"""Creates attempts."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any, TypeVar

from proxy.attempts.attempt import RunningAttempt
from proxy.attempts.health import HealthTracker
from proxy.attempts.services import Services
from proxy.attempts.speech import SpeechAttempt
from proxy.attempts.text_translation import TextTranslationAttempt
from proxy.attempts.transcription import TranscriptionAttempt
from proxy.audio.pool import WorkerPool
from proxy.domain.call import Attempt, Call
from proxy.domain.requests import Upload
from proxy.errors import Overloaded
from proxy.matching import BoundDeployment, Plan, SpeechPlan, TextTranslationPlan, TranscriptionPlan
from proxy.providers.voices import Voice
from proxy.upstream.client import Deadlines, Upstream

R = TypeVar("R")

#: Seconds within which a vendor has to send its list of voices.
VOICES_SECONDS = 5.0
_ATTEMPTS: Mapping[type[Plan[Any]], Any] = {
    SpeechPlan: SpeechAttempt,
    TranscriptionPlan: TranscriptionAttempt,
    TextTranslationPlan: TextTranslationAttempt,
}


class AttemptRunner:
    """``encoders`` are the workers that convert the audio of answers; ``readers`` read uploads.

    After more than ``allowed_fails`` failures within a minute a deployment cools down for ``cooldown`` seconds.
    """

    def __init__(
        self,
        upstream: Upstream,
        encoders: WorkerPool,
        readers: WorkerPool,
        health: HealthTracker | None = None,
        *,
        allowed_fails: int = 0,
        cooldown: float = 0.0,
    ) -> None:
        self._services = Services(upstream, encoders, readers, health or HealthTracker(), allowed_fails, cooldown)

    @property
    def health(self) -> HealthTracker:
        return self._services.health

    def attempt(self, plan: Plan[R], call: Call, deadline: float | None = None) -> RunningAttempt[R]:
        """``deadline`` for the whole call, in seconds of ``time.perf_counter``; None: the deployment's own timeout."""
        deployment = plan.bound.deployment
        record = Attempt(deployment.id, deployment.vendor, perf_counter())
        call.attempts.append(record)
        seconds_left = None if deadline is None else deadline - record.started
        attempt: RunningAttempt[R] = _ATTEMPTS[type(plan)](self._services, plan, record, seconds_left)
        return attempt

    def warm(self, plan: SpeechPlan) -> None:
        """Start to open the socket that the plan will need, if its vendor is reached through one."""
        request = plan.bound.adapter.opening(plan.request)
        if request is not None:
            self._services.upstream.warm(request)

    async def voices(self, bound: BoundDeployment) -> tuple[Voice, ...] | None:
        """The vendor's public voices, live; None if it does not list them. Raises a ProxyError."""
        flow = bound.adapter.voices()
        if flow is None:
            return None
        deadlines = Deadlines(total=VOICES_SECONDS, first_byte=None, stall=None)
        voices, response = await self._services.upstream.run(bound.adapter, flow, deadlines)
        await response.aclose()
        return voices

    async def seconds_of(self, file: Upload) -> float | None:
        """How long the audio is; None if it cannot be read, or not now: the vendor will reject what is too long."""
        try:
            return await self._services.seconds_of(file)
        except Overloaded:
            return None
