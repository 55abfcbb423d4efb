"""``guardrail: max_length``: limits the length of texts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from proxy.config import Config
from proxy.config.fields import Count
from proxy.guardrails.base import ALLOW, Context, Guard, Verdict
from proxy.guardrails.settings import GuardrailSettings
from proxy.http.transport import Transport


class MaxLengthSettings(GuardrailSettings):
    guardrail: Literal["max_length"] = "max_length"
    max_characters: Count = Field(description="The longest text that is allowed.")

    def build(self, config: Config, transport: Transport) -> MaxLength:
        return MaxLength(self)


class MaxLength(Guard):
    is_local = True

    def __init__(self, settings: MaxLengthSettings) -> None:
        self._max_characters = settings.max_characters

    async def check(self, text: str, context: Context) -> Verdict:
        return ALLOW if len(text) <= self._max_characters else Verdict(("LENGTH",))
