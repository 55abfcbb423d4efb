"""What guardrails say about a call."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """When a guardrail looks at the words of a call; the names are those of LiteLLM's ``mode``."""

    PRE_CALL = "pre_call"
    DURING_CALL = "during_call"
    POST_CALL = "post_call"
    LOGGING_ONLY = "logging_only"


@dataclass(frozen=True, slots=True)
class GuardrailResult:
    """What a guardrail said at one stage of a call. Never what it found, only of what kind that was."""

    guardrail: str
    stage: Stage
    #: ``allowed``, ``logged`` (found, and only noted), ``redacted``, ``failed`` (it could not decide) or ``blocked``.
    verdict: str
    milliseconds: float
    #: Such as ``CREDIT_CARD``.
    found: tuple[str, ...] = ()
    #: When it was first asked, in seconds of ``time.perf_counter``.
    began: float | None = field(default=None, compare=False)
