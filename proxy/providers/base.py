"""What a vendor is: a declaration of what it can do, and flows that translate requests and answers.

A flow is a generator in the manner of ``httpx.Auth.auth_flow``: it yields HTTP requests, receives their responses and
returns the description of the answer. Whoever runs it (``proxy.upstream``) does the I/O and turns every status of 400
and above into an error by ``Adapter.error`` before the flow sees it, so a flow reads top to bottom and knows success.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import httpx

from proxy.audio.transcript import Transcript
from proxy.errors import ProxyError
from proxy.records import Mode, SpeechRequest, TranscriptionRequest


class Whole(NamedTuple):
    """A request whose response the flow wants with its body read; a bare request gets it unread, as a stream."""

    request: httpx.Request


Step = httpx.Request | Whole


@dataclass(frozen=True, slots=True)
class SpeechAnswer:
    """The last response of the flow carries the speech, in one of OpenAI's formats."""

    format: str
    #: Samples a second, where the format is pcm (s16le, mono).
    rate: int = 24_000
    #: The response is a stream of OpenAI's events rather than of audio.
    events: bool = False


@dataclass(frozen=True, slots=True)
class OpenAITranscript:
    """The last response of the flow is OpenAI's own answer, in the format that was asked for."""

    #: It is a stream of OpenAI's events rather than a document.
    events: bool = False


@dataclass(frozen=True, slots=True)
class WholeTranscript:
    """The flow has read a vendor's transcript; whoever runs it renders what the caller asked for."""

    transcript: Transcript


class TranscriptDecoder(Protocol):
    """A vendor's stream, bytes in, OpenAI's event objects out: ``transcript.text.delta`` … ``transcript.text.done``."""

    def feed(self, data: bytes) -> Iterable[Mapping[str, Any]]: ...

    def end(self) -> Iterable[Mapping[str, Any]]:
        """Raises UpstreamInvalid where the stream is not complete."""


@dataclass(frozen=True, slots=True)
class StreamedTranscript:
    """The last response of the flow carries a transcript bit by bit, in the vendor's own framing."""

    decoder: TranscriptDecoder


TranscriptionAnswer = OpenAITranscript | WholeTranscript | StreamedTranscript


SpeechFlow = Generator[Step, httpx.Response, SpeechAnswer]
TranscriptionFlow = Generator[Step, httpx.Response, TranscriptionAnswer]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model of a vendor can do. None means that nothing is declared: the upstream decides."""

    modes: frozenset[Mode]
    max_characters: int | None = None
    max_instructions: int | None = None
    speed: tuple[float, float] | None = None
    #: Audio formats that the vendor makes itself; the others of OpenAI's six are made of these.
    formats: tuple[str, ...] | None = None
    sse: bool = True
    response_formats: tuple[str, ...] | None = None
    max_file_mb: float | None = None
    #: Seconds of audio in one upload.
    max_seconds: float | None = None
    #: ISO-639-1 codes of the languages that are transcribed.
    languages: tuple[str, ...] | None = None
    voices: tuple[str, ...] | None = None
    #: ISO date on which the vendor ends the model.
    shutdown_date: str | None = None


class Adapter(Protocol):
    """One vendor's model bound to one deployment: base URL, key and settings are in place."""

    capabilities: Capabilities

    def speech(self, request: SpeechRequest) -> SpeechFlow: ...

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow: ...

    def error(self, response: httpx.Response, body: bytes) -> ProxyError:
        """What a response of status 400 and above means; ``body`` is its beginning (at most 64 KiB)."""

    def event_error(self, event: bytes) -> ProxyError:
        """What an error event means, in a stream of OpenAI's events; ``event`` is its data."""
