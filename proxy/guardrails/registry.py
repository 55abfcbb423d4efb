"""The table of guardrails. A kind has its fields in ``proxy.config.guardrails`` and its class here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.config import Config, Environment, Guardrail
from proxy.guardrails import blocked_words, custom, moderation
from proxy.guardrails.base import Guard
from proxy.guardrails.blocked_words import BlockedWords
from proxy.guardrails.custom import CustomGuardrail
from proxy.guardrails.engine import Guardrails, Rule
from proxy.guardrails.max_length import MaxLength
from proxy.guardrails.moderation import OpenAIModeration
from proxy.guardrails.pii import Pii
from proxy.guardrails.webhook import WebhookGuardrail
from proxy.http.transport import Transport


@dataclass(frozen=True, slots=True)
class BuildContext:
    """What a guardrail may need beside its settings. ``folder`` is that of the configuration."""

    environment: Environment
    transport: Transport
    folder: Path


GUARDS: Mapping[str, Callable[[Guardrail, BuildContext], Guard]] = {
    "pii": lambda settings, _: Pii(settings),
    "blocked_words": lambda settings, _: BlockedWords(settings),
    "max_length": lambda settings, _: MaxLength(settings),
    "openai_moderation": lambda settings, around: OpenAIModeration(settings, around.environment, around.transport),
    "webhook": lambda settings, around: WebhookGuardrail(settings, around.transport),
    "custom": lambda settings, around: CustomGuardrail(settings, around.folder),
}


def guardrails(config: Config, transport: Transport) -> Guardrails:
    """All that the configuration has, ready to be asked."""
    around = BuildContext(config.environment, transport, folder_of(config))
    return Guardrails([Rule(settings, GUARDS[settings.kind](settings, around)) for settings in config.guardrails])


def folder_of(config: Config) -> Path:
    return Path(config.path).absolute().parent


def problems(config: Config) -> list[str]:
    """What only the guardrails themselves can tell: one line each, with file and line number."""
    return [
        f"{settings.where}: guardrail '{settings.name}': {problem}"
        for settings in config.guardrails
        for problem in _problems(settings, config)
    ]


def _problems(settings: Guardrail, config: Config) -> Iterable[str]:
    if settings.kind == "blocked_words":
        return dict.fromkeys(blocked_words.problems(settings))
    if settings.kind == "openai_moderation":
        return moderation.problems(settings, config.environment)
    if settings.kind == "custom":
        problem = custom.problem(settings, folder_of(config))
        return [] if problem is None else [problem]
    return []
