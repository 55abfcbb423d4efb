"""Speech: one request, or one for each piece of a long text; then conversion to the caller's format and speed."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from time import perf_counter

from proxy.attempts.attempt import RunningAttempt
from proxy.attempts.chunked_speech import ChunkedSpeech
from proxy.attempts.opened import NoAudio, OpenedStream, Recorder, begin, first_of, joined, opened_as
from proxy.audio import codec, duration, recognition
from proxy.audio.codec import SPEECH_RATE
from proxy.audio.formats import SPEECH_FORMATS
from proxy.domain.requests import SpeechRequest
from proxy.domain.results import SpeechResult
from proxy.errors import (
    VENDOR_LIMITED,
    ProxyError,
    UpstreamError,
    UpstreamInvalid,
    UpstreamRateLimited,
    UpstreamRejected,
)
from proxy.http.messages import Response
from proxy.matching import SpeechPlan
from proxy.matching.sentences import pieces
from proxy.matching.speech import has_words
from proxy.providers.base import SpeechAnswer, SpeechDecoder
from proxy.providers.wire.headers import header
from proxy.providers.wire.relay import SpeechRelay
from proxy.upstream.client import Deadlines, stream

#: What callers get instead of an input without words.
SILENCE_SECONDS = 0.2
_NOTHING_TO_SAY = re.compile(
    r"punctuation|empty|blank|whitespace|at least one|no (?:audio|speech|text|words?|valid|speakable)|nothing|"
    r"(?:input|text|transcript)[\w ]*(?:invalid|required|must|too short)|(?:invalid|missing) (?:input|text|transcript)",
    re.IGNORECASE,
)


class SpeechAttempt(RunningAttempt[SpeechResult]):
    __slots__ = ()

    plan: SpeechPlan

    async def _execute(self) -> SpeechResult:
        plan = self.plan
        self.record.note(plan.warnings)
        if plan.is_silent:
            return await self._silence()
        deadlines = plan.bound.deadlines(self._seconds_left)
        if plan.piece_characters is not None:
            return await self._speak_in_pieces(deadlines, plan.piece_characters)
        try:
            opened = await self._open(plan.request, deadlines)
        except UpstreamError as error:
            if has_words(plan.request.input) or not _is_about_silence(error):
                raise
            return await self._silence()
        if not opened.format:
            return await self._relay(opened)
        self._report(opened.metadata)
        if plan.tempo != 1.0 or not self._is_requested(opened):
            await self._convert(opened)
        if not self.record.is_settled:
            opened.chunks, opened.body = self._owned(self._noting_usage(opened.chunks)), None
        return self._result(opened.first, opened.chunks, opened)

    async def _silence(self) -> SpeechResult:
        """For an input without words, which the vendor does not speak. It costs nothing."""
        self.record.note(["the input has no words: the answer is silence"])
        encoders, requested = self._services.encoders, self.plan.response_format
        encoded = self._owned(codec.encode(encoders, _silent(), source=codec.PcmFormat(), target=requested))
        return SpeechResult(await first_of(encoded), encoded, requested)

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
            opened = await self._begun(described, response)
            if first:
                record.first_byte = perf_counter()
            deadlines.answering()
            record.is_billed = True
            record.characters = (record.characters or 0) + bound.characters(request.input)
            await self._count(opened)
            return opened
        except BaseException:
            await response.aclose()
            raise

    async def _begun(self, described: SpeechAnswer, response: Response) -> OpenedStream:
        """The answer as soon as its first bytes show what it is. Events are decoded, unless the caller gets them."""
        body = stream(response)
        if described.decoder is not None:
            return await self._extracted(described.decoder, body, described, response)
        first, format = await begin(body, described, response, is_body=True)
        if format != recognition.EVENTS:
            return opened_as(format, described, response, first, body, described.metadata, body)
        if described.events is None:
            raise UpstreamInvalid("The upstream vendor sent events instead of audio.")
        recorder = Recorder(first, body)
        opened = await self._extracted(described.events(), recorder, described, response)
        events = recorder.stop()
        if self.plan.request.stream_format == "sse" and self._is_requested(opened):
            return opened_as("", described, response, events, body, described.metadata)
        return opened

    async def _extracted(
        self, decoder: SpeechDecoder, chunks: AsyncIterator[bytes], described: SpeechAnswer, response: Response
    ) -> OpenedStream:
        audio = self._owned(_decoded(decoder, chunks))
        first, format = await begin(audio, described, response, is_body=False)
        return opened_as(format, described, response, first, audio, described.metadata or decoder)

    def _is_requested(self, opened: OpenedStream) -> bool:
        """Whether the audio is what the caller gets. The proxy converts to OpenAI's six formats only."""
        requested = self.plan.response_format
        return requested not in SPEECH_FORMATS or (opened.format == requested and opened.is_standard)

    async def _count(self, opened: OpenedStream) -> None:
        """Count the audio as it passes. What cannot be counted as it is becomes PCM first."""
        if not opened.format:
            return
        counter = duration.counter(opened.format, opened.rate * opened.channels)
        if counter is None and not self._is_requested(opened):
            pcm = self._owned(self._samples(opened, SPEECH_RATE))
            opened.format, opened.rate, opened.channels = "pcm", SPEECH_RATE, 1
            opened.first, opened.chunks, opened.body = await first_of(pcm), pcm, None
            counter = duration.counter("pcm", SPEECH_RATE)
        if counter is not None:
            counter.feed(opened.first)
            self.record.sounds.append(counter)
            opened.chunks = duration.Counted(opened.chunks, counter)

    async def _relay(self, opened: OpenedStream) -> SpeechResult:
        """OpenAI's events as they arrive."""
        relay = SpeechRelay(self.plan.bound.adapter.event_error)
        self._report(opened.metadata or relay)
        events = self._owned(self._whole_events(relay, opened))
        opened.body = None
        return self._result(await first_of(events), events, opened)

    async def _whole_events(self, relay: SpeechRelay, opened: OpenedStream) -> AsyncGenerator[bytes]:
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

    async def _open_later(self, piece: SpeechRequest, deadlines: Deadlines) -> OpenedStream:
        """Raises UpstreamRateLimited without asking if the vendor's rate limit is known to be reached."""
        health, deployment = self._services.health, self._deployment.id
        if wait := health.limited_for(deployment):
            raise UpstreamRateLimited(VENDOR_LIMITED, retry_after=wait)
        try:
            return await self._open(piece, deadlines, first=False)
        except ProxyError as error:
            health.limit(deployment, error)
            raise

    # -- the caller's format and speed ---------------------------------------------------------------------------------

    async def _convert(self, opened: OpenedStream) -> None:
        requested, tempo, encoders = self.plan.response_format, self.plan.tempo, self._services.encoders
        chunks = joined(opened.first, opened.chunks)
        if opened.format == "pcm":
            source = codec.PcmFormat(opened.rate, opened.channels)
            encoded = codec.encode(encoders, chunks, source=source, target=requested, tempo=tempo)
        else:
            encoded = codec.transcode(encoders, chunks, source_format=opened.format, target=requested, tempo=tempo)
        opened.format, opened.body, opened.chunks = requested, None, self._owned(encoded)
        opened.first = await first_of(encoded)

    async def _speak_in_pieces(self, deadlines: Deadlines, piece_characters: int) -> SpeechResult:
        """As `_execute`, for an input that is too long for one request."""
        plan = self.plan
        # Vendors refuse a piece without words, such as a line of dashes, and that would end the whole speech.
        texts = [text for text in pieces(plan.request.input, piece_characters) if has_words(text)]
        if not texts:
            return await self._silence()

        async def open_piece(text: str, *, first: bool) -> OpenedStream:
            piece = replace(plan.request, input=text)
            if first:
                return await self._open(piece, deadlines)
            return await self._open_later(piece, plan.bound.deadlines(deadlines.left))

        chunked = ChunkedSpeech(open_piece, self._samples, texts)
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
        if opened.format == "pcm":
            source = codec.PcmFormat(opened.rate, opened.channels)
            return codec.encode(readers, chunks, source=source, target="pcm", rate=rate)
        return codec.transcode(readers, chunks, source_format=opened.format, target="pcm", rate=rate)


def _is_about_silence(error: UpstreamError) -> bool:
    """Whether the vendor had nothing to say, or rejected the input for that."""
    return isinstance(error, NoAudio) or (
        isinstance(error, UpstreamRejected) and _NOTHING_TO_SAY.search(f"{error} {error.code}") is not None
    )


async def _silent() -> AsyncIterator[bytes]:
    yield bytes(2 * int(SILENCE_SECONDS * SPEECH_RATE))


async def _decoded(decoder: SpeechDecoder, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        for audio in decoder.feed(chunk):
            yield audio
    for audio in decoder.end():
        yield audio
