"""A deployment ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.config import Deployment
from proxy.providers.base import Adapter
from proxy.upstream.client import Deadlines


@dataclass(frozen=True, slots=True)
class BoundDeployment:
    """A deployment ready to be called: its settings and the vendor's adapter bound to them."""

    deployment: Deployment
    adapter: Adapter
    #: How the vendor counts the characters that it bills.
    characters: Callable[[str], int] = len
    #: Its price is one of audio that comes in, so that somebody has to know how long that is.
    bills_seconds_in: bool = False
    #: Whether the last answer told it, by the format that was asked for and whether it was to be streamed.
    told: dict[tuple[str, bool], bool] = field(default_factory=dict, compare=False)

    def deadlines(self, left: float | None) -> Deadlines:
        """``left``: seconds that the call may still take, where that is less than the deployment's own limit."""
        deployment = self.deployment
        total = deployment.timeout if left is None else min(deployment.timeout, left)
        return Deadlines(total=total, first_byte=deployment.stream_timeout, stall=deployment.stall_timeout)
