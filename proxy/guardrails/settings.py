"""The common settings of guardrails. Each kind adds its own in the module that implements it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator

from proxy.config import Config
from proxy.config.fields import Frozen, Names, Seconds
from proxy.domain.guardrails import Stage
from proxy.guardrails.base import Action, Guard
from proxy.http.transport import Transport

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
    """One entry of `guardrails`. Aliases are the keys of the file.

    A kind is a subclass with its name as a Literal in ``guardrail``, further fields, and `build`.
    """

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    #: Whether it reports what to remove, so that ``action: redact`` is possible.
    redacts: ClassVar[bool] = False

    name: Annotated[str, AfterValidator(_guardrail_name)] = Field(
        validation_alias="guardrail_name", description="The name that requests and keys use."
    )
    guardrail: str = Field(description="The kind.")
    mode: Annotated[tuple[Stage, ...], BeforeValidator(_as_list), NotEmpty] = Field(
        description="When it runs: one or several of pre_call, during_call, post_call, logging_only."
    )
    default_on: bool = Field(default=False, description="It checks every call. No request can switch it off.")
    teams: Names = Field(default=(), description="It checks every call with a key of these teams.")
    action: Action | None = Field(default=None, description="What happens when it finds something; block if missing.")
    timeout: Seconds = Field(default=5, description="Seconds for one check.")
    on_failure: Literal["block", "allow"] = Field(
        default="block", description="What happens if a check fails or takes too long."
    )
    where: str = Field(default="", description="File and line, for messages.")

    @field_validator("action")
    @classmethod
    def _can_redact(cls, action: Action | None, info: ValidationInfo) -> Action | None:
        if action == "redact" and not cls.redacts:
            raise ValueError(f"cannot be redact: {info.data.get('guardrail')} does not report what to remove")
        if action == "redact" and Stage.DURING_CALL in info.data.get("mode", ()):
            reason = "during_call starts when the vendor already has the text"
            raise ValueError(f"cannot be redact: {reason}; use pre_call or post_call")
        return action

    @abstractmethod
    def build(self, config: Config, transport: Transport) -> Guard:
        """Create the guardrail. It sends requests through ``transport`` only."""

    def problems(self, config: Config) -> Iterable[str]:
        """Problems that depend on the environment: missing variables, modules or packages."""
        return ()
