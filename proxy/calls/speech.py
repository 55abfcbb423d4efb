"""Speech on its way: what a vendor sends, as audio or as OpenAI's events."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass

from proxy.audio import formats
from proxy.audio.formats import SPEECH_FORMATS
from proxy.calls.answer import Answer
from proxy.calls.line import BoundDeployment
from proxy.domain.usage import Usage
from proxy.errors import UpstreamInvalid
from proxy.http.messages import Response
from proxy.providers.base import ResponseMetadata, SpeechAnswer, SpeechDecoder
from proxy.providers.wire import sse
from proxy.providers.wire.requests import header

#: So many letters, where no format is known that begins with them, are words: ``Bad Gateway``.
TELLING_BYTES = 8


@dataclass(slots=True)
class OpenedStream:
    """A vendor's answer whose first bytes are here. Whoever holds it closes ``response``."""

    response: Response
    #: What the bytes are; empty where they are OpenAI's events.
    format: str
    #: Samples a second, where the format is pcm.
    rate: int
    first: bytes
    chunks: AsyncIterator[bytes]
    metadata: ResponseMetadata | None


async def first_of(chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        if chunk:
            return chunk
    raise UpstreamInvalid("The upstream vendor answered without a single byte.")


async def taken_out(decoder: SpeechDecoder, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    async for chunk in chunks:
        for audio in decoder.feed(chunk):
            yield audio
    for audio in decoder.end():
        yield audio


async def joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def audio_format(described: SpeechAnswer, first: bytes, response: Response) -> str:
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


def content_type_of(format: str, response: Response) -> str:
    if format in SPEECH_FORMATS:
        return formats.content_type(format)
    stated = header(response, b"content-type")
    return stated if stated.startswith("audio/") else "application/octet-stream"


async def as_events(chunks: AsyncIterator[bytes], metadata: ResponseMetadata | None) -> AsyncIterator[bytes]:
    """Audio as OpenAI's events, for a vendor that has others or none."""
    async for chunk in chunks:
        yield sse.audio_delta(chunk)
    yield sse.event({"type": "speech.audio.done", "usage": _tokens(metadata.usage if metadata is not None else None)})
    yield sse.DONE


def _tokens(usage: Usage | None) -> dict[str, int] | None:
    """OpenAI's usage of speech; None where the vendor does not count tokens."""
    if usage is None or usage.output_audio_tokens is None:
        return None
    came = (usage.input_text_tokens or 0) + (usage.input_audio_tokens or 0)
    went = (usage.output_text_tokens or 0) + usage.output_audio_tokens
    return {"input_tokens": came, "output_tokens": went, "total_tokens": came + went}


def _is_text(data: bytes) -> bool:
    """Whether the bytes are enough to tell, and ASCII without control characters, as no audio format begins."""
    return len(data) >= TELLING_BYTES and data.isascii() and data.translate(None, b"\t\r\n").decode().isprintable()


async def relayed(line: BoundDeployment, begun: OpenedStream) -> Answer:
    """A stream of OpenAI's events; raises where its first event is an error or never comes."""
    relay = sse.Relay(line.adapter.event_error)
    events = _whole_events(relay, begun.first, begun.chunks)
    return Answer(begun.response, sse.CONTENT_TYPE, await first_of(events), events, begun.metadata or relay)


async def _whole_events(relay: sse.Relay, first: bytes, chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    for block in relay.feed(first):
        yield block
    async for chunk in chunks:
        for block in relay.feed(chunk):
            yield block
    for block in relay.end():
        yield block
