"""Speech: one request, or one for each piece of a long text; then conversion to the caller's format and speed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from time import perf_counter

from proxy.attempts.attempt import RunningAttempt
from proxy.attempts.chunked_speech import ChunkedSpeech
from proxy.attempts.opened import OpenedStream, audio_format, first_of, joined
from proxy.audio import codec, duration
from proxy.audio.codec import SPEECH_RATE
from proxy.audio.formats import SPEECH_FORMATS
from proxy.domain.requests import SpeechRequest
from proxy.domain.results import SpeechResult
from proxy.errors import UpstreamError, UpstreamInvalid
from proxy.matching import SpeechPlan
from proxy.matching.sentences import pieces
from proxy.providers.base import SpeechDecoder
from proxy.providers.wire import sse
from proxy.providers.wire.headers import header
from proxy.upstream.client import BodyStream, Deadlines, stream


class SpeechAttempt(RunningAttempt[SpeechResult]):
    __slots__ = ()

    plan: SpeechPlan

    async def _execute(self) -> SpeechResult:
        plan = self.plan
        self.record.note(plan.warnings)
        deadlines = plan.bound.deadlines(self._seconds_left)
        if plan.piece_characters is not None:
            return await self._speak_in_pieces(deadlines, plan.piece_characters)
        opened = await self._open(plan.request, deadlines)
        if not opened.format and plan.tempo == 1.0:
            return await self._relay(opened)
        self._report(opened.metadata)
        requested, format = plan.response_format, opened.format
        is_other = (format, opened.rate) != (requested, SPEECH_RATE)
        if plan.tempo != 1.0 or (is_other and requested in SPEECH_FORMATS and format in SPEECH_FORMATS):
            await self._convert(opened)
        if not self.record.is_settled:
            opened.chunks, opened.body = self._owned(self._noting_usage(opened.chunks)), None
        return self._result(opened.first, opened.chunks, opened)

    def _result(self, first: bytes, rest: AsyncIterator[bytes], opened: OpenedStream) -> SpeechResult:
        content_type = "" if opened.format in SPEECH_FORMATS else header(opened.response, b"content-type")
        return SpeechResult(first, rest, opened.format, content_type, self._metadata, self._headers(), opened.body)

    # -- the vendor ----------------------------------------------------------------------------------------------------

    async def _open(self, request: SpeechRequest, deadlines: Deadlines, *, first: bool = True) -> OpenedStream:
        """One request, up to the first bytes of audio. ``first``: its response is closed with the attempt."""
        bound, record = self.plan.bound, self.record
        described, response = await self._services.upstream.run(bound.adapter, bound.adapter.speech(request), deadlines)
        try:
            if first:
                self._answered_by(response)
            chunks: AsyncIterator[bytes]
            body: BodyStream | None
            chunks = body = stream(response)
            if described.decoder is not None:
                chunks, body = self._owned(_decoded(described.decoder, chunks)), None
            data = await first_of(chunks)
            if first:
                record.first_byte = perf_counter()
            deadlines.answering()
            metadata = described.metadata or described.decoder
            format = "" if described.events else audio_format(described, data, response)
            record.is_billed = True
            record.characters = (record.characters or 0) + bound.characters(request.input)
            if (counter := duration.counter(format, described.rate)) is not None:
                counter.feed(data)
                record.sounds.append(counter)
                chunks = duration.Counted(chunks, counter)
            return OpenedStream(response, format, described.rate, data, chunks, metadata, body)
        except BaseException:
            await response.aclose()
            raise

    async def _relay(self, opened: OpenedStream) -> SpeechResult:
        """OpenAI's events as they arrive. Raises if the first event is an error or is missing."""
        relay = sse.Relay(self.plan.bound.adapter.event_error)
        self._report(opened.metadata or relay)
        events = self._owned(self._whole_events(relay, opened))
        opened.body = None
        return self._result(await first_of(events), events, opened)

    async def _whole_events(self, relay: sse.Relay, opened: OpenedStream) -> AsyncGenerator[bytes]:
        for block in relay.feed(opened.first):
            yield block
        try:
            async for chunk in opened.chunks:
                for block in relay.feed(chunk):
                    yield block
        except UpstreamError:
            if not relay.is_complete:
                raise
        for block in relay.end():
            yield block
        self._note_usage()

    async def _noting_usage(self, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """Passes the chunks of the result on. At their end the vendor has reported everything.

        This is the last step, since a converter may end before it has read all of the vendor's audio.
        """
        async for chunk in chunks:
            yield chunk
        self._note_usage()

    # -- the caller's format and speed ---------------------------------------------------------------------------------

    async def _convert(self, opened: OpenedStream) -> None:
        if not opened.format:
            raise UpstreamInvalid("The upstream vendor sent events instead of audio.")
        requested, tempo, encoders = self.plan.response_format, self.plan.tempo, self._services.encoders
        chunks = joined(opened.first, opened.chunks)
        if opened.format == "pcm":
            source = codec.PcmFormat(opened.rate)
            encoded = codec.encode(encoders, chunks, source=source, target=requested, tempo=tempo)
        else:
            encoded = codec.transcode(encoders, chunks, source_format=opened.format, target=requested, tempo=tempo)
        opened.format, opened.body, opened.chunks = requested, None, self._owned(encoded)
        opened.first = await first_of(encoded)

    async def _speak_in_pieces(self, deadlines: Deadlines, piece_characters: int) -> SpeechResult:
        """As `_execute`, for an input that is too long for one request."""
        plan = self.plan

        async def open_piece(text: str, *, first: bool) -> OpenedStream:
            piece = replace(plan.request, input=text)
            limits = deadlines if first else plan.bound.deadlines(deadlines.left)
            return await self._open(piece, limits, first=first)

        chunked = ChunkedSpeech(open_piece, self._samples, pieces(plan.request.input, piece_characters))
        await chunked.start()
        self._report(chunked)
        source, requested = codec.PcmFormat(chunked.rate), plan.response_format
        spoken = self._owned(chunked.samples())
        encoded = codec.encode(self._services.encoders, spoken, source=source, target=requested, tempo=plan.tempo)
        first = await first_of(self._owned(encoded))
        rest = self._owned(self._noting_usage(encoded))
        return SpeechResult(first, rest, requested, metadata=chunked, headers=self._headers())

    def _samples(self, opened: OpenedStream, rate: int) -> AsyncGenerator[bytes]:
        """s16le mono. The readers do it, since a call that holds an encoder must not wait for another one."""
        chunks = joined(opened.first, opened.chunks)
        readers = self._services.readers
        return codec.transcode(readers, chunks, source_format=opened.format, target="pcm", rate=rate)


async def _decoded(decoder: SpeechDecoder, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        for audio in decoder.feed(chunk):
            yield audio
    for audio in decoder.end():
        yield audio
