"""Renders speech: unchanged audio, or OpenAI's events."""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.audio import formats
from proxy.audio.formats import SPEECH_FORMATS
from proxy.domain.results import SpeechResult
from proxy.domain.usage import speech_tokens
from proxy.render import sse
from proxy.render.body import RenderedBody


def render_speech(result: SpeechResult, stream_format: str | None) -> RenderedBody:
    """``stream_format``: what the caller requested, ``audio`` or ``sse``."""
    if not result.format:
        return RenderedBody(sse.CONTENT_TYPE, result.first, result.rest)
    if stream_format == "sse":
        return RenderedBody(sse.CONTENT_TYPE, sse.audio_delta(result.first), _events(result))
    return RenderedBody(_content_type(result), result.first, result.rest, at_end=result.at_end)


def _content_type(result: SpeechResult) -> str:
    if result.format in SPEECH_FORMATS:
        return formats.content_type(result.format)
    return result.content_type if result.content_type.startswith("audio/") else "application/octet-stream"


async def _events(result: SpeechResult) -> AsyncIterator[bytes]:
    async for chunk in result.rest:
        yield sse.audio_delta(chunk)
    usage = result.metadata.usage if result.metadata is not None else None
    yield sse.event({"type": "speech.audio.done", "usage": speech_tokens(usage)})
    yield sse.DONE
