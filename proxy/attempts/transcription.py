"""Transcription: one upload to the vendor. The result is a transcript, events, or the vendor's own document."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from time import perf_counter
from typing import Any

from proxy.attempts.attempt import RunningAttempt
from proxy.attempts.length import UploadLength
from proxy.attempts.opened import first_of
from proxy.attempts.services import Services
from proxy.domain.call import Attempt
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.results import (
    Event,
    ForeignDocument,
    RawDocument,
    RawEvents,
    StaticMetadata,
    TranscriptEvents,
    TranscriptionResult,
)
from proxy.domain.transcript import FORMATS, Transcript
from proxy.domain.usage import Usage
from proxy.errors import UpstreamError, UpstreamInvalid
from proxy.http.messages import Response
from proxy.matching import TranscriptionPlan
from proxy.providers.base import (
    OpenAITranscript,
    StreamedTranscript,
    TranscriptDecoder,
    WholeTranscript,
)
from proxy.providers.wire import dialects, encodings, json, sse, subtitles, transcripts, usage
from proxy.providers.wire.headers import header
from proxy.upstream.client import Deadlines, read_whole, stream

PLAIN = "text/plain; charset=utf-8"
JSON_FORMATS = ("json", "verbose_json", "diarized_json")
SUBTITLES = ("srt", "vtt")
#: A page of a gateway; not the ``<|en|>`` and ``<unk>`` with which some models begin.
_MARKUP = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml|title|h\d|p|div|center|pre)\b", re.IGNORECASE)
#: Of typical uploads (128 kbit/s), to compute the speed if the length is not known.
TYPICAL_BYTES_PER_SECOND = 16_000

WholeContent = Transcript | RawDocument | ForeignDocument


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
        if isinstance(answer, StreamedTranscript) or (isinstance(answer, OpenAITranscript) and answer.events):
            if not request.stream:
                raise UpstreamInvalid("The upstream vendor sent events instead of a transcript.")
            events = await self._events(answer, response, deadlines)
            self._length = length
            return TranscriptionResult(events, self._headers())
        content = await self._whole(answer, response)
        await length.settle(record.usage, content.duration if isinstance(content, Transcript) else None)
        self._is_whole = True
        return TranscriptionResult(content, self._headers())

    async def _settle(self) -> None:
        length, self._length = self._length, None
        if length is not None:
            await length.settle(self.record.usage)

    # -- whole answers -------------------------------------------------------------------------------------------------

    async def _whole(self, answer: WholeTranscript | OpenAITranscript, response: Response) -> WholeContent:
        """A transcript, or the vendor's own document, whose duration is not read."""
        record, request = self.record, self.plan.request
        metadata = answer.metadata
        content: WholeContent
        if isinstance(answer, WholeTranscript):
            content = answer.transcript
        else:
            body = await read_whole(response)
            if self.plan.is_read:
                content, used = _read(request, body)
            else:
                content, used = document(request, body, header(response, b"content-type"))
            metadata = metadata or StaticMetadata(used)
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
        self, answer: OpenAITranscript | StreamedTranscript, response: Response, deadlines: Deadlines
    ) -> TranscriptEvents | RawEvents:
        chunks = stream(response)
        first = await first_of(chunks)
        self.record.first_byte = perf_counter()
        deadlines.answering()
        failure = self.plan.bound.adapter.event_error
        if isinstance(answer, StreamedTranscript):
            self._report(answer.metadata)
            return TranscriptEvents((), self._owned(self._parsed(answer.decoder, first, chunks)))
        if self.plan.is_read:
            parser = sse.EventParser(failure)
            self._report(answer.metadata or parser)
            events = self._owned(self._parsed(parser, first, chunks))
            return TranscriptEvents(await _first_event(events), events)
        relay = sse.Relay(failure)
        self._report(answer.metadata or relay)
        frames = self._owned(self._relayed(relay, first, chunks))
        return RawEvents(await first_of(frames), frames)

    async def _parsed(
        self, decoder: TranscriptDecoder, first: bytes, chunks: AsyncIterator[bytes]
    ) -> AsyncGenerator[Event]:
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

    async def _relayed(self, relay: sse.Relay, first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        for frame in relay.feed(first):
            yield frame
        try:
            async for chunk in chunks:
                for frame in relay.feed(chunk):
                    yield frame
        except UpstreamError:
            if not relay.is_complete:
                raise
        for frame in relay.end():
            yield frame
        await self._finish()

    async def _finish(self) -> None:
        """The last event has arrived, and with it everything that the vendor reports."""
        self._note_usage()
        await self._settle()


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
    found = _found(text, content_type.partition(";")[0].strip().lower(), requested)
    if found is None:
        return _plain(request, text, body), None
    if requested in SUBTITLES and isinstance(raw := found.get("text"), str) and subtitles.kind(raw) == requested:
        return RawDocument(encoded(raw), PLAIN), usage.of_transcript(found)
    members = dialects.as_openai(found)
    if members is None:
        raise UpstreamInvalid("The upstream vendor's answer is not a transcript.")
    diarized = requested == "diarized_json"
    transcript, used = transcripts.of_document(members, diarized=diarized, is_openai=True)
    transcript = replace(transcript, language=transcript.language or request.language)
    if requested in JSON_FORMATS and not request.stream:
        # A model that ignores ``stream`` (whisper-1) would leave the SDKs without a single event.
        return ForeignDocument(transcript, members), used
    if requested in SUBTITLES and transcript.text.strip() and not transcript.segments and not transcript.words:
        raise UpstreamInvalid(f"The upstream vendor sent a transcript without timestamps, which {requested} needs.")
    return transcript, used


def _found(text: str, media_type: str, requested: str) -> dict[str, Any] | None:
    """The JSON in an answer, or its text where JSON is due; None for text where text is due."""
    is_json, start = media_type.endswith("json"), text.lstrip()[:1]
    if start in ("{", "[") or (is_json and start == '"'):
        try:
            parsed = json.read(text)
        except ValueError:
            parsed = None
        if parsed is not None:
            return (
                parsed
                if isinstance(parsed, dict)
                else {"text": parsed}
                if isinstance(parsed, str)
                else {"result": parsed}
            )
    is_document = _MARKUP.match(text) is not None
    is_cut = start in ("{", "[") and (is_json or requested != "text")
    if is_document or is_cut or (is_json and requested in JSON_FORMATS):
        raise UpstreamInvalid("The upstream vendor sent a document instead of a transcript.", detail=media_type)
    if requested not in JSON_FORMATS:
        return None
    if not media_type.startswith("text/") or not text.strip():
        raise UpstreamInvalid("The upstream vendor's answer is not JSON.", detail=media_type)
    return {"text": text.strip()}


def _plain(request: TranscriptionRequest, text: str, body: bytes) -> Transcript | RawDocument:
    """Text where the caller requested text or subtitles."""
    requested, kind = request.response_format, subtitles.kind(text)
    if kind is not None and kind != requested:
        members = dialects.as_openai(text) or {}
        return transcripts.of_document(members, is_openai=True)[0]
    if requested in SUBTITLES and kind is None and text.strip() not in ("", "WEBVTT"):
        raise UpstreamInvalid(f"The upstream vendor sent text without timestamps, which {requested} needs.")
    if request.stream and requested == "text":
        return Transcript(text=text.strip())
    content = encoded(text)
    return RawDocument(body if body == content else content, PLAIN)


def encoded(text: str) -> bytes:
    """A text from JSON may contain half of a surrogate pair, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace")


def _read(request: TranscriptionRequest, body: bytes) -> tuple[Transcript, Usage | None]:
    return transcripts.read(body, diarized=request.response_format == "diarized_json", is_openai=True)


def check_times(transcript: Transcript) -> None:
    """Raises UpstreamInvalid if subtitles need times that are missing; a duration is enough for a single subtitle."""
    if transcript.text.strip() and not (transcript.segments or transcript.words or transcript.duration):
        raise UpstreamInvalid("The upstream vendor sent a transcript without timestamps, which subtitles need.")


async def _first_event(events: AsyncIterator[Event]) -> tuple[Event, ...]:
    """Raises if the first event is an error or is missing."""
    async for event in events:
        return (event,)
    raise UpstreamInvalid("The upstream vendor sent a stream without events.")
