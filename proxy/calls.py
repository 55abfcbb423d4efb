"""One attempt on one deployment: the vendor's flow, the upstream, and what the vendor lacks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import httpx
from pydantic_core import from_json

from proxy.audio import codec, formats, transcript
from proxy.audio.codec import SPEECH_RATE
from proxy.audio.formats import SPEECH_FORMATS
from proxy.audio.pool import Pool
from proxy.audio.probe import probe
from proxy.config import Deployment
from proxy.errors import InvalidAudio, UpstreamInvalid
from proxy.providers import sse
from proxy.providers.base import (
    Adapter,
    SpeechAnswer,
    StreamedTranscript,
    TranscriptDecoder,
    WholeTranscript,
)
from proxy.providers.requests import header
from proxy.records import Attempt, SpeechRequest, TranscriptionRequest, Upload
from proxy.upstream.client import Upstream, Waits, read_whole, stream

JSON_FORMATS = ("json", "verbose_json", "diarized_json")
#: Of speech as people upload it (128 kbit/s), where a speed is to be told and nobody knows the length.
TYPICAL_BYTES_A_SECOND = 16_000
PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
PASSED_PREFIX = b"x-ratelimit-"


@dataclass(frozen=True, slots=True)
class Line:
    """A deployment ready to be called: its settings and the vendor's adapter bound to them."""

    deployment: Deployment
    adapter: Adapter

    @property
    def voices(self) -> tuple[str, ...]:
        """What the vendor declares to know."""
        return self.adapter.capabilities.voices or ()

    def waits(self, left: float | None) -> Waits:
        """``left``: seconds that the call may still take, where that is less than the deployment's own limit."""
        deployment = self.deployment
        total = deployment.timeout if left is None else min(deployment.timeout, left)
        return Waits(total=total, first_byte=deployment.stream_timeout, stall=deployment.stall_timeout)


class Answer:
    """What goes back to the client. ``first`` is here already; ``rest`` comes as the upstream sends it.

    Whoever holds an answer closes it, on every path.
    """

    __slots__ = ("_encoder", "_response", "attempt", "content_type", "first", "on_end", "rest")

    def __init__(
        self,
        response: httpx.Response,
        content_type: str,
        first: bytes,
        rest: AsyncIterator[bytes] | None = None,
        encoder: AsyncGenerator[bytes] | None = None,
    ) -> None:
        self._response = response
        #: What changes the format on the way; it holds a process until it is closed.
        self._encoder = encoder
        self.content_type = content_type
        self.first = first
        self.rest = rest
        self.attempt: Attempt | None = None
        #: Told once how the answer ended: by the error that cut it, or None.
        self.on_end: Callable[[BaseException | None], None] = _nobody_listens

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What the vendor says of itself and clients read, by allowlist."""
        return [
            (name, value)
            for raw, value in self._response.headers.raw
            if (name := raw.lower()) in PASSED_HEADERS or name.startswith(PASSED_PREFIX)
        ]

    @property
    def at_end(self) -> bool:
        """Nothing comes after ``first``, although it is a stream, and that is known already."""
        return getattr(self.rest, "at_end", False)

    @property
    def is_sse(self) -> bool:
        return self.content_type == sse.CONTENT_TYPE

    async def aclose(self, error: BaseException | None = None) -> None:
        on_end, self.on_end = self.on_end, _nobody_listens
        try:
            if self._encoder is not None:
                if isinstance(self.rest, AsyncGenerator):
                    await self.rest.aclose()
                await self._encoder.aclose()
        finally:
            try:
                await self._response.aclose()
            finally:
                on_end(error)


def _nobody_listens(_: BaseException | None) -> None:
    pass


class Calls:
    """Makes attempts. ``encoders`` are the workers that change the audio of answers, ``readers`` read uploads."""

    def __init__(self, upstream: Upstream, encoders: Pool, readers: Pool) -> None:
        self._upstream = upstream
        self._encoders = encoders
        self._readers = readers

    async def speech(self, line: Line, request: SpeechRequest, attempt: Attempt, left: float | None = None) -> Answer:
        """Raises a ProxyError where no first byte of audio came; later ``rest`` raises where the stream breaks."""
        request = with_voice(line, request)
        waits = line.waits(left)
        described, response = await self._upstream.run(line.adapter, line.adapter.speech(request), waits)
        try:
            attempt.upstream_id = header(response, b"x-request-id")
            chunks = stream(response)
            first = await _first(chunks)
            attempt.first_byte = perf_counter()
            waits.answering()
            if described.events:
                return await _relayed(line, response, first, chunks)
            came = _audio_format(described, first, response)
            wanted, encoder = request.response_format, None
            if wanted in SPEECH_FORMATS and came in SPEECH_FORMATS and (came, described.rate) != (wanted, SPEECH_RATE):
                chunks = encoder = self._changed(came, wanted, described.rate, _joined(first, chunks))
                first = await _first(chunks)
                came = wanted
            if request.stream_format == "sse":
                return Answer(response, sse.CONTENT_TYPE, sse.audio_delta(first), _as_events(chunks), encoder)
            return Answer(response, _content_type(came, response), first, chunks, encoder)
        except BaseException:
            await response.aclose()
            raise

    async def transcription(
        self, line: Line, request: TranscriptionRequest, attempt: Attempt, left: float | None = None
    ) -> Answer:
        """Raises a ProxyError where no answer came; ``rest`` raises where a stream of events breaks."""
        waits = line.waits(left)
        described, response = await self._upstream.run(line.adapter, line.adapter.transcription(request), waits)
        try:
            attempt.upstream_id = header(response, b"x-request-id")
            if isinstance(described, WholeTranscript):
                attempt.first_byte = perf_counter()
                attempt.audio_seconds = described.transcript.duration
                return _rendered(request, described.transcript, response)
            if isinstance(described, StreamedTranscript) or described.events:
                chunks = stream(response)
                first = await _first(chunks)
                attempt.first_byte = perf_counter()
                waits.answering()
                if isinstance(described, StreamedTranscript):
                    return Answer(response, sse.CONTENT_TYPE, b"", _decoded(described.decoder, first, chunks))
                return await _relayed(line, response, first, chunks)
            body = await read_whole(response)
            attempt.first_byte = perf_counter()
            attempt.audio_seconds = request.seconds or request.file.size / TYPICAL_BYTES_A_SECOND
            return _whole_document(request, response, body)
        except BaseException:
            await response.aclose()
            raise

    async def seconds_of(self, file: Upload) -> float | None:
        """How long the audio is; None where it cannot be read, which is for the upstream to say."""
        descriptor = file.fileno()
        try:
            found = await probe(self._readers, file.getbuffer() if descriptor is None else descriptor)
        except InvalidAudio:
            return None
        return found.duration

    def _changed(self, came: str, wanted: str, rate: int, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The audio in the format that the caller wants; ``rate`` matters where it comes as pcm."""
        if came == "pcm":
            return codec.encode(self._encoders, chunks, source=codec.PcmFormat(rate), target=wanted)
        return codec.transcode(self._encoders, chunks, source_format=came, target=wanted)


