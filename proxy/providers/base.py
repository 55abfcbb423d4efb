"""What a vendor is: a declaration of what it can do, and flows that translate requests and answers.

A flow is a generator in the manner of ``httpx.Auth.auth_flow``: it yields HTTP requests, receives their responses and
returns the description of the answer. Whoever runs it (``proxy.upstream``) does the I/O and turns every status of 300
and above into an error by ``Adapter.error`` before the flow sees it, so a flow reads top to bottom and knows success.
What a vendor lacks of OpenAI's API (formats, lengths, speeds, subtitles) is not the flow's business but ``calls``'.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import httpx

from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import ResponseMetadata as ResponseMetadata
from proxy.domain.results import StaticMetadata as StaticMetadata
from proxy.domain.transcript import Transcript
from proxy.errors import ProxyError
from proxy.providers.voices import Voice, Voices


class BufferedRequest(NamedTuple):
    """A request whose response the flow wants with its body read; a bare request gets it unread, as a stream."""

    request: httpx.Request
    #: Seconds to let pass first, for one who asks again and again; a failure now and then ends nothing then.
    wait: float = 0.0
    #: To be sent once the flow is over, however it ended (also by the caller's leaving): it deletes what was uploaded.
    #: Its answer is not waited for by the caller.
    cleanup: httpx.Request | None = None
    #: Its answer alone tells what there is to delete: it is waited for even where the caller leaves meanwhile, and the
    #: next step's ``cleanup`` is sent. Not for a request whose body is the caller's file, which is gone then.
    creates: bool = False


Step = httpx.Request | BufferedRequest


class SpeechDecoder(ResponseMetadata, Protocol):
    """A vendor's framing (base64 or hex in JSON, events), bytes in, audio out."""

    def feed(self, data: bytes) -> Iterable[bytes]: ...

    def end(self) -> Iterable[bytes]:
        """Raises UpstreamInvalid where the stream is not complete."""


@dataclass(slots=True)
class SpeechAnswer:
    """The last response of the flow carries the speech, in one of OpenAI's formats."""

    format: str
    #: Samples a second, where the format is pcm (s16le, mono).
    rate: int = 24_000
    #: The response is a stream of OpenAI's events rather than of audio.
    events: bool = False
    #: What takes the audio out of the response, where that does not carry it as it is.
    decoder: SpeechDecoder | None = None
    #: Of the decoder where there is one and this is None.
    metadata: ResponseMetadata | None = None


@dataclass(slots=True)
class OpenAITranscript:
    """The last response of the flow is OpenAI's own answer, in the format that was asked for."""

    #: It is a stream of OpenAI's events rather than a document.
    events: bool = False
    metadata: ResponseMetadata | None = None


@dataclass(slots=True)
class WholeTranscript:
    """The flow has read a vendor's transcript; whoever runs it renders what the caller asked for."""

    transcript: Transcript
    metadata: ResponseMetadata | None = None


class TranscriptDecoder(Protocol):
    """A vendor's stream, bytes in, OpenAI's event objects out: ``transcript.text.delta`` … ``transcript.text.done``."""

    def feed(self, data: bytes) -> Iterable[Mapping[str, Any]]: ...

    def end(self) -> Iterable[Mapping[str, Any]]:
        """Raises UpstreamInvalid where the stream is not complete."""


@dataclass(slots=True)
class StreamedTranscript:
    """The last response of the flow carries a transcript bit by bit, in the vendor's own framing."""

    decoder: TranscriptDecoder
    metadata: ResponseMetadata | None = None


TranscriptionAnswer = OpenAITranscript | WholeTranscript | StreamedTranscript


SpeechFlow = Generator[Step, httpx.Response, SpeechAnswer]
TranscriptionFlow = Generator[Step, httpx.Response, TranscriptionAnswer]
#: Lists the public voices, live.
VoicesFlow = Generator[Step, httpx.Response, tuple[Voice, ...]]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a model of a vendor can do. None means that nothing is declared: the upstream decides."""

    modes: frozenset[Mode]
    #: Of one request; a longer input is refused, or spoken piece by piece where the vendor `splits`.
    max_characters: int | None = None
    #: A longer input may be spoken in pieces, one request after the other.
    splits: bool = False
    max_instructions: int | None = None
    #: Speeds that the vendor takes; (1, 1) where it takes none. The rest of OpenAI's is made by stretching.
    speed: tuple[float, float] | None = None
    #: Audio formats that the vendor makes itself; the others of OpenAI's six are made of these.
    formats: tuple[str, ...] | None = None
    sse: bool = True
    #: OpenAI's ``response_format`` of transcripts: what the vendor knows enough for.
    response_formats: tuple[str, ...] | None = None
    #: ``stream=true`` brings text before the end of the audio is reached.
    streams: bool = False
    max_file_mb: float | None = None
    #: Seconds of audio in one upload.
    max_seconds: float | None = None
    #: ISO-639-1 codes of the languages that are transcribed.
    languages: tuple[str, ...] | None = None
    voices: Voices | None = None
    #: Fields of OpenAI's that have no effect here; one that is set is left out and named in a warning.
    ignores: frozenset[str] = frozenset()
    #: Further fields of the vendor's that a request may set; None passes any on (a server of one's own). Never one that
    #: names a URL, a callback, a key or a header, or that the adapter sets.
    extras: frozenset[str] | None = None
    #: ISO date on which the vendor ends the model.
    shutdown_date: str | None = None


class Adapter(Protocol):
    """One vendor's model bound to one deployment: base URL, key and settings are in place."""

    capabilities: Capabilities

    def speech(self, request: SpeechRequest) -> SpeechFlow: ...

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow: ...

    def error(self, response: httpx.Response, body: bytes) -> ProxyError:
        """What a response of status 300 and above means; ``body`` is its beginning (at most 64 KiB)."""

    def event_error(self, event: bytes) -> ProxyError:
        """What an error event means, in a stream of OpenAI's events; ``event`` is its data."""


class ListsVoices(Protocol):
    """An adapter whose vendor tells its public voices."""

    def voices(self) -> VoicesFlow: ...
