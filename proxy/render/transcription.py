"""Renders a transcription in the caller's format."""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.domain.requests import TranscriptionRequest
from proxy.domain.results import Event, ForeignDocument, RawDocument, RawEvents, TranscriptEvents, TranscriptionResult
from proxy.domain.usage import NO_TOKENS
from proxy.render import sse
from proxy.render.body import RenderedBody
from proxy.render.transcripts import complete, render, sse_events


def render_transcription(result: TranscriptionResult, request: TranscriptionRequest) -> RenderedBody:
    """The vendor's own documents and events are passed on unchanged."""
    content = result.content
    if isinstance(content, RawDocument):
        return RenderedBody(content.content_type, content.content)
    if isinstance(content, ForeignDocument):
        formats = request.response_format, request.timestamp_granularities
        return RenderedBody("application/json", complete(content.members, content.transcript, *formats))
    if isinstance(content, RawEvents):
        return RenderedBody(sse.CONTENT_TYPE, content.first, content.rest)
    if isinstance(content, TranscriptEvents):
        first = b"".join(map(_frame, content.first))
        return RenderedBody(sse.CONTENT_TYPE, first, _frames(content))
    if request.stream:
        events = sse_events(content, diarized=request.response_format == "diarized_json")
        return RenderedBody(sse.CONTENT_TYPE, b"".join(events))
    body, content_type = render(content, request.response_format, request.timestamp_granularities)
    return RenderedBody(content_type, body)


async def _frames(content: TranscriptEvents) -> AsyncIterator[bytes]:
    async for event in content.rest:
        yield _frame(event)
    yield sse.DONE


def _frame(event: Event) -> bytes:
    """OpenAI's done event always has a usage."""
    if event.get("type") == "transcript.text.done" and not event.get("usage"):
        event = {**event, "usage": NO_TOKENS}
    return sse.event(event)