def with_voice(line: Line, request: SpeechRequest) -> SpeechRequest:
    """The request with the voice that the deployment wants.

    That is the caller's voice, mapped by ``voices``; or the deployment's own, where the caller names none or where the
    call has fallen back to a group whose vendor does not know the caller's voice.
    """
    deployment, asked = line.deployment, request.voice
    strange = deployment.group != request.model and asked not in deployment.voices and asked not in line.voices
    if asked is None or (strange and deployment.voice is not None):
        asked = deployment.voice
    voice = deployment.voices.get(asked, asked) if asked is not None else None
    if voice == request.voice:
        return request
    return replace(request, voice=voice, voice_is_id=False)


# -- speech ------------------------------------------------------------------------------------------------------------


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        if chunk:
            return chunk
    raise UpstreamInvalid("The upstream vendor answered without a single byte.")


async def _joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def _audio_format(described: SpeechAnswer, first: bytes, response: httpx.Response) -> str:
    """The format that the bytes are in: what they say, else what is due. UpstreamInvalid if they are no audio."""
    found = formats.sniff(first)
    stated = header(response, b"content-type")
    document = stated.startswith(("application/json", "text/", "application/problem+json"))
    # Headerless PCM may begin with any bytes, but hardly with a document.
    if found in ("json", "html") or (found is None and (document or _is_text(first)) and described.format != "pcm"):
        raise UpstreamInvalid(
            "The upstream vendor sent a document where audio was due.", detail=f"{stated}, {len(first)} bytes"
        )
    if described.format == "pcm" and found != "wav":
        return "pcm"
    return found or described.format


def _content_type(format: str, response: httpx.Response) -> str:
    if format in SPEECH_FORMATS:
        return formats.content_type(format)
    stated = header(response, b"content-type")
    return stated if stated.startswith("audio/") else "application/octet-stream"


