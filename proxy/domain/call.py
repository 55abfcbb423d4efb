"""What is known of one call and of its attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from proxy.domain.caller import EVERYBODY, Caller
from proxy.domain.guardrails import GuardrailResult
from proxy.domain.usage import Usage


class Sound(Protocol):
    """Audio on its way."""

    @property
    def seconds(self) -> float | None:
        """What has come up to now; None where its format does not tell."""


@dataclass(slots=True)
class Attempt:
    """One deployment asked once. Times are seconds of ``time.perf_counter``."""

    deployment: str
    vendor: str
    asked: float
    #: When the first byte of the body came, and when all was over.
    first_byte: float | None = None
    ended: float | None = None
    #: Kind of the error that ended it, or ``cancelled``.
    error: str = ""
    upstream_id: str = ""
    #: Seconds of audio that were transcribed, where the answer tells.
    audio_seconds: float | None = None
    #: What the vendor says it used; it may come with the last byte only.
    usage: Usage | None = None
    #: No more is to come of what the vendor reports.
    is_settled: bool = False
    #: The vendor began to answer, and so bills.
    is_billed: bool = False
    #: What was counted here, for vendors that do not say: the characters of what the vendor began to speak, the seconds
    #: of the upload, the audio that came.
    characters: int | None = None
    seconds_in: float | None = None
    sounds: list[Sound] = field(default_factory=list)
    #: What the caller asked for and did not get, one sentence each.
    warnings: list[str] = field(default_factory=list)

    def note(self, warnings: Iterable[str]) -> None:
        """Further warnings; what is noted already is not said twice."""
        self.warnings.extend(warning for warning in warnings if warning not in self.warnings)

    @property
    def seconds(self) -> float | None:
        """To the first byte; None where none came."""
        return None if self.first_byte is None else self.first_byte - self.asked


@dataclass(slots=True)
class Call:
    """What is known of one call, filled in as it goes its way; read once at its end by log and metrics.

    Times are seconds of ``time.perf_counter``. Holds no text, no audio and no key.
    """

    request_id: str
    endpoint: str
    started: float
    #: The caller's, of W3C's Trace Context; empty where it sent none.
    traceparent: str = ""
    caller: Caller = EVERYBODY
    #: Whom the caller serves, as far as the request says.
    end_user: str | None = None
    tags: tuple[str, ...] = ()
    #: The group that served it, and the same again where that is not the one that was asked for.
    group: str = ""
    fallback: str = ""
    #: The group that was asked for.
    asked: str = ""
    status: int = 0
    error: str = ""
    #: For the log only; never sent to a client.
    detail: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    characters: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    #: The attempt whose answer was passed on.
    won: Attempt | None = None
    #: A second deployment was asked before the first had answered or failed.
    hedged: bool = False
    #: What the guardrails said, and the names of those that were due and found nothing to look at.
    guardrails: tuple[GuardrailResult, ...] = ()
    guardrails_skipped: tuple[str, ...] = ()
    #: USD, of all attempts; None where it is not known. What it rests on; empty where nothing was used.
    cost: Decimal | None = None
    cost_basis: str = ""
    #: What the ledger keeps of it, by the columns of its table; made at the end.
    row: Mapping[str, Any] | None = None
    #: It was let in, and is not in the ledger yet.
    is_open: bool = False
    #: When the whole request was here, and when the first byte of the answer was sent.
    received: float | None = None
    sent: float | None = None
    #: Seconds before the first byte in which no upstream was waited for; None where none was sent.
    overhead: float | None = None

    @property
    def upstream_seconds(self) -> float | None:
        """From the question to the first byte of the attempt that won."""
        return self.won.seconds if self.won is not None else None

    def measure_overhead(self) -> None:
        """Once the first byte is sent: seconds before it in which no upstream was waited for."""
        if self.received is None or self.sent is None:
            return
        waited, until = 0.0, self.received
        for attempt in self.attempts:
            ended = attempt.first_byte or attempt.ended or self.sent
            began = attempt.asked if attempt.asked > until else until
            if ended > began:
                waited += ended - began
                until = ended
        self.overhead = self.sent - self.received - waited


def milliseconds(seconds: float) -> float:
    """To the microsecond; ``round`` takes ten times as long."""
    return int(seconds * 1_000_000 + 0.5) / 1000
