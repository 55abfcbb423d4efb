"""What attempts share: the HTTP client, workers, health."""

from __future__ import annotations

import os
from dataclasses import dataclass

from proxy.attempts.health import HealthTracker
from proxy.audio import wav
from proxy.audio.pool import WorkerPool
from proxy.audio.probe import probe
from proxy.domain.requests import Upload
from proxy.errors import InvalidAudio, Saturated
from proxy.upstream.client import Upstream


@dataclass(frozen=True, slots=True)
class Services:
    upstream: Upstream
    #: Workers that convert the audio of answers, and workers that read uploads.
    encoders: WorkerPool
    readers: WorkerPool
    health: HealthTracker
    #: Failures within a minute after which a deployment cools down, and for how many seconds.
    allowed_fails: int
    cooldown: float

    async def seconds_of(self, file: Upload) -> float | None:
        """How long the audio is; None if it cannot be read: the vendor will reject it."""
        if file.container == "wav" and (seconds := wav.seconds(file.read_at, file.size)) is not None:
            return seconds
        descriptor = _copy(file.fileno())
        try:
            info = await probe(self.readers, file.getbuffer() if descriptor is None else descriptor)
        except InvalidAudio:
            return None
        finally:
            if descriptor is not None:
                os.close(descriptor)
        return info.duration


def _copy(descriptor: int | None) -> int | None:
    """The upload may be closed, and its descriptor used for another one, while the measurement waits for a worker."""
    try:
        return None if descriptor is None else os.dup(descriptor)
    except OSError as error:
        raise Saturated("The server has too many files open. Please try again.", detail=str(error)) from error
