"""What a caller requests. No behaviour, no I/O.

Nothing changes a request once it is made. Requests are not frozen dataclasses: every call makes one, and a frozen one
takes three times as long to make.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol


class Mode(StrEnum):
    """What a deployment does; the names are those of LiteLLM's ``model_info.mode``."""

    SPEECH = "audio_speech"
    TRANSCRIPTION = "audio_transcription"
    TRANSLATION = "audio_translation"


@dataclass(slots=True)
class SpeechRequest:
    """The body of ``POST /v1/audio/speech``. ``voice`` is None if the caller named none."""

    model: str
    input: str
    voice: str | None = None
    #: The caller sent ``{"id": "voice_…"}`` rather than a name.
    voice_is_id: bool = False
    instructions: str | None = None
    response_format: str = "mp3"
    speed: float | None = None
    #: ``audio`` or ``sse``; None if the caller left it out, which means audio.
    stream_format: str | None = None
    #: The end user, for our records only; never sent upstream.
    user: str | None = None
    #: Fields that OpenAI's API does not have, for self-hosted servers that do.
    extra: Mapping[str, Any] = field(default_factory=dict)
    #: Names of guardrails that the caller requests in addition to those that are always on.
    guardrails: tuple[str, ...] = ()


class Upload(Protocol):
    """An uploaded file, in memory while small, else in an unlinked temporary file."""

    #: What the bytes are, if they say; else what the client called them.
    filename: str
    content_type: str
    #: As `proxy.audio.labels` calls it; None if it is unknown.
    container: str | None
    size: int

    def chunks(self) -> AsyncIterator[bytes]:
        """The bytes from the beginning, as often as needed."""

    def read_at(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``; a few, to look into the headers."""

    def fileno(self) -> int | None:
        """The descriptor of the file; None if the upload is in memory."""

    def getbuffer(self) -> bytes | bytearray | memoryview:
        """The whole upload, if ``fileno`` is None."""


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
    #: How long the audio is, if it was measured.
    seconds: float | None = None
    #: The end user, for our records only; never sent upstream.
    user: str | None = None
    #: Form fields that OpenAI's API does not have, in the caller's order.
    extra: tuple[tuple[str, str], ...] = ()
    #: Names of guardrails that the caller requests in addition to those that are always on.
    guardrails: tuple[str, ...] = ()

    @property
    def mode(self) -> Mode:
        return Mode.TRANSCRIPTION if self.task == "transcribe" else Mode.TRANSLATION


@dataclass(frozen=True, slots=True)
class CallOptions:
    """What the headers of a request say about its routing and guardrails."""

    #: Seconds for the whole call.
    timeout: float | None = None
    #: Further attempts within a group.
    num_retries: int | None = None
    no_fallback: bool = False
    #: Names of guardrails, in addition to those that are always on.
    guardrails: tuple[str, ...] = ()


NO_OPTIONS = CallOptions()
