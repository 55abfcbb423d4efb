"""Deployments whose models their vendor retires, and when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from proxy.config import Config, Deployment
from proxy.providers.registry import VENDORS

#: Days before the shutdown from which the server warns when it starts.
SOON = 60


class Shutdown(NamedTuple):
    deployment: Deployment
    on: date
    #: Until then; negative if it has passed.
    days: int

    def __str__(self) -> str:
        deployment = self.deployment
        return f"'{deployment.group}' ({deployment.vendor}/{deployment.model}) {self._when()}"

    def _when(self) -> str:
        count = f"{abs(self.days)} day{'' if abs(self.days) == 1 else 's'}"
        if self.days < 0:
            return f"was retired {count} ago, on {self.on}"
        return f"is retired today, {self.on}" if self.days == 0 else f"is retired in {count}, on {self.on}"


def shutdowns(config: Config, today: date) -> list[Shutdown]:
    """The deployments whose models have a shutdown date, the nearest first."""
    planned = []
    for deployment in config.deployments:
        declared = VENDORS[deployment.vendor].capabilities(deployment)
        if declared is not None and declared.shutdown_date is not None:
            on = date.fromisoformat(declared.shutdown_date)
            planned.append(Shutdown(deployment, on, (on - today).days))
    return sorted(planned, key=lambda shutdown: shutdown.days)


def warning(planned: Sequence[Shutdown]) -> str | None:
    """One line about those that are near or have passed; None if there are none."""
    near = [str(shutdown) for shutdown in planned if shutdown.days <= SOON]
    return f"models near or past retirement: {'; '.join(near)} (see docs/openai-audio-shutdown.md)" if near else None
