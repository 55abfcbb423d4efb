"""Loads and checks a configuration with all available vendors, guardrails and sinks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from proxy import config as configuration
from proxy.config import Config
from proxy.config.environment import ENV_FILE, read_env_file
from proxy.config.variables import NOT_SET
from proxy.errors import ConfigError
from proxy.guardrails import registry as guardrails
from proxy.providers import chat_models
from proxy.providers import registry as vendors
from proxy.routing import checks
from proxy.sinks import registry as sinks


def load(path: str | os.PathLike[str], environ: Mapping[str, str]) -> Config:
    """Variables that ``environ`` lacks are read from the file `.env` next to the configuration.

    Raises ConfigError with every problem in the file itself.
    """
    env_file = Path(path).parent / ENV_FILE
    values: dict[str, str] = {}
    unreadable = []
    try:
        values = read_env_file(env_file)
    except OSError as error:  # no problem for a service whose manager has read it
        unreadable = [f"{env_file}: cannot be read: {error.strerror}"]
    except UnicodeDecodeError:
        unreadable = [f"{env_file}: cannot be read: it is not UTF-8"]
    try:
        return configuration.load(
            path,
            vendors=vendors.VENDORS,
            infer_mode=vendors.infer_mode,
            guardrails=guardrails.KINDS,
            sinks=sinks.KINDS,
            environ=values | {name: value for name, value in environ.items() if value.strip()},
        )
    except ConfigError as error:
        hints = unreadable
        if not hints and any(problem.endswith(NOT_SET) for problem in error.problems):
            hints = [f"Variables are read from the environment, and from {env_file} if they are missing there."]
        raise ConfigError([*error.problems, *hints]) from None


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
