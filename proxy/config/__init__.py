"""The frozen configuration: shape and line numbers here, meaning in the tables that use it."""

from __future__ import annotations

from proxy.config.load import load
from proxy.config.models import (
    Config,
    Deployment,
    Environment,
    GeneralSettings,
    Guardrail,
    RetryPolicy,
    RouterSettings,
    Sink,
)
from proxy.config.overview import SummaryRow, describe
from proxy.domain.requests import Mode

__all__ = [
    "Config",
    "Deployment",
    "Environment",
    "GeneralSettings",
    "Guardrail",
    "Mode",
    "RetryPolicy",
    "RouterSettings",
    "Sink",
    "SummaryRow",
    "describe",
    "load",
]
