"""The table of sinks. Each kind is one row here and one module."""

from __future__ import annotations

from typing import cast

from proxy.config import Config, Kinds
from proxy.sinks.custom import CustomSinkSettings
from proxy.sinks.langfuse import LangfuseSettings
from proxy.sinks.otel import OtelSettings
from proxy.sinks.s3 import S3Settings
from proxy.sinks.settings import SinkSettings
from proxy.sinks.webhook import WebhookSinkSettings

KINDS: Kinds[SinkSettings] = Kinds(
    "kind",
    WebhookSinkSettings,
    OtelSettings,
    LangfuseSettings,
    S3Settings,
    CustomSinkSettings,
)


def settings_of(config: Config) -> tuple[SinkSettings, ...]:
    """The configuration was loaded with `KINDS`, which its type does not show."""
    return cast("tuple[SinkSettings, ...]", config.sinks)


def problems(config: Config) -> list[str]:
    """Problems that only the sinks can find: one line each, with file and line number."""
    return [
        f"{settings.where}: callback '{settings.name}': {problem}"
        for settings in settings_of(config)
        for problem in settings.problems(config)
    ]
