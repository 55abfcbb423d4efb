"""How busy, fast and healthy each deployment is. A reload resets only deployments whose server or key changed."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter

from proxy.domain.call import Attempt
from proxy.errors import (
    ProxyError,
    UpstreamCredentials,
    UpstreamError,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
)

MINUTE = 60.0
#: Weight of the newest measurement in the smoothed ones.
NEWEST_WEIGHT = 0.2
#: First-byte times that are stored for percentiles, and how many are needed for one.
SAMPLES, ENOUGH_SAMPLES = 200, 20
#: Seconds of cooldown for a deployment that is disabled.
DISABLED_SECONDS = 600.0
MAX_COOLDOWN = 3600.0
#: The vendor's codes that disable a deployment: no call can succeed before the operator fixes the cause.
DISABLING_CODES = frozenset({UpstreamCredentials.code, "insufficient_quota", "model_not_found"})


@dataclass(slots=True)
class DeploymentHealth:
    """One deployment. Times are seconds of the tracker's clock."""

    in_flight: int = 0
    #: Smoothed seconds to the first byte; None before the first answer.
    first_byte: float | None = None
    #: Smoothed seconds of audio transcribed per second.
    speed: float | None = None
    samples: deque[float] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    requests: deque[float] = field(default_factory=deque)
    fails: deque[float] = field(default_factory=deque)
    cooldown_until: float = 0.0
    #: The cooldown is over but no call has succeeded since: one call, ``trial``, may try it.
    half_open: bool = False
    trial: Attempt | None = None
    reason: str = ""
    #: Failures of attempts that began earlier say nothing about it. On the clock of `Attempt`.
    since: float = -math.inf

    def percentile_95(self) -> float | None:
        """The 95th percentile of the seconds to the first byte; None if too few are known."""
        if len(self.samples) < ENOUGH_SAMPLES:
            return None
        return sorted(self.samples)[int(len(self.samples) * 0.95)]


class HealthTracker:
    """The health of deployments, by their ids."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, alarm: Callable[[str, str, float], None] = lambda *_: None
    ) -> None:
        """``alarm`` gets a deployment's id, why it cools down and for how many seconds."""
        self.clock = clock
        self._alarm = alarm
        self._states: dict[str, DeploymentHealth] = {}

    def __getitem__(self, deployment: str) -> DeploymentHealth:
        state = self._states.get(deployment)
        if state is None:
            state = self._states[deployment] = DeploymentHealth()
        return state

    def is_cooling_down(self, deployment: str) -> bool:
        """Whether it should be avoided: it cools down, or another call is on trial with it."""
        state = self[deployment]
        return self.clock() < state.cooldown_until or state.trial is not None

    def is_disabled(self, deployment: str) -> bool:
        """Whether it cools down because its key is refused, its quota is used up or its model is gone."""
        return self[deployment].reason in DISABLING_CODES and self.is_cooling_down(deployment)

    def requests_last_minute(self, deployment: str) -> int:
        requests, since = self[deployment].requests, self.clock() - MINUTE
        while requests and requests[0] <= since:
            requests.popleft()
        return len(requests)

    def started(self, deployment: str, attempt: Attempt, *, counted: bool) -> None:
        """An attempt has been created. ``counted``: store the time, for a limit on requests per minute."""
        state = self[deployment]
        state.in_flight += 1
        if state.half_open and not self.is_cooling_down(deployment):
            state.trial = attempt
        if counted:
            state.requests.append(self.clock())

    def ended(self, deployment: str, attempt: Attempt) -> None:
        """The attempt is over, however it ended."""
        state = self[deployment]
        state.in_flight -= 1
        if state.trial is attempt:
            state.trial = None

    def answered(self, deployment: str, attempt: Attempt) -> None:
        """The first byte has arrived."""
        state = self[deployment]
        if state.trial is attempt:
            state.half_open, state.trial = False, None
        seconds = attempt.seconds
        if seconds is None:
            return
        state.samples.append(seconds)
        state.first_byte = _smoothed(state.first_byte, seconds)
        if attempt.audio_seconds and seconds > 0:
            state.speed = _smoothed(state.speed, attempt.audio_seconds / seconds)

    def failed(
        self, deployment: str, attempt: Attempt, error: ProxyError, *, allowed_fails: int, cooldown: float
    ) -> None:
        """The attempt failed; the deployment cools down if the kind or the number of failures requires it."""
        if not isinstance(error, UpstreamError) or isinstance(error, UpstreamRejected):
            return
        state = self[deployment]
        if attempt.started < state.since:
            return
        if error.code in DISABLING_CODES:
            self.cool_down(deployment, max(DISABLED_SECONDS, cooldown), str(error.code))
        elif isinstance(error, UpstreamNotFound):
            return
        elif isinstance(error, UpstreamRateLimited):
            self.cool_down(deployment, cooldown if error.retry_after is None else error.retry_after, error.kind)
        elif state.trial is attempt:
            self.cool_down(deployment, cooldown, error.kind)
        else:
            now = self.clock()
            state.fails.append(now)
            while state.fails[0] <= now - MINUTE:
                state.fails.popleft()
            if len(state.fails) > allowed_fails:
                self.cool_down(deployment, cooldown, error.kind)

    def cool_down(self, deployment: str, seconds: float, reason: str) -> None:
        """Does not shorten a cooldown. The alarm is raised once for each reason."""
        state, now = self[deployment], self.clock()
        seconds = min(seconds, MAX_COOLDOWN)
        state.half_open, state.trial = True, None
        state.fails.clear()
        if now + seconds <= state.cooldown_until:
            return
        is_known = now < state.cooldown_until and state.reason == reason
        state.cooldown_until, state.reason = now + seconds, reason
        if not is_known:
            self._alarm(deployment, reason, seconds)

    def recovered(self, deployment: str) -> None:
        """A probe succeeded: the deployment takes calls again."""
        state = self[deployment]
        state.cooldown_until, state.half_open, state.trial, state.reason = 0.0, False, None, ""
        state.fails.clear()

    def renew(self, deployment: str) -> None:
        """Its calls go elsewhere from now on, or with another key: only the number of running ones is kept."""
        self._states[deployment] = DeploymentHealth(in_flight=self[deployment].in_flight, since=perf_counter())


def _smoothed(known: float | None, measured: float) -> float:
    return measured if known is None else known + NEWEST_WEIGHT * (measured - known)
