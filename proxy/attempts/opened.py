"""A vendor's stream of speech whose first bytes have arrived."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxy.audio import recognition, wav
from proxy.audio.codec import SPEECH_RATE
from proxy.domain.results import Body, ResponseMetadata
from proxy.errors import UpstreamInvalid
from proxy.http.messages import Response
from proxy.providers.base import SpeechAnswer
from proxy.providers.wire.headers import header

#: Formats whose every file begins with bytes of its own. An answer without them is headerless.
_MARKED = frozenset({"wav", "flac", "opus"})
_PCM_TYPE = re.compile(r"audio/(?:x-)?(?:pcm|lpcm|l16|raw)\b", re.IGNORECASE)
_DOCUMENT_TYPE = re.compile(r"text/(?!event-stream)|application/(?:json|problem\+json)", re.IGNORECASE)
#: How much of a stream of events is held until the first audio.
_MAX_KEPT = 1 << 20


@dataclass(slots=True)
class OpenedStream:
    """Whoever holds it closes ``response``."""

    response: Response
    #: The audio format; empty if the bytes are OpenAI's events.
    format: str
    #: Samples per second, and channels, if the format is pcm.
    rate: int
    first: bytes
    chunks: AsyncIterator[bytes]
    metadata: ResponseMetadata | None = None
    #: The response's body, if ``chunks`` are its bytes as they are.
    body: Body | None = None
    channels: int = 1

    @property
    def is_standard(self) -> bool:
        """Whether wav and pcm are as callers get them: 24 kHz, mono, s16."""
        if self.format == "pcm":
            return self.rate == SPEECH_RATE and self.channels == 1
        return self.format != "wav" or _is_standard_wav(self.first, is_body=self.body is not None)


def opened_as(
    format: str,
    described: SpeechAnswer,
    response: Response,
    first: bytes,
    chunks: AsyncIterator[bytes],
    metadata: ResponseMetadata | None,
    body: Body | None = None,
) -> OpenedStream:
    return OpenedStream(response, format, described.rate, first, chunks, metadata, body, described.channels)


class Recorder:
    """Passes a body on, and keeps what has passed until ``stop``."""

    def __init__(self, first: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._next: bytes | None = first
        self._kept: bytearray | None = bytearray()

    def stop(self) -> bytes:
        kept, self._kept = bytes(self._kept or b""), None
        return kept

    def __aiter__(self) -> Recorder:
        return self

    async def __anext__(self) -> bytes:
        chunk, self._next = self._next, None
        if chunk is None:
            chunk = await anext(self._chunks)
        if self._kept is not None:
            self._kept += chunk
            if len(self._kept) > _MAX_KEPT:
                raise UpstreamInvalid("The upstream vendor sent no audio.", detail=f"{len(self._kept)} bytes of events")
        return chunk


class NoAudio(UpstreamInvalid):
    """The vendor's answer ended before its first byte of audio."""


async def first_of(chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        if chunk:
            return chunk
    raise NoAudio("The upstream vendor sent an empty answer.")


async def joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


async def begin(
    chunks: AsyncIterator[bytes], described: SpeechAnswer, response: Response, *, is_body: bool
) -> tuple[bytes, str]:
    """The first bytes, and the audio format that they show, whatever the content type says; or `recognition.EVENTS`.

    More than the first chunk is read only if that is too short to tell. ``is_body``: the chunks are the body itself,
    which may be text. Raises UpstreamInvalid if it is, unless it is events.
    """
    head = await first_of(chunks)
    found = recognition.recognized(head, described.format, may_be_text=is_body)
    while found is None:
        chunk = await anext(chunks, None)
        head += chunk or b""
        found = recognition.recognized(head, described.format, is_whole=chunk is None, may_be_text=is_body)
    if found and found != recognition.DOCUMENT:
        return head, found
    content_type = header(response, b"content-type")
    is_pcm = described.format == "pcm"
    if found == recognition.DOCUMENT or (is_body and not is_pcm and _DOCUMENT_TYPE.match(content_type)):
        raise UpstreamInvalid(
            "The upstream vendor sent a document instead of audio.", detail=f"{content_type}, {len(head)} bytes"
        )
    is_headerless = is_pcm or described.format in _MARKED or _PCM_TYPE.match(content_type)
    return head, "pcm" if is_headerless else described.format


def _is_standard_wav(head: bytes, *, is_body: bool) -> bool:
    """Whether callers get the file as it is. Events may hold several, of which a player would play the first only."""
    try:
        parsed = wav.parse(head)
    except ValueError:
        return False
    if parsed is None or not (parsed.is_s16 and parsed.is_plain and (parsed.rate, parsed.channels) == (SPEECH_RATE, 1)):
        return False
    return parsed.size is None or (is_body and wav.is_one_file(head[parsed.offset + parsed.size :]))
