"""The table that ``audio-proxy check`` prints. It contains no secrets."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.config.models import Config, Deployment


class SummaryRow(NamedTuple):
    group: str
    mode: str
    deployment: str
    #: Host and port of `api_base`. Empty for the vendor's own server.
    host: str
    #: Whether the deployment has a key.
    key: bool
    max_file_size_mb: float | None


def describe(config: Config, has_key: Callable[[Deployment], bool]) -> list[SummaryRow]:
    """One row for each deployment, group by group."""

    def row(deployment: Deployment) -> SummaryRow:
        return SummaryRow(
            group=deployment.group,
            mode=deployment.mode.value if deployment.mode else "chat",
            deployment=f"{deployment.vendor}/{deployment.model}",
            host=urlsplit(deployment.api_base).netloc if deployment.api_base else "",
            key=has_key(deployment),
            max_file_size_mb=deployment.max_file_size_mb,
        )

    groups = (*config.groups.values(), *config.translators.values())
    return [row(deployment) for group in groups for deployment in group]
