"""The settings that guardrails have in common. Each kind adds its own, in the module of its implementation."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import httpx
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from proxy.config import Config
from proxy.config.fields import Frozen, Names, Seconds
from proxy.domain.guardrails import Stage
from proxy.guardrails.base import Action, Guard

T = TypeVar("T")


def _guardrail_name(name: str) -> str:
    if not re.fullmatch("[!-~]{1,128}", name) or "," in name:
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces and commas")
    return name


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _not_empty(values: tuple[T, ...]) -> tuple[T, ...]:
    if not values:
        raise ValueError("must not be empty")
    return values


NotEmpty = AfterValidator(_not_empty)


class GuardrailSettings(Frozen, ABC):
    """One entry of `guardrails`. The aliases are the keys of the file.

    A kind is a class of these: with its name, a Literal, as ``guardrail``; with further fields; and with `build`.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    #: Whether it can say what is to go, so that ``action: redact`` can be asked of it.
    redacts: ClassVar[bool] = False

    name: Annotated[str, AfterValidator(_guardrail_name)] = Field(
        validation_alias="guardrail_name", description="What requests and keys name."
    )
    guardrail: str = Field(description="The kind.")
    mode: Annotated[tuple[Stage, ...], BeforeValidator(_as_list), NotEmpty] = Field(
        description="When it looks: pre_call, during_call, post_call, logging_only; one or several."
    )
    default_on: bool = Field(default=False, description="It looks at every call; no request can switch it off.")
    teams: Names = Field(default=(), description="It looks at every call of these teams' keys.")
    action: Action | None = Field(default=None, description="What becomes of what it finds; block if missing.")
    where: str = Field(default="", description="File and line of the entry, for messages.")

    @field_validator("action")
    @classmethod
    def _can_redact(cls, action: Action | None, info: ValidationInfo) -> Action | None:
        if action == "redact" and not cls.redacts:
            raise ValueError(f"cannot be redact: {info.data.get('guardrail')} does not say what is to go")
        if action == "redact" and Stage.DURING_CALL in info.data.get("mode", ()):
            why = "in during_call the words are with the vendor already"
            raise ValueError(f"cannot be redact: {why}; use pre_call or post_call")
        return action

    @abstractmethod
    def build(self, config: Config, transport: httpx.AsyncBaseTransport) -> Guard:
        """The guardrail. It sends requests through ``transport`` only."""

    def problems(self, config: Config) -> Iterable[str]:
        """What is wrong with the settings, as far as only the rest of the configuration and the machine can tell."""
        return ()


class RemoteSettings(GuardrailSettings, ABC):
    """Of a kind that asks others, or runs code that is not ours: it may be slow, and it may fail."""

    timeout: Seconds = Field(default=5, description="Seconds that an answer may take.")
    on_failure: Literal["block", "allow"] = Field(default="block", description="What happens if it cannot decide.")
