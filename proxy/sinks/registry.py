"""The table of sinks. A name has its kind and fields in ``proxy.config.sinks`` and its class here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.config import Config, Environment
from proxy.config import Sink as Settings
from proxy.http.transport import Transport
from proxy.sinks import custom, langfuse, otel, s3, webhook
from proxy.sinks.base import Sink


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a sink may need besides its settings."""

    config: Config
    transport: Transport
    #: Vendors' models by the deployments' ids.
    models: Mapping[str, str]

    @property
    def environment(self) -> Environment:
        return self.config.environment

    @property
    def folder(self) -> Path:
        return folder_of(self.config)


SINKS: Mapping[str, Callable[[Settings, BuildContext], Sink]] = {
    "webhook": lambda settings, around: webhook.WebhookSink(settings, around.environment, around.transport),
    "otel": lambda settings, around: otel.Otel(around.environment, around.models, around.transport),
    "langfuse": lambda settings, around: langfuse.made(around.environment, around.models, around.transport),
    "s3": lambda settings, around: s3.S3(settings, around.environment, around.transport),
    "custom": lambda settings, around: custom.CustomSink(settings, around.folder),
}


def made(settings: Settings, around: BuildContext) -> Sink:
    return SINKS[settings.kind](settings, around)


def folder_of(config: Config) -> Path:
    return Path(config.path).absolute().parent


def problems(config: Config) -> list[str]:
    """What only the sinks themselves can tell: one line each, with file and line number."""
    return [
        f"{settings.where}: callback '{settings.name}': {problem}"
        for settings in config.sinks
        for problem in _problems(settings, config)
    ]


def _problems(settings: Settings, config: Config) -> Iterable[str]:
    match settings.kind:
        case "webhook":
            return webhook.problems(settings, config.environment)
        case "otel":
            return otel.problems(config.environment)
        case "langfuse":
            return langfuse.problems(config.environment)
        case "s3":
            return s3.problems(settings)
        case "custom":
            return custom.problems(settings, folder_of(config))
