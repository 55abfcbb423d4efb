"""The table of guardrails. Each kind is one row here and one module."""

from __future__ import annotations

from typing import cast

from proxy.config import Config, Kinds
from proxy.guardrails.blocked_words import BlockedWordsSettings
from proxy.guardrails.custom import CustomSettings
from proxy.guardrails.engine import Guardrails, Rule
from proxy.guardrails.max_length import MaxLengthSettings
from proxy.guardrails.moderation import ModerationSettings
from proxy.guardrails.pii import PiiSettings
from proxy.guardrails.settings import GuardrailSettings
from proxy.guardrails.webhook import WebhookSettings
from proxy.http.transport import Transport

KINDS: Kinds[GuardrailSettings] = Kinds(
    "guardrail",
    PiiSettings,
    BlockedWordsSettings,
    MaxLengthSettings,
    ModerationSettings,
    WebhookSettings,
    CustomSettings,
)


def build(config: Config, transport: Transport) -> Guardrails:
    """Create the guardrails of the configuration."""
    return Guardrails([Rule(settings, settings.build(config, transport)) for settings in _settings(config)])


def problems(config: Config) -> list[str]:
    """Problems that only the guardrails can find: one line each, with file and line number."""
    return [
        f"{settings.where}: guardrail '{settings.name}': {problem}"
        for settings in _settings(config)
        for problem in settings.problems(config)
    ]


def _settings(config: Config) -> tuple[GuardrailSettings, ...]:
    """The configuration was loaded with `KINDS`, which its type does not show."""
    return cast("tuple[GuardrailSettings, ...]", config.guardrails)
