"""How the deployments of a group are ranked: one small class for each strategy, in one table."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from proxy.attempts import HealthTracker
from proxy.domain.requests import Mode
from proxy.matching import BoundDeployment


class Strategy(Protocol):
    def rank(self, bound: BoundDeployment) -> float:
        """The deployment with the lowest rank is chosen. Ranks are computed for each attempt."""


class SimpleShuffle:
    """Random, in proportion to ``weight`` (1 if missing; 0 comes last)."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        pass

    def rank(self, bound: BoundDeployment) -> float:
        weight = 1.0 if bound.deployment.weight is None else bound.deployment.weight
        # Of exponential variates, each is the smallest with a probability in proportion to its rate.
        return random.expovariate(weight) if weight > 0 else float("inf")


class LeastBusy:
    """The fewest calls in flight."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._health = health

    def rank(self, bound: BoundDeployment) -> float:
        return self._health[bound.deployment.id].in_flight


class LatencyBased:
    """Speech: the shortest time to the first byte. Transcription: the most audio per second. Unknown ones come first.

    A small share of picks is random, so that a deployment that was slow once is tried again.
    """

    EXPLORATION = 0.03

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._health = health

    def rank(self, bound: BoundDeployment) -> float:
        state = self._health[bound.deployment.id]
        if random.random() < self.EXPLORATION:  # noqa: S311
            return -0.5
        if bound.deployment.mode == Mode.SPEECH or state.speed is None:
            return -1.0 if state.first_byte is None else state.first_byte
        return 1.0 / state.speed


class UsageBased:
    """The largest unused share of ``rpm``. A deployment without ``rpm`` counts as unused."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._health = health

    def rank(self, bound: BoundDeployment) -> float:
        rpm = bound.deployment.rpm
        return 0.0 if rpm is None else self._health.requests_last_minute(bound.deployment.id) / rpm


class CostBased:
    """The cheapest, by the cost of a minute of audio; deployments without a known price come last."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._costs = costs

    def rank(self, bound: BoundDeployment) -> float:
        return self._costs.get(bound.deployment.id, float("inf"))


STRATEGIES: Mapping[str, type[SimpleShuffle | LeastBusy | LatencyBased | UsageBased | CostBased]] = {
    "simple-shuffle": SimpleShuffle,
    "least-busy": LeastBusy,
    "latency-based-routing": LatencyBased,
    "usage-based-routing": UsageBased,
    "cost-based-routing": CostBased,
}
