"""The nouns that the layers share: what a caller asks for, and what became of a call. No behaviour, no I/O.

Nothing changes a request or a usage once it is made. They are not frozen, for that makes the making of one, which every
call does, three times as slow.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal, Protocol


class Mode(StrEnum):
    """What a deployment does; the names are those of LiteLLM's ``model_info.mode``."""

    SPEECH = "audio_speech"
    TRANSCRIPTION = "audio_transcription"
    TRANSLATION = "audio_translation"


class Stage(StrEnum):
    """When a guardrail looks at the words of a call; the names are those of LiteLLM's ``mode``."""

    PRE_CALL = "pre_call"
    DURING_CALL = "during_call"
    POST_CALL = "post_call"
    LOGGING_ONLY = "logging_only"


@dataclass(slots=True)
class SpeechRequest:
    """The body of ``POST /v1/audio/speech``. ``voice`` is None where the caller named none."""

    model: str
    input: str
    voice: str | None = None
    #: The caller sent ``{"id": "voice_…"}`` rather than a name.
    voice_is_id: bool = False
    instructions: str | None = None
    response_format: str = "mp3"
    speed: float | None = None
    #: ``audio`` or ``sse``; None where the caller left it out, which means audio.
    stream_format: str | None = None
    #: The end user, for our records only; never sent upstream.
    user: str | None = None
    #: Fields that OpenAI's API does not have, for self-hosted servers that do.
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: Names of guardrails that the caller wants besides those that are always on.
    guardrails: tuple[str, ...] = ()


class Upload(Protocol):
    """An uploaded file, in memory while small, else in an unlinked temporary file."""

    filename: str
    content_type: str
    size: int

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the beginning, as often as asked for."""

    def fileno(self) -> int | None:
        """The descriptor of the file; None where the upload is in memory."""

    def getbuffer(self) -> bytes | bytearray | memoryview:
        """The whole upload, where ``fileno`` is None."""


@dataclass(slots=True)
class TranscriptionRequest:
    """The form of ``POST /v1/audio/transcriptions`` (task ``transcribe``) and ``/translations`` (``translate``)."""

    model: str
    file: Upload
    task: Literal["transcribe", "translate"] = "transcribe"
    language: str | None = None
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    prompt: str | None = None
    response_format: str = "json"
    temperature: float | None = None
    include: tuple[str, ...] = ()
    timestamp_granularities: tuple[str, ...] = ()
    stream: bool = False
    #: ``auto`` or JSON in one part as a string, or the bracketed parts as a mapping.
    chunking_strategy: str | Mapping[str, str] | None = None
    known_speaker_names: tuple[str, ...] = ()
    known_speaker_references: tuple[str, ...] = ()
    #: How long the audio is, where somebody had to know.
    seconds: float | None = None
    #: The end user, for our records only; never sent upstream.
    user: str | None = None
    #: Form fields that OpenAI's API does not have, in the caller's order.
    extra: tuple[tuple[str, str], ...] = ()
    #: Names of guardrails that the caller wants besides those that are always on.
    guardrails: tuple[str, ...] = ()

    @property
    def mode(self) -> Mode:
        return Mode.TRANSCRIPTION if self.task == "transcribe" else Mode.TRANSLATION


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a request says of its own routing and guardrails, in headers."""

    #: Seconds for the whole call.
    timeout: float | None = None
    #: Further attempts within a group.
    num_retries: int | None = None
    no_fallback: bool = False
    #: Names of guardrails, besides those that are always on.
    guardrails: tuple[str, ...] = ()


NO_WISHES = Wishes()


#: ``Caller.key_id`` of the master key.
MASTER_KEY_ID = "master"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the master key, a virtual key, or, where everybody may call, nobody in particular."""

    #: SHA-256 of a virtual key in hexadecimal; None where everybody may call.
    key_id: str | None = None
    alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    #: Names of model groups, or aliases of theirs; empty: all.
    models: frozenset[str] = frozenset()
    tags: tuple[str, ...] = ()
    #: Names of guardrails that look at all of its calls.
    guardrails: tuple[str, ...] = ()

    @property
    def is_master(self) -> bool:
        return self.key_id == MASTER_KEY_ID


EVERYBODY = Caller()
MASTER = Caller(key_id=MASTER_KEY_ID)


@dataclass(slots=True)
class Usage:
    """What an attempt used, as far as the vendor says; None where it does not. Tokens are counted once each."""

    characters: int | None = None
    #: Seconds of audio that came in and went out.
    seconds_in: float | None = None
    seconds_out: float | None = None
    input_text_tokens: int | None = None
    input_audio_tokens: int | None = None
    #: Of the tokens above, those that the vendor had seen before and bills at another price.
    cached_text_tokens: int | None = None
    cached_audio_tokens: int | None = None
    output_text_tokens: int | None = None
    output_audio_tokens: int | None = None
    #: USD, where the vendor names the price itself.
    cost: Decimal | None = None


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


@dataclass(frozen=True, slots=True)
class Ruling:
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
    guardrails: tuple[Ruling, ...] = ()
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
