"""Makes attempts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from time import perf_counter

import httpx

from proxy.audio import codec, duration
from proxy.audio.codec import SPEECH_RATE
from proxy.audio.formats import SPEECH_FORMATS, content_type
from proxy.audio.pool import WorkerPool
from proxy.audio.probe import probe
from proxy.calls.answer import Answer
from proxy.calls.chunked_speech import ChunkedSpeech
from proxy.calls.fitting import FittedSpeech, fitted_speech, fitted_transcription, from_sound
from proxy.calls.length import Length
from proxy.calls.line import BoundDeployment
from proxy.calls.sentences import pieces
from proxy.calls.speech import (
    OpenedStream,
    as_events,
    audio_format,
    content_type_of,
    first_of,
    joined,
    relayed,
    taken_out,
)
from proxy.calls.transcripts import decoded_events, read_transcript, rendered, whole_document
from proxy.domain.call import Attempt
from proxy.domain.requests import SpeechRequest, TranscriptionRequest, Upload
from proxy.domain.transcript import Transcript
from proxy.domain.usage import Usage
from proxy.errors import InvalidAudio, ProxyError, UpstreamInvalid
from proxy.providers.base import OpenAITranscript, ResponseMetadata, StaticMetadata, StreamedTranscript, WholeTranscript
from proxy.providers.vendors.chat import ChatAdapter
from proxy.providers.voices import Voice
from proxy.providers.wire import sse, usage
from proxy.providers.wire.requests import upstream_id
from proxy.upstream.client import Deadlines, Upstream, read_whole, stream

#: Of speech as people upload it (128 kbit/s), where a speed is to be told and nobody knows the length.
TYPICAL_BYTES_A_SECOND = 16_000
#: Seconds in which a vendor's list of voices is to be here.
VOICES_SECONDS = 5.0


class Heard(Answer):
    """A transcript that goes on to be translated, in place of bytes for the caller."""

    __slots__ = ("line", "transcript")

    def __init__(
        self,
        response: httpx.Response,
        line: BoundDeployment,
        transcript: Transcript,
        metadata: ResponseMetadata | None = None,
    ) -> None:
        super().__init__(response, "application/json", b"", metadata=metadata)
        self.line = line
        self.transcript = transcript

    def passed_on(self, request: TranscriptionRequest, transcript: Transcript) -> Answer:
        """What the caller gets of it."""
        return rendered(request, transcript, self.response, None)


class Translated(Answer):
    """Texts in English, one for each that was sent."""

    __slots__ = ("texts",)

    def __init__(self, response: httpx.Response, texts: Sequence[str], metadata: ResponseMetadata) -> None:
        super().__init__(response, "application/json", b"", metadata=metadata)
        self.texts = texts


class AttemptRunner:
    """``encoders`` are the workers that change the audio of answers, ``readers`` read uploads."""

    def __init__(self, upstream: Upstream, encoders: WorkerPool, readers: WorkerPool) -> None:
        self._upstream = upstream
        self._encoders = encoders
        self._readers = readers

    # -- speech --------------------------------------------------------------------------------------------------------

    async def speech(
        self, line: BoundDeployment, request: SpeechRequest, attempt: Attempt, left: float | None = None
    ) -> Answer:
        """Raises a ProxyError where no first byte of audio came; later ``rest`` raises where the stream breaks."""
        fitted = fitted_speech(line, request)
        attempt.warnings.extend(fitted.warnings)
        deadlines, can = line.deadlines(left), line.adapter.capabilities
        if can.splits and can.max_characters is not None and len(request.input) > can.max_characters:
            return await self._recited(line, request, fitted, can.max_characters, attempt, deadlines)
        begun = await self._begin(line, fitted.request, deadlines, attempt)
        try:
            if not begun.format and fitted.tempo == 1.0:
                return await relayed(line, begun)
            return await self._finished(begun, request, fitted.tempo)
        except BaseException:
            await begun.response.aclose()
            raise

    def warm(self, line: BoundDeployment, request: SpeechRequest) -> None:
        """Begin to open what the speech will need, where the vendor is behind a socket. Nothing is known of it yet."""
        with contextlib.suppress(ProxyError):
            opening = line.adapter.opening(fitted_speech(line, request).request)
            if opening is not None:
                self._upstream.warm(opening)

    async def _begin(
        self,
        line: BoundDeployment,
        request: SpeechRequest,
        deadlines: Deadlines,
        attempt: Attempt,
        *,
        first: bool = True,
    ) -> OpenedStream:
        """One request, up to the first bytes of audio; ``attempt`` notes what it uses, and the times of the first."""
        described, response = await self._upstream.run(line.adapter, line.adapter.speech(request), deadlines)
        try:
            if first:
                attempt.upstream_id = upstream_id(response)
            chunks = stream(response)
            if described.decoder is not None:
                chunks = taken_out(described.decoder, chunks)
            data = await first_of(chunks)
            if first:
                attempt.first_byte = perf_counter()
            deadlines.answering()
            metadata = described.metadata or described.decoder
            if first and metadata is not None:
                attempt.note(metadata.warnings)
            format = "" if described.events else audio_format(described, data, response)
            attempt.is_billed = True
            attempt.characters = (attempt.characters or 0) + line.characters(request.input)
            sound = duration.counter(format, described.rate)
            if sound is not None:
                sound.feed(data)
                attempt.sounds.append(sound)
                chunks = duration.Counted(chunks, sound)
            return OpenedStream(response, format, described.rate, data, chunks, metadata)
        except BaseException:
            await response.aclose()
            raise

    async def _finished(self, begun: OpenedStream, request: SpeechRequest, tempo: float) -> Answer:
        """The audio in the format, at the speed and in the framing that the caller wants."""
        wanted, came, first, chunks = request.response_format, begun.format, begun.first, begun.chunks
        sources: tuple[AsyncGenerator[bytes], ...] = ()
        is_due = wanted in SPEECH_FORMATS and came in SPEECH_FORMATS and (came, begun.rate) != (wanted, SPEECH_RATE)
        if is_due or tempo != 1.0:
            chunks = encoder = self._changed(begun, wanted, tempo)
            sources, came = (encoder,), wanted
            first = await first_of(chunks)
        if request.stream_format == "sse":
            events = as_events(chunks, begun.metadata)
            first, chunks = sse.audio_delta(first), events
            return Answer(begun.response, sse.CONTENT_TYPE, first, chunks, begun.metadata, sources)
        return Answer(begun.response, content_type_of(came, begun.response), first, chunks, begun.metadata, sources)

    def _changed(self, begun: OpenedStream, wanted: str, tempo: float) -> AsyncGenerator[bytes]:
        if not begun.format:
            raise UpstreamInvalid("The upstream vendor sent events where audio was due.")
        chunks = joined(begun.first, begun.chunks)
        if begun.format == "pcm":
            source = codec.PcmFormat(begun.rate)
            return codec.encode(self._encoders, chunks, source=source, target=wanted, tempo=tempo)
        return codec.transcode(self._encoders, chunks, source_format=begun.format, target=wanted, tempo=tempo)

    async def _recited(
        self,
        line: BoundDeployment,
        request: SpeechRequest,
        fitted: FittedSpeech,
        most: int,
        attempt: Attempt,
        deadlines: Deadlines,
    ) -> Answer:
        """As `speech`, of an input that is too long for one request."""
        asked = replace(fitted.request, **from_sound(line.adapter.capabilities))

        async def begin(text: str, *, first: bool) -> OpenedStream:
            piece = replace(asked, input=text)
            return await self._begin(
                line, piece, deadlines if first else line.deadlines(deadlines.left), attempt, first=first
            )

        chunked_speech = ChunkedSpeech(begin, self._samples, pieces(request.input, most))
        response = await chunked_speech.start()
        spoken = chunked_speech.samples()
        source, wanted = codec.PcmFormat(chunked_speech.rate), request.response_format
        try:
            encoded = codec.encode(self._encoders, spoken, source=source, target=wanted, tempo=fitted.tempo)
            first = await first_of(encoded)
        except BaseException:
            await spoken.aclose()
            await response.aclose()
            raise
        if request.stream_format == "sse":
            events = as_events(encoded, chunked_speech)
            return Answer(response, sse.CONTENT_TYPE, sse.audio_delta(first), events, chunked_speech, (encoded, spoken))
        return Answer(response, content_type(wanted), first, encoded, chunked_speech, (encoded, spoken))

    def _samples(self, begun: OpenedStream, rate: int) -> AsyncGenerator[bytes]:
        """s16le mono; of the readers' processes, since a call that holds an encoder must not wait for another."""
        chunks = joined(begun.first, begun.chunks)
        return codec.transcode(self._readers, chunks, source_format=begun.format, target="pcm", rate=rate)

    # -- transcription -------------------------------------------------------------------------------------------------

    async def transcription(
        self, line: BoundDeployment, request: TranscriptionRequest, attempt: Attempt, left: float | None = None
    ) -> Answer:
        """Raises a ProxyError where no answer came; ``rest`` raises where a stream of events breaks."""
        request, warnings = fitted_transcription(line, request)
        attempt.warnings.extend(warnings)
        deadlines, length = line.deadlines(left), Length(line, request, attempt, self.seconds_of)
        described, response = await self._upstream.run(line.adapter, line.adapter.transcription(request), deadlines)
        try:
            attempt.upstream_id, attempt.is_billed = upstream_id(response), True
            metadata = described.metadata
            if metadata is not None:
                attempt.note(metadata.warnings)
            if isinstance(described, WholeTranscript):
                attempt.first_byte = perf_counter()
                attempt.audio_seconds = described.transcript.duration
                await length.settle(_used(metadata), described.transcript.duration)
                return rendered(request, described.transcript, response, metadata)
            if isinstance(described, StreamedTranscript) or described.events:
                if not request.stream:
                    raise UpstreamInvalid("The upstream vendor sent events where a transcript was due.")
                answer = await self._events(line, described, response, attempt, deadlines)
                answer.settling = length.settle
                return answer
            body = await read_whole(response)
            attempt.first_byte = perf_counter()
            attempt.audio_seconds = request.seconds or request.file.size / TYPICAL_BYTES_A_SECOND
            answer = whole_document(request, response, body, metadata)
            await length.settle(_used(answer.metadata))
            return answer
        except BaseException:
            await response.aclose()
            raise

    async def _events(
        self,
        line: BoundDeployment,
        described: OpenAITranscript | StreamedTranscript,
        response: httpx.Response,
        attempt: Attempt,
        deadlines: Deadlines,
    ) -> Answer:
        chunks = stream(response)
        first = await first_of(chunks)
        attempt.first_byte = perf_counter()
        deadlines.answering()
        if isinstance(described, StreamedTranscript):
            decoded = decoded_events(described.decoder, first, chunks)
            return Answer(response, sse.CONTENT_TYPE, b"", decoded, described.metadata)
        return await relayed(line, OpenedStream(response, "", 0, first, chunks, described.metadata))

    async def transcript(
        self, line: BoundDeployment, request: TranscriptionRequest, attempt: Attempt, left: float | None = None
    ) -> Heard:
        """As `transcription`, for the proxy itself to go on with."""
        request, warnings = fitted_transcription(line, request)
        attempt.warnings.extend(warnings)
        length = Length(line, request, attempt, self.seconds_of)
        flow = line.adapter.transcription(request)
        described, response = await self._upstream.run(line.adapter, flow, line.deadlines(left))
        try:
            attempt.upstream_id, attempt.is_billed = upstream_id(response), True
            metadata = described.metadata
            if metadata is not None:
                attempt.note(metadata.warnings)
            if isinstance(described, WholeTranscript):
                found = described.transcript
            elif isinstance(described, OpenAITranscript) and not described.events:
                found = read_transcript(await read_whole(response))
                metadata = metadata or StaticMetadata(
                    usage.of_transcript({"usage": found.usage, "duration": found.duration})
                )
            else:
                raise UpstreamInvalid("The upstream vendor sent events where a transcript was due.")
            attempt.first_byte = perf_counter()
            attempt.audio_seconds = found.duration
            await length.settle(_used(metadata), found.duration)
            return Heard(response, line, found, metadata)
        except BaseException:
            await response.aclose()
            raise

    async def translation(
        self, line: BoundDeployment, texts: Sequence[str], hint: str | None, attempt: Attempt, left: float | None = None
    ) -> Translated:
        """The texts in English. ``line`` is that of a chat deployment."""
        if not isinstance(line.adapter, ChatAdapter):
            raise TypeError("only a chat deployment translates")
        flow = line.adapter.translation(texts, hint)
        translated, response = await self._upstream.run(line.adapter, flow, line.deadlines(left))
        await response.aclose()
        attempt.upstream_id, attempt.is_billed = upstream_id(response), True
        attempt.first_byte = perf_counter()
        return Translated(response, translated.texts, StaticMetadata(translated.usage))

    # -- what helps to decide ------------------------------------------------------------------------------------------

    async def voices(self, line: BoundDeployment) -> tuple[Voice, ...] | None:
        """The vendor's public voices, live; None if the vendor does not list them. Raises a ProxyError."""
        listing = line.adapter.voices()
        if listing is None:
            return None
        deadlines = Deadlines(total=VOICES_SECONDS, first_byte=None, stall=None)
        voices, response = await self._upstream.run(line.adapter, listing, deadlines)
        await response.aclose()
        return voices

    async def seconds_of(self, file: Upload) -> float | None:
        """How long the audio is; None where it cannot be read, which is for the upstream to say."""
        descriptor = file.fileno()
        try:
            found = await probe(self._readers, file.getbuffer() if descriptor is None else descriptor)
        except InvalidAudio:
            return None
        return found.duration


def _used(metadata: ResponseMetadata | None) -> Usage | None:
    return metadata.usage if metadata is not None else None
