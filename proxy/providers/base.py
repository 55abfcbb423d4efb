"""What a vendor is: a declaration of what it can do, and flows that translate requests and answers.

A flow is a generator in the manner of ``httpx.Auth.auth_flow``: it yields HTTP requests, receives their responses and
returns a description of the answer. The runner (``proxy.upstream``) does the I/O. It raises ``Adapter.error`` for every
status of 300 and above, so a flow sees successful responses only and reads top to bottom. Flows do not emulate what a
vendor lacks of OpenAI's API (formats, lengths, speeds, subtitles); ``calls`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

from proxy.audio.languages import LanguageCodes
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import ResponseMetadata
from proxy.domain.transcript import Transcript
from proxy.errors import BadRequest, ProxyError
from proxy.http.messages import Request, Response
from proxy.providers.voices import Voice, Voices
from proxy.providers.wire import errors, sse
from proxy.providers.wire.errors import ErrorDetails


class BufferedRequest(NamedTuple):
    """A request whose response body the flow needs; the response to a bare request arrives unread, as a stream."""

    request: Request
    #: Seconds to wait before the request is sent, for polling. An occasional failure does not end the flow then.
    wait: float = 0.0
    #: Deletes what was uploaded. It is sent when the flow is over, however it ended (also if the caller disconnected).
    #: The caller does not wait for its response.
    cleanup: Request | None = None
    #: Only the response says what has to be deleted: it is awaited even if the caller disconnects, and the next step's
    #: ``cleanup`` is sent. Not for a request whose body is the caller's file, which is gone by then.
    creates: bool = False


Step = Request | BufferedRequest


class SpeechDecoder(ResponseMetadata, Protocol):
    """A vendor's framing (base64 or hex in JSON, events), bytes in, audio out."""

    def feed(self, data: bytes) -> Iterable[bytes]: ...

    def end(self) -> Iterable[bytes]:
        """Raises UpstreamInvalid if the stream is incomplete."""


@dataclass(slots=True)
class SpeechAnswer:
    """The last response of the flow carries the speech. Its first bytes show whether it is in the requested format."""

    #: The one that was requested.
    format: str
    #: Samples per second, and interleaved channels, if the format is pcm (s16le).
    rate: int = 24_000
    channels: int = 1
    #: Extracts the audio from the response; None if the response body is the audio.
    decoder: SpeechDecoder | None = None
    #: What extracts the audio if the body turns out to be server-sent events; None if the vendor never sends any.
    events: Callable[[], SpeechDecoder] | None = None
    #: If None, the decoder's, if there is one.
    metadata: ResponseMetadata | None = None


@dataclass(slots=True)
class OpenAITranscript:
    """The last response of the flow is a transcript in OpenAI's format, as the caller requested it.

    Its bytes show whether it is a document or a stream of events.
    """


@dataclass(slots=True)
class WholeTranscript:
    """The flow has parsed the vendor's transcript; it is rendered later in the format that the caller requested."""

    transcript: Transcript
    metadata: ResponseMetadata | None = None


class TranscriptDecoder(Protocol):
    """A vendor's stream, bytes in, OpenAI's event objects out: ``transcript.text.delta`` … ``transcript.text.done``."""

    @property
    def is_complete(self) -> bool:
        """The transcript has arrived; a stream that breaks off now has lost nothing."""

    def feed(self, data: bytes) -> Iterable[Mapping[str, Any]]: ...

    def end(self) -> Iterable[Mapping[str, Any]]:
        """Raises UpstreamInvalid if the stream is incomplete."""


@dataclass(slots=True)
class StreamedTranscript:
    """The last response of the flow is a transcript that arrives incrementally, in the vendor's own framing."""

    decoder: TranscriptDecoder
    metadata: ResponseMetadata | None = None


TranscriptionAnswer = OpenAITranscript | WholeTranscript | StreamedTranscript


