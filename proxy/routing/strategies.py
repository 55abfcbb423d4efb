"""How the deployments of a group are ranked: one small class each, in one table."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from proxy.calls import BoundDeployment
from proxy.domain.requests import Mode
from proxy.routing.health import HealthTracker


class Strategy(Protocol):
    def rank(self, line: BoundDeployment) -> float:
        """Lower is asked first; asked anew at each pick."""


class SimpleShuffle:
    """By chance, in proportion to ``weight`` (1 where it is missing; 0 is asked last)."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        pass

    def rank(self, line: BoundDeployment) -> float:
        weight = 1.0 if line.deployment.weight is None else line.deployment.weight
        # Exponential variates with these rates: the least of them falls on each in proportion to its weight.
        return random.expovariate(weight) if weight > 0 else float("inf")


class LeastBusy:
    """The fewest calls under way."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._fleet = health

    def rank(self, line: BoundDeployment) -> float:
        return self._fleet[line.deployment.id].in_flight


class LatencyBased:
    """Speech: the shortest time to the first byte. Transcription: the most audio in a second. Unknown ones go first.

    Now and then chance decides, so that one which was slow once is looked at again.
    """

    EXPLORED = 0.03

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._fleet = health

    def rank(self, line: BoundDeployment) -> float:
        state = self._fleet[line.deployment.id]
        if random.random() < self.EXPLORED:  # noqa: S311
            return -0.5
        if line.deployment.mode == Mode.SPEECH or state.speed is None:
            return -1.0 if state.first_byte is None else state.first_byte
        return 1.0 / state.speed


class UsageBased:
    """The largest part of ``rpm`` unused; without ``rpm`` there is nothing to use up."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._fleet = health

    def rank(self, line: BoundDeployment) -> float:
        rpm = line.deployment.rpm
        return 0.0 if rpm is None else self._fleet.asked_last_minute(line.deployment.id) / rpm


class CostBased:
    """The cheapest, by what a minute of audio costs; those whose price is not known go last."""

    def __init__(self, health: HealthTracker, costs: Mapping[str, float]) -> None:
        self._costs = costs

    def rank(self, line: BoundDeployment) -> float:
        return self._costs.get(line.deployment.id, float("inf"))


STRATEGIES: Mapping[str, type[SimpleShuffle | LeastBusy | LatencyBased | UsageBased | CostBased]] = {
    "simple-shuffle": SimpleShuffle,
    "least-busy": LeastBusy,
    "latency-based-routing": LatencyBased,
    "usage-based-routing": UsageBased,
    "cost-based-routing": CostBased,
}
