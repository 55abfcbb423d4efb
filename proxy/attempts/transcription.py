"""Transcription: one upload to the vendor. The result is a transcript, events, or the vendor's own document."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import replace
from time import perf_counter
from typing import Protocol, TypeVar

from proxy.attempts.attempt import RunningAttempt
from proxy.attempts.length import UploadLength
from proxy.attempts.opened import first_of, joined
from proxy.attempts.services import Services
from proxy.domain.call import Attempt
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.results import (
    Event,
    ForeignDocument,
    RawDocument,
    RawEvents,
    ResponseMetadata,
    StaticMetadata,
    TranscriptEvents,
    TranscriptionResult,
)
from proxy.domain.transcript import FORMATS, Transcript
from proxy.domain.usage import Usage
from proxy.errors import UpstreamError, UpstreamInvalid
from proxy.matching import TranscriptionPlan
from proxy.providers.base import (
    OpenAITranscript,
    StreamedTranscript,
    WholeTranscript,
)
from proxy.providers.wire import dialects, encodings, json, sse, subtitles, transcripts, usage
from proxy.providers.wire.headers import header
from proxy.providers.wire.relay import TranscriptParser, TranscriptRelay
from proxy.upstream.client import Deadlines, gathered, stream

PLAIN = "text/plain; charset=utf-8"
JSON_FORMATS = ("json", "verbose_json", "diarized_json")
SUBTITLES = ("srt", "vtt")
#: Of typical uploads (128 kbit/s), to compute the speed if the length is not known.
TYPICAL_BYTES_PER_SECOND = 16_000

WholeContent = Transcript | RawDocument | ForeignDocument

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Decoder(Protocol[T_co]):
    """As `TranscriptDecoder`, whether it gives events as objects or as bytes."""

    @property
    def is_complete(self) -> bool: ...

    def feed(self, data: bytes) -> Iterable[T_co]: ...

    def end(self) -> Iterable[T_co]: ...


class TranscriptionAttempt(RunningAttempt[TranscriptionResult]):
    __slots__ = ("_length",)

    plan: TranscriptionPlan

    def __init__(
        self, services: Services, plan: TranscriptionPlan, record: Attempt, seconds_left: float | None
    ) -> None:
        super().__init__(services, plan, record, seconds_left)
        #: The length of the upload, until it is settled.
        self._length: UploadLength | None = None

    async def _execute(self) -> TranscriptionResult:
        plan, record = self.plan, self.record
        bound, request = plan.bound, plan.request
        record.note(plan.warnings)
        deadlines = bound.deadlines(self._seconds_left)
        length = UploadLength(bound, request, record, self._services.seconds_of)
        flow = bound.adapter.transcription(request)
        answer, response = await self._services.upstream.run(bound.adapter, flow, deadlines)
        self._answered_by(response)
        record.is_billed = True
        if isinstance(answer, WholeTranscript):
            content = self._whole(answer.transcript, answer.metadata)
        else:
            chunks = stream(response)
            if isinstance(answer, StreamedTranscript):
                first, are_events = await first_of(chunks), True
            else:
                first, are_events = await _begin(chunks)
            if are_events and request.stream:
                events = await self._events(answer, first, chunks, deadlines)
                self._length = length
                return TranscriptionResult(events, self._headers())
            body = await gathered(joined(first, chunks))
            if are_events and sse.holds_objects(body):
                raise UpstreamInvalid("The upstream vendor sent events instead of a transcript.")
            content = self._document(body, header(response, b"content-type"))
        await length.settle(record.usage, content.duration if isinstance(content, Transcript) else None)
        self._is_whole = True
        return TranscriptionResult(content, self._headers())

    async def _settle(self) -> None:
        length, self._length = self._length, None
        if length is not None:
            await length.settle(self.record.usage)

    # -- whole answers -------------------------------------------------------------------------------------------------

    def _document(self, body: bytes, content_type: str) -> WholeContent:
        request = self.plan.request
        content: WholeContent
        try:
            if self.plan.is_read:
                diarized = request.response_format == "diarized_json"
                content, used = transcripts.read(body, content_type, diarized=diarized, is_openai=True)
            else:
                content, used = document(request, body, content_type)
        except UpstreamInvalid as error:
            raise self.plan.bound.adapter.document_error(body) or error from None
        return self._whole(content, StaticMetadata(used))

    def _whole(self, content: WholeContent, metadata: ResponseMetadata | None) -> WholeContent:
        """A transcript, or the vendor's own document, whose duration is not read."""
        record, request = self.record, self.plan.request
        record.first_byte = perf_counter()
        self._report(metadata)
        if not isinstance(content, Transcript):
            record.audio_seconds = request.seconds or request.file.size / TYPICAL_BYTES_PER_SECOND
            return content
        if self.plan.needs_times:
            check_times(content)
        record.audio_seconds = content.duration
        return content

    # -- events --------------------------------------------------------------------------------------------------------

    async def _events(
        self,
        answer: OpenAITranscript | StreamedTranscript,
        first: bytes,
        chunks: AsyncIterator[bytes],
        deadlines: Deadlines,
    ) -> TranscriptEvents | RawEvents:
        self.record.first_byte = perf_counter()
        deadlines.answering()
        failure = self.plan.bound.adapter.event_error
        if isinstance(answer, StreamedTranscript):
            self._report(answer.metadata)
            return TranscriptEvents((), self._owned(self._parsed(answer.decoder, first, chunks)))
        if self.plan.is_read:
            parser = TranscriptParser(failure)
            self._report(parser)
            events = self._owned(self._parsed(parser, first, chunks))
            return TranscriptEvents(await _first_event(events), events)
        relay = TranscriptRelay(failure)
        self._report(relay)
        frames = self._owned(self._parsed(relay, first, chunks))
        return RawEvents(await first_of(frames), frames)

    async def _parsed(self, decoder: _Decoder[T], first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[T]:
        for event in decoder.feed(first):
            yield event
        try:
            async for chunk in chunks:
                for event in decoder.feed(chunk):
                    yield event
        except UpstreamError:
            if not decoder.is_complete:
                raise
        for event in decoder.end():
            yield event
        await self._finish()

    async def _finish(self) -> None:
        """The last event has arrived, and with it everything that the vendor reports."""
        self._note_usage()
        await self._settle()


async def _begin(chunks: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """The first bytes, and whether they are events, whatever their label says."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if (are_events := sse.begins(head)) is not None:
            return head, are_events
    return head, False


def document(request: TranscriptionRequest, body: bytes, content_type: str) -> tuple[WholeContent, Usage | None]:
    """A vendor's answer as it is, if it has the caller's format; else what it contains, and its usage.

    Raises UpstreamInvalid if it cannot be rendered in the caller's format.
    """
    requested = request.response_format
    if requested not in FORMATS:
        return RawDocument(body, content_type if content_type.lower().startswith("text/") else PLAIN), None
    if requested in JSON_FORMATS and not request.stream:
        parsed = json.strict(body)
        if transcripts.is_whole(parsed, requested, request.timestamp_granularities):
            return RawDocument(body, "application/json"), usage.of_transcript(parsed)
    text = encodings.decoded(body, content_type)
    found = transcripts.found_in(text, content_type, is_text_due=requested not in JSON_FORMATS)
    if found is None:
        return _plain(request, text), None
    raw = dialects.subtitles_in(found) if requested in SUBTITLES else None
    if raw is not None and subtitles.kind(raw) == requested:
        return RawDocument(raw.lstrip("\ufeff \t\r\n").encode(), PLAIN), usage.of_transcript(found)
    members = transcripts.as_openai(found)
    diarized = requested == "diarized_json"
    transcript, used = transcripts.of_document(members, diarized=diarized, is_openai=True)
    transcript = replace(transcript, language=transcript.language or request.language)
    if requested in JSON_FORMATS and not request.stream:
        # A model that ignores ``stream`` (whisper-1) would leave the SDKs without a single event.
        return ForeignDocument(transcript, members), used
    if requested in SUBTITLES:
        check_times(transcript)
    return transcript, used


def _plain(request: TranscriptionRequest, text: str) -> Transcript | RawDocument:
    """Text where the caller requested text or subtitles."""
    requested, kind = request.response_format, subtitles.kind(text)
    if kind is not None and kind != requested:
        return transcripts.of_document(transcripts.as_openai({"text": text}), is_openai=True)[0]
    if requested in SUBTITLES and kind is None and text.strip() not in ("", "WEBVTT"):
        raise UpstreamInvalid(f"The upstream vendor sent text without timestamps, which {requested} needs.")
    if request.stream and requested == "text":
        return Transcript(text=text.strip())
    return RawDocument(text.encode(), PLAIN)


def check_times(transcript: Transcript) -> None:
    """Raises UpstreamInvalid if subtitles need times that are missing; a duration is enough for a single subtitle."""
    if transcript.text.strip() and not (transcript.segments or transcript.words or transcript.duration):
        raise UpstreamInvalid("The upstream vendor sent a transcript without timestamps, which subtitles need.")


async def _first_event(events: AsyncIterator[Event]) -> tuple[Event, ...]:
    """Raises if the first event is an error or is missing."""
    async for event in events:
        return (event,)
    raise UpstreamInvalid("The upstream vendor sent a stream without events.")
