"""One attempt on one deployment: the vendor's flow, the upstream, and what the vendor lacks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import httpx

from proxy.audio import formats
from proxy.config import Deployment
from proxy.errors import UpstreamInvalid
from proxy.providers import sse
from proxy.providers.base import Adapter
from proxy.records import Call, SpeechRequest, TranscriptionRequest
from proxy.upstream.client import Upstream, Waits, read_whole, stream

JSON_FORMATS = ("json", "verbose_json", "diarized_json")
PASSED_HEADERS = frozenset({b"openai-processing-ms", b"openai-version"})
PASSED_PREFIX = b"x-ratelimit-"


@dataclass(frozen=True, slots=True)
class Line:
    """A deployment ready to be called: its settings and the vendor's adapter bound to them."""

    deployment: Deployment
    adapter: Adapter

    def waits(self) -> Waits:
        deployment = self.deployment
        return Waits(total=deployment.timeout, first_byte=deployment.stream_timeout, stall=deployment.stall_timeout)


class Answer:
    """What goes back to the client. ``first`` is here already; ``rest`` comes as the upstream sends it.

    Whoever holds an answer closes it, on every path.
    """

    __slots__ = ("_response", "content_type", "first", "headers", "rest")

    def __init__(
        self, response: httpx.Response, content_type: str, first: bytes, rest: AsyncIterator[bytes] | None = None
    ) -> None:
        self._response = response
        self.content_type = content_type
        self.first = first
        self.rest = rest
        self.headers = [
            (name, value)
            for raw, value in response.headers.raw
            if (name := raw.lower()) in PASSED_HEADERS or name.startswith(PASSED_PREFIX)
        ]

    @property
    def is_sse(self) -> bool:
        return self.content_type is sse.CONTENT_TYPE

    async def aclose(self) -> None:
        await self._response.aclose()


async def speech(upstream: Upstream, line: Line, request: SpeechRequest, call: Call) -> Answer:
    """Raises a ProxyError where no first byte of audio came; after that, ``rest`` raises where the stream breaks."""
    request = with_voice(line.deployment, request)
    waits = line.waits()
    call.asked = perf_counter()
    described, response = await upstream.run(line.adapter, line.adapter.speech(request), waits)
    try:
        call.upstream_id = response.headers.get("x-request-id", "")
        chunks = stream(response)
        first = await _first(chunks)
        call.first_byte = perf_counter()
        waits.answering()
        if described.wire == "sse":
            return _relayed(response, first, chunks)
        content_type = _audio_type(described.format, first, response)
        if request.stream_format == "sse":
            return Answer(response, sse.CONTENT_TYPE, sse.audio_delta(first), _as_events(chunks))
        return Answer(response, content_type, first, chunks)
    except BaseException:
        await response.aclose()
        raise


async def transcription(upstream: Upstream, line: Line, request: TranscriptionRequest, call: Call) -> Answer:
    """Raises a ProxyError where no answer came; ``rest`` raises where a stream of events breaks."""
    waits = line.waits()
    call.asked = perf_counter()
    described, response = await upstream.run(line.adapter, line.adapter.transcription(request), waits)
    try:
        call.upstream_id = response.headers.get("x-request-id", "")
        if described.wire == "sse":
            chunks = stream(response)
            first = await _first(chunks)
            call.first_byte = perf_counter()
            waits.answering()
            return _relayed(response, first, chunks)
        body = await read_whole(response)
        call.first_byte = perf_counter()
        return _whole_transcript(request, response, body)
    except BaseException:
        await response.aclose()
        raise


def with_voice(deployment: Deployment, request: SpeechRequest) -> SpeechRequest:
    """The request with the voice that the deployment wants: mapped by ``voices``, or its default if none is named."""
    asked = deployment.voice if request.voice is None else request.voice
    voice = deployment.voices.get(asked, asked) if asked is not None else None
    if voice == request.voice:
        return request
    return replace(request, voice=voice, voice_is_id=False)


async def _first(chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        if chunk:
            return chunk
    raise UpstreamInvalid("The upstream vendor answered without a single byte.")


def _audio_type(asked: str, first: bytes, response: httpx.Response) -> str:
    """The content type of what the bytes are; raises UpstreamInvalid where they are a document and no audio."""
    found = formats.sniff(first)
    stated = response.headers.get("content-type", "")
    document = stated.startswith(("application/json", "text/", "application/problem+json"))
    if found in ("json", "html") and (document or asked != "pcm"):
        raise UpstreamInvalid(
            "The upstream vendor sent a document where audio was due.",
            detail=f"{stated}: {first[:500].decode('latin-1')}",
        )
    if found is None and document and asked != "pcm":
        raise UpstreamInvalid("The upstream vendor sent text where audio was due.", detail=stated)
    if asked == "pcm" and found != "wav":
        return formats.content_type("pcm")
    if found is not None and found in formats.SPEECH_FORMATS:
        return formats.content_type(found)
    if asked in formats.SPEECH_FORMATS:
        return formats.content_type(asked)
    return stated if stated.startswith("audio/") else "application/octet-stream"


async def _as_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Audio as OpenAI's events, for a vendor that streams bytes only; such a vendor tells no usage."""
    async for chunk in chunks:
        yield sse.audio_delta(chunk)
    yield sse.event({"type": "speech.audio.done", "usage": None})
    yield sse.DONE


def _relayed(response: httpx.Response, first: bytes, chunks: AsyncIterator[bytes]) -> Answer:
    return Answer(response, sse.CONTENT_TYPE, b"", _whole_events(first, chunks))


async def _whole_events(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    relay = sse.Relay()
    for block in relay.feed(first):
        yield block
    async for chunk in chunks:
        for block in relay.feed(chunk):
            yield block
    for block in relay.end():
        yield block


def _whole_transcript(request: TranscriptionRequest, response: httpx.Response, body: bytes) -> Answer:
    if request.response_format not in JSON_FORMATS:
        if response.headers.get("content-type", "").startswith("application/json"):
            body = _text_of(_json_object(body), request.response_format)
        return Answer(response, "text/plain; charset=utf-8", body)
    document = _json_object(body)
    if not request.stream:
        return Answer(response, "application/json", body)
    # A model that ignores ``stream`` (whisper-1) would leave the SDKs without a single event.
    text = document.get("text", "")
    done = {"type": "transcript.text.done", "text": text}
    done.update({key: document[key] for key in ("languages", "logprobs", "usage") if key in document})
    events = [{"type": "transcript.text.delta", "delta": text}, done]
    return Answer(response, sse.CONTENT_TYPE, b"".join(map(sse.event, events)) + sse.DONE)


def _text_of(document: dict[str, Any], response_format: str) -> bytes:
    """The text of a JSON transcript, for a server that answers json whatever it is asked for."""
    if response_format == "text" and isinstance(document.get("text"), str):
        return f"{document['text']}\n".encode()
    raise UpstreamInvalid(f"The upstream vendor answered json where {response_format} was asked for.")


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or "error" in document:
        raise UpstreamInvalid(
            "The upstream vendor's answer is no transcript.", detail=body[:500].decode("utf-8", "replace")
        )
    return document