async def _as_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Audio as OpenAI's events, for a vendor that streams bytes only; such a vendor tells no usage."""
    async for chunk in chunks:
        yield sse.audio_delta(chunk)
    yield sse.event({"type": "speech.audio.done", "usage": None})
    yield sse.DONE


def _is_text(data: bytes) -> bool:
    """Whether the bytes are enough to tell, and ASCII without control characters, as no audio format begins."""
    return (
        len(data) >= formats.SNIFF_BYTES and data.isascii() and data.translate(None, b"\t\r\n").decode().isprintable()
    )


async def _relayed(line: Line, response: httpx.Response, first: bytes, chunks: AsyncIterator[bytes]) -> Answer:
    """A stream of OpenAI's events; raises where its first event is an error or never comes."""
    events = _whole_events(sse.Relay(line.adapter.event_error), first, chunks)
    return Answer(response, sse.CONTENT_TYPE, await _first(events), events)


async def _whole_events(relay: sse.Relay, first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    for block in relay.feed(first):
        yield block
    async for chunk in chunks:
        for block in relay.feed(chunk):
            yield block
    for block in relay.end():
        yield block


# -- transcripts -------------------------------------------------------------------------------------------------------


def _rendered(request: TranscriptionRequest, found: transcript.Transcript, response: httpx.Response) -> Answer:
    if request.stream:
        events = transcript.sse_events(found, diarized=request.response_format == "diarized_json")
        return Answer(response, sse.CONTENT_TYPE, b"".join(events))
    body, content_type = transcript.render(found, request.response_format, request.timestamp_granularities)
    return Answer(response, content_type, body)


async def _decoded(decoder: TranscriptDecoder, first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for event in decoder.feed(first):
        yield sse.event(event)
    async for chunk in chunks:
        for event in decoder.feed(chunk):
            yield sse.event(event)
    for event in decoder.end():
        yield sse.event(event)
    yield sse.DONE


def _whole_document(request: TranscriptionRequest, response: httpx.Response, body: bytes) -> Answer:
    """OpenAI's own document as it came, or what can be made of it where the server answered json all the same."""
    wanted, stated = request.response_format, header(response, b"content-type")
    if wanted not in transcript.FORMATS:
        return Answer(response, stated if stated.startswith("text/") else "text/plain; charset=utf-8", body)
    if wanted not in JSON_FORMATS:
        document = _maybe_json(body) if wanted in ("srt", "vtt") or stated.startswith("application/json") else None
        if document is not None:
            return _rendered(request, _parsed(_transcript_object(document, body), wanted), response)
        if formats.sniff(body) == "html":
            raise UpstreamInvalid("The upstream vendor sent a page where a transcript was due.", detail=stated)
        return Answer(response, "text/plain; charset=utf-8", body)
    document = _transcript_object(_maybe_json(body), body)
    if request.stream:
        # A model that ignores ``stream`` (whisper-1) would leave the SDKs without a single event.
        return _rendered(request, _parsed(document, request.response_format), response)
    return Answer(response, "application/json", body)


def _maybe_json(body: bytes) -> Any:
    """The document, or None where the bytes are none."""
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError:
        return None


def _transcript_object(document: Any, body: bytes) -> dict[str, Any]:
    if not isinstance(document, dict) or not isinstance(document.get("text"), str):
        raise UpstreamInvalid("The upstream vendor's answer is no transcript.", detail=f"{len(body)} bytes")
    return document


def _parsed(document: dict[str, Any], response_format: str) -> transcript.Transcript:
    """OpenAI's json as a transcript; UpstreamInvalid where the format that was asked for needs times that it lacks."""
    try:
        segments = tuple(
            transcript.Segment(
                index, _seconds(row["start"]), _seconds(row["end"]), _text(row["text"]), row.get("speaker")
            )
            for index, row in enumerate(document.get("segments") or ())
        )
        words = tuple(
            transcript.Word(_text(row["word"]), _seconds(row["start"]), _seconds(row["end"]))
            for row in document.get("words") or ()
        )
        languages = tuple(_text(row["code"]) for row in document["languages"]) if document.get("languages") else None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UpstreamInvalid(
            "The upstream vendor's transcript has broken parts.", detail=type(error).__name__
        ) from error
    if response_format in ("srt", "vtt") and not segments and not words:
        raise UpstreamInvalid(f"The upstream vendor answered json without times where {response_format} was asked for.")
    return transcript.Transcript(
        text=document["text"],
        segments=segments,
        words=words,
        usage=document.get("usage"),
        logprobs=document.get("logprobs"),
        languages=languages,
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < 1e7:
        raise ValueError("no time")
    return seconds


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
