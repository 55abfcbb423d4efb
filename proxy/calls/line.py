"""A deployment ready to be called."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.config import Deployment
from proxy.providers.base import Adapter
from proxy.upstream.client import Waits


@dataclass(frozen=True, slots=True)
class Line:
    """A deployment ready to be called: its settings and the vendor's adapter bound to them."""

    deployment: Deployment
    adapter: Adapter

    def waits(self, left: float | None) -> Waits:
        """``left``: seconds that the call may still take, where that is less than the deployment's own limit."""
        deployment = self.deployment
        total = deployment.timeout if left is None else min(deployment.timeout, left)
        return Waits(total=total, first_byte=deployment.stream_timeout, stall=deployment.stall_timeout)
