"""Loads and checks a configuration with all available vendors, guardrails and sinks."""

from __future__ import annotations

import os
from collections.abc import Mapping

from proxy import config as configuration
from proxy.config import Config
from proxy.errors import ConfigError
from proxy.guardrails import registry as guardrails
from proxy.providers import chat_models
from proxy.providers import registry as vendors
from proxy.routing import checks
from proxy.sinks import registry as sinks


def load(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Config:
    """Raises ConfigError with every problem in the file itself."""
    return configuration.load(
        path,
        vendors=vendors.VENDORS,
        infer_mode=vendors.infer_mode,
        guardrails=guardrails.KINDS,
        sinks=sinks.KINDS,
        environ=environ,
    )


def check(config: Config) -> None:
    """Raises ConfigError with the problems that only vendors, routing, guardrails and sinks can find."""
    problems = [
        *vendors.problems(config),
        *chat_models.problems(config),
        *checks.problems(config),
        *guardrails.problems(config),
        *sinks.problems(config),
    ]
    if problems:
        raise ConfigError(problems)
