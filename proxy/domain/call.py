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
    """Audio that is being received."""

    @property
    def seconds(self) -> float | None:
        """Received up to now; None if the format does not say."""


@dataclass(slots=True)
class Attempt:
    """What is known of one attempt on one deployment. Times are seconds of ``time.perf_counter``."""

    deployment: str
    vendor: str
    started: float
    #: When the first byte of the body arrived, and when the attempt ended.
    first_byte: float | None = None
    ended: float | None = None
    #: Kind of the error that ended it, or ``cancelled``.
    error: str = ""
    upstream_id: str = ""
    #: Seconds of audio that were transcribed, if known.
    audio_seconds: float | None = None
    #: What the vendor reports; perhaps with the last byte only.
    usage: Usage | None = None
    #: The vendor has reported everything.
    is_settled: bool = False
    #: The vendor began to answer, and so it bills.
    is_billed: bool = False
    #: Counted here, for vendors that do not report it: the characters of what the vendor began to speak, the seconds of
    #: the upload, the audio that arrived.
    characters: int | None = None
    seconds_in: float | None = None
    sounds: list[Sound] = field(default_factory=list)
    #: What the caller requested and did not get, one sentence each.
    warnings: list[str] = field(default_factory=list)

    def note(self, warnings: Iterable[str]) -> None:
        """Add warnings, each of them once."""
        self.warnings.extend(warning for warning in warnings if warning not in self.warnings)

    @property
    def seconds(self) -> float | None:
        """Seconds to the first byte; None if none arrived."""
        return None if self.first_byte is None else self.first_byte - self.started


@dataclass(slots=True)
class Call:
    """What is known of one call. It is filled in on the way, and read once at the end by the log and the metrics.

    Times are seconds of ``time.perf_counter``. Holds no text, no audio and no key.
    """

    request_id: str
    endpoint: str
    started: float
    #: The caller's header of W3C's Trace Context; empty if there is none.
    traceparent: str = ""
    caller: Caller = EVERYBODY
    #: Whom the caller serves, if the request says.
    end_user: str | None = None
    tags: tuple[str, ...] = ()
    #: The group that served it, and the same again if that is not the requested one.
    group: str = ""
    fallback: str = ""
    requested_group: str = ""
    status: int = 0
    error: str = ""
    #: Without what the caller said: what the caller was told; and for the operator, what a vendor or the system said.
    message: str = ""
    detail: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    characters: int = 0
    attempts: list[Attempt] = field(default_factory=list)
    #: The attempt whose result the caller got.
    won: Attempt | None = None
    #: A second deployment was tried before the first had answered or failed.
    hedged: bool = False
    #: The results of the guardrails, and the names of those that were due and had nothing to check.
    guardrails: tuple[GuardrailResult, ...] = ()
    guardrails_skipped: tuple[str, ...] = ()
    #: USD for all attempts, None if it is not known; how it was worked out, empty if nothing was used.
    cost: Decimal | None = None
    cost_basis: str = ""
    #: Its row in the ledger, by column; made at the end.
    row: Mapping[str, Any] | None = None
    #: It was admitted, and is not in the ledger yet.
    is_open: bool = False
    #: When the whole request had arrived, and when the first byte of the answer was sent.
    received: float | None = None
    sent: float | None = None
    #: Seconds before the first byte that were not spent waiting for a vendor; None if no byte was sent.
    overhead: float | None = None

    @property
    def upstream_seconds(self) -> float | None:
        """From the start of the attempt that won to its first byte."""
        return self.won.seconds if self.won is not None else None

    def measure_overhead(self) -> None:
        """Call it once the first byte is sent."""
        if self.received is None or self.sent is None:
            return
        waited, until = 0.0, self.received
        for attempt in self.attempts:
            ended = attempt.first_byte or attempt.ended or self.sent
            started = attempt.started if attempt.started > until else until
            if ended > started:
                waited += ended - started
                until = ended
        self.overhead = self.sent - self.received - waited


def milliseconds(seconds: float) -> float:
    """To the microsecond; ``round`` takes ten times as long."""
    return int(seconds * 1_000_000 + 0.5) / 1000
