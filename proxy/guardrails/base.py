"""What a guardrail is: it gets a text and says what is wrong with it. What becomes of that is the engine's business."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from proxy.domain.guardrails import Stage

Action = Literal["block", "redact", "log"]


class Span(NamedTuple):
    """A part of a text, as positions in it, and what may stand in its place, such as ``[EMAIL]``."""

    start: int
    end: int
    put: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a guardrail is told of the call beside the text."""

    guardrail: str
    stage: Stage
    request_id: str
    #: ``speech``, ``transcriptions`` or ``translations``.
    endpoint: str
    #: The model group.
    model: str
    #: SHA-256 of a virtual key, ``master``, or None where everybody may call.
    key_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a guardrail says. ``found`` names the kinds of what it found, never the text; empty: all is well.

    ``spans`` are where it is, if the guardrail knows; ``text`` is the whole text as it should be instead. ``action`` is
    what the guardrail itself wants to happen, where that is not for the configuration to say.
    """

    found: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    text: str | None = None
    action: Action | None = None

    @classmethod
    def block(cls, *found: str) -> Verdict:
        """``found``: a word or two, such as ``VIOLENCE``. It is told to the caller and kept in the records."""
        return cls(found or ("POLICY",), action="block")

    @classmethod
    def redact(cls, spans: Iterable[Span], *found: str) -> Verdict:
        spans = tuple(spans)
        return cls(found or ("POLICY",), spans, action="redact") if spans else ALLOW

    @classmethod
    def rewrite(cls, text: str, *found: str) -> Verdict:
        """``text`` in place of the whole text that was looked at."""
        return cls(found or ("POLICY",), text=text, action="redact")


ALLOW = Verdict()


class Undecided(Exception):
    """The guardrail could not decide; ``on_failure`` says what that means. The message is for the log only."""


class Guard(Protocol):
    """One guardrail at work."""

    #: It works in this process and in no time, so that it may look at several readings of the same words.
    is_local: bool

    async def check(self, text: str, context: Context) -> Verdict:
        """Raises Undecided."""

    async def aclose(self) -> None:
        return  # nothing to close, unless a guardrail says otherwise