SpeechFlow = Generator[Step, Response, SpeechAnswer]
TranscriptionFlow = Generator[Step, Response, TranscriptionAnswer]
#: Lists the public voices, live.
VoicesFlow = Generator[Step, Response, tuple[Voice, ...]]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a vendor's model can do. None means that nothing is declared: the upstream decides."""

    modes: frozenset[Mode]
    #: Per request; a longer input is refused, or spoken in pieces if the vendor `splits`.
    max_characters: int | None = None
    #: A longer input may be spoken in pieces, one request after another.
    splits: bool = False
    #: Per request, beside ``max_characters``.
    max_tokens: int | None = None
    #: The vendor rejects an input without a letter or digit, or says something else.
    needs_words: bool = False
    max_instructions: int | None = None
    #: The speeds that the vendor supports; (1, 1) if it supports none. Other speeds are emulated by time-stretching.
    speed: tuple[float, float] | None = None
    #: Audio formats that the vendor produces; the others of OpenAI's six are converted from these.
    formats: tuple[str, ...] | None = None
    sse: bool = True
    #: The values of OpenAI's ``response_format`` of transcripts for which the vendor returns enough.
    response_formats: tuple[str, ...] | None = None
    #: With ``stream=true``, text arrives before the end of the audio is reached.
    streams: bool = False
    #: The containers of uploads that the vendor reads, by the names of `proxy.audio.labels`.
    containers: tuple[str, ...] | None = None
    max_file_mb: float | None = None
    #: Seconds of audio in one upload.
    max_seconds: float | None = None
    #: The codes of the languages that are transcribed; None: the caller's own spelling is sent.
    languages: LanguageCodes | None = None
    voices: Voices | None = None
    #: OpenAI's fields that have no effect; one that is set is left out and named in a warning.
    ignores: frozenset[str] = frozenset()
    #: The vendor's own fields that a request may set; None forwards any (self-hosted servers). Never a field that holds
    #: a URL, a callback, a key or a header, or one that the adapter sets.
    extras: frozenset[str] | None = None
    #: ISO date on which the vendor retires the model.
    shutdown_date: str | None = None


class Adapter:
    """One vendor's model bound to one deployment: base URL, key and settings are in place.

    A vendor overrides what it does differently. ``secrets`` (keys and hosts) are redacted from the vendor's errors.
    """

    #: Requests go over a WebSocket.
    over_socket: ClassVar[bool] = False

    def __init__(self, capabilities: Capabilities, *, secrets: Sequence[str] = ()) -> None:
        self.capabilities = capabilities
        self._secrets = secrets

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        """Never called unless ``capabilities`` declare speech."""
        raise BadRequest(f"The model '{request.model}' does not generate speech.", param="model")

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        """Never called unless ``capabilities`` declare transcription or translation."""
        raise BadRequest(f"The model '{request.model}' does not transcribe.", param="model")

    def voices(self) -> VoicesFlow | None:
        """Lists the vendor's public voices; None if the vendor does not list them."""
        return None

    def opening(self, request: SpeechRequest) -> Request | None:
        """A request that opens the connection before it is known that it is needed; None if there is nothing to open.

        It has the URL and the headers of the speech; ``"setting"`` in its extensions is that of its conversation.
        """
        return None

    def error(self, response: Response, body: bytes) -> ProxyError:
        """The error for a response of status 300 and above; ``body`` is its beginning (at most 64 KiB)."""
        return errors.to_error(self.error_details(response, body), self._secrets)

    def event_error(self, event: bytes) -> ProxyError:
        """The error for an error event in a stream that began with status 200; ``event`` is its data."""
        return errors.to_error(self.event_error_details(event), self._secrets)

    def document_error(self, body: bytes) -> ProxyError | None:
        """The refusal that a document with status 200 reports; None if it reports none, or only a failure."""
        if not sse.reports_error(body):
            return None
        error = self.event_error(body)
        return error if error.status < 500 else None

    def error_details(self, response: Response, body: bytes) -> ErrorDetails:
        """Parses an error document. By default it has OpenAI's shape, or one that is close to it."""
        return errors.of_response(response, body)

    def event_error_details(self, event: bytes) -> ErrorDetails:
        return errors.of_event(event)
