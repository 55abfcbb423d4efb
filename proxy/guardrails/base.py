"""What a guardrail is: it checks a text and returns a verdict. The engine acts on the verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from proxy.domain.guardrails import Stage

Action = Literal["block", "redact", "log"]


class Span(NamedTuple):
    """A part of a text, by its positions, and the replacement, such as ``[EMAIL]``."""

    start: int
    end: int
    put: str


@dataclass(frozen=True, slots=True)
class Context:
    """What a guardrail knows about the call besides the text."""

    guardrail: str
    stage: Stage
    request_id: str
    #: ``speech``, ``transcriptions`` or ``translations``.
    endpoint: str
    #: The model group.
    model: str
    #: SHA-256 of a virtual key, ``master``, or None if no key is required.
    key_id: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    end_user: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of a check. ``found`` names the kinds of what was found, never the text. Empty means no objection.

    ``spans`` are the positions, if the guardrail knows them; ``text`` replaces the whole text. ``action`` is the
    guardrail's own decision, if it is not left to the configuration.
    """

    found: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    text: str | None = None
    action: Action | None = None

    @classmethod
    def block(cls, *found: str) -> Verdict:
        """``found``: a label such as ``VIOLENCE``. The caller sees it, and it is recorded."""
        return cls(found or ("POLICY",), action="block")

    @classmethod
    def redact(cls, spans: Iterable[Span], *found: str) -> Verdict:
        spans = tuple(spans)
        return cls(found or ("POLICY",), spans, action="redact") if spans else ALLOW

    @classmethod
    def rewrite(cls, text: str, *found: str) -> Verdict:
        """``text`` replaces the whole text that was checked."""
        return cls(found or ("POLICY",), text=text, action="redact")


ALLOW = Verdict()


class Undecided(Exception):
    """The guardrail could not decide; ``on_failure`` applies. The message goes to the log only."""


class Guard(Protocol):
    """A guardrail that is ready to check texts."""

    #: Whether it runs in this process and is fast, so that it can check several versions of the same text.
    is_local: bool

    async def check(self, text: str, context: Context) -> Verdict:
        """Raises Undecided."""

    async def aclose(self) -> None:
        return  # nothing to close by default
