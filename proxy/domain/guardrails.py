"""The results of guardrails."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Stage(StrEnum):
    """When a guardrail checks the words of a call; the names are those of LiteLLM's ``mode``."""

    PRE_CALL = "pre_call"
    DURING_CALL = "during_call"
    POST_CALL = "post_call"
    LOGGING_ONLY = "logging_only"


@dataclass(frozen=True, slots=True)
class GuardrailResult:
    """What a guardrail decided at one stage of a call. It names the kinds of what was found, never the text."""

    guardrail: str
    stage: Stage
    #: ``allowed``, ``logged`` (found, and only noted), ``redacted``, ``failed`` (no decision) or ``blocked``.
    verdict: str
    milliseconds: float
    #: Kinds such as ``CREDIT_CARD``.
    found: tuple[str, ...] = ()
    #: When the first check started, in seconds of ``time.perf_counter``.
    started: float | None = field(default=None, compare=False)
