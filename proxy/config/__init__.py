"""The frozen configuration: reading, validation and messages with line numbers."""

from __future__ import annotations

from proxy.config.changes import is_applied_at_start, reconnected, waiting_for_restart
from proxy.config.environment import Environment
from proxy.config.kinds import Kinds
from proxy.config.load import load
from proxy.config.models import Config, Deployment, GeneralSettings, RetryPolicy, RouterSettings
from proxy.config.overview import SummaryRow, describe
from proxy.domain.requests import Mode

__all__ = [
    "Config",
    "Deployment",
    "Environment",
    "GeneralSettings",
    "Kinds",
    "Mode",
    "RetryPolicy",
    "RouterSettings",
    "SummaryRow",
    "describe",
    "is_applied_at_start",
    "load",
    "reconnected",
    "waiting_for_restart",
]
