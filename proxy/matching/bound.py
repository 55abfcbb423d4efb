"""A deployment that is ready to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from proxy.config import Deployment
from proxy.providers.base import Adapter
from proxy.upstream.client import Deadlines


@dataclass(frozen=True, slots=True)
class BoundDeployment:
    """A deployment's settings, with the vendor's adapter bound to them."""

    deployment: Deployment
    adapter: Adapter
    #: Counts characters as the vendor bills them.
    characters: Callable[[str], int] = len
    #: The vendor bills the seconds of uploaded audio, so the length of an upload must be known.
    bills_seconds_in: bool = False
    #: Whether the last answer reported that length, by response format and ``stream``.
    reports_seconds: dict[tuple[str, bool], bool] = field(default_factory=dict, compare=False)
    #: Ids of the vendor's public voices, by id and by name in lower case, as the vendor has listed them.
    listed_voices: dict[str, str] = field(default_factory=dict, compare=False)

    def deadlines(self, seconds_left: float | None) -> Deadlines:
        """``seconds_left`` for the whole call, if that is less than the deployment's own timeout."""
        deployment = self.deployment
        total = deployment.timeout if seconds_left is None else min(deployment.timeout, seconds_left)
        return Deadlines(total=total, first_byte=deployment.stream_timeout, stall=deployment.stall_timeout)
