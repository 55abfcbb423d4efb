"""A vendor's stream of speech whose first bytes have arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from proxy.audio import formats
from proxy.domain.results import Body, ResponseMetadata
from proxy.errors import UpstreamInvalid
from proxy.http.messages import Response
from proxy.providers.base import SpeechAnswer
from proxy.providers.wire.headers import header

#: So many printable characters that are no known format's beginning are text, such as ``Bad Gateway``.
MIN_TEXT_BYTES = 8


@dataclass(slots=True)
class OpenedStream:
    """Whoever holds it closes ``response``."""

    response: Response
    #: The audio format; empty if the bytes are OpenAI's events.
    format: str
    #: Samples per second, if the format is pcm.
    rate: int
    first: bytes
    chunks: AsyncIterator[bytes]
    metadata: ResponseMetadata | None = None
    #: The response's body, if ``chunks`` are its bytes as they are.
    body: Body | None = None


async def first_of(chunks: AsyncIterator[bytes]) -> bytes:
    async for chunk in chunks:
        if chunk:
            return chunk
    raise UpstreamInvalid("The upstream vendor sent an empty answer.")


async def joined(first: bytes, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in chunks:
        yield chunk


def audio_format(described: SpeechAnswer, first: bytes, response: Response) -> str:
    """The format that the bytes show, else the expected one. Raises UpstreamInvalid if they are not audio."""
    sniffed = formats.sniff(first)
    content_type = header(response, b"content-type")
    is_document = content_type.startswith(("application/json", "text/", "application/problem+json"))
    # Headerless PCM may begin with any bytes, but is unlikely to begin like JSON or HTML.
    is_text = sniffed is None and described.format != "pcm" and (is_document or _is_text(first))
    if sniffed in ("json", "html") or is_text:
        raise UpstreamInvalid(
            "The upstream vendor sent a document instead of audio.", detail=f"{content_type}, {len(first)} bytes"
        )
    if described.format == "pcm" and sniffed != "wav":
        return "pcm"
    return sniffed or described.format


def _is_text(data: bytes) -> bool:
    """Whether there are enough bytes to tell, all printable ASCII: no audio format begins like that."""
    return len(data) >= MIN_TEXT_BYTES and data.isascii() and data.translate(None, b"\t\r\n").decode().isprintable()
