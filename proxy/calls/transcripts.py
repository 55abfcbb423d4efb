"""Transcripts as the caller wants them, of what vendors answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import from_json

from proxy.audio import formats
from proxy.calls.answer import Answer
from proxy.domain import transcript
from proxy.domain.requests import TranscriptionRequest
from proxy.errors import UpstreamInvalid
from proxy.http.messages import Response
from proxy.providers.base import ResponseMetadata, StaticMetadata, TranscriptDecoder
from proxy.providers.wire import sse, usage
from proxy.providers.wire.requests import header
from proxy.render import transcripts as render

JSON_FORMATS = ("json", "verbose_json", "diarized_json")
SUBTITLES = ("srt", "vtt")


def rendered(
    request: TranscriptionRequest,
    found: transcript.Transcript,
    response: Response,
    metadata: ResponseMetadata | None,
) -> Answer:
    if request.stream:
        events = render.sse_events(found, diarized=request.response_format == "diarized_json")
        return Answer(response, sse.CONTENT_TYPE, b"".join(events), metadata=metadata)
    if request.response_format in SUBTITLES and found.text.strip() and not _has_times(found):
        raise UpstreamInvalid(f"The upstream vendor told no times where {request.response_format} was asked for.")
    body, content_type = render.render(found, request.response_format, request.timestamp_granularities)
    return Answer(response, content_type, body, metadata=metadata)


async def decoded_events(
    decoder: TranscriptDecoder, first: bytes, chunks: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    for event in decoder.feed(first):
        yield sse.event(event)
    async for chunk in chunks:
        for event in decoder.feed(chunk):
            yield sse.event(event)
    for event in decoder.end():
        yield sse.event(event)
    yield sse.DONE


def whole_document(
    request: TranscriptionRequest, response: Response, body: bytes, metadata: ResponseMetadata | None
) -> Answer:
    """OpenAI's own document as it came, or what can be made of it where the server answered json all the same."""
    wanted, stated = request.response_format, header(response, b"content-type")
    if wanted not in transcript.FORMATS:
        return Answer(
            response, stated if stated.startswith("text/") else "text/plain; charset=utf-8", body, metadata=metadata
        )
    if wanted not in JSON_FORMATS:
        is_json = stated.startswith("application/json")
        document = _maybe_json(body) if wanted in SUBTITLES or is_json else None
        if document is not None:
            found = _transcript_object(document, body)
            return rendered(
                request, _parsed(found, wanted), response, metadata or StaticMetadata(usage.of_transcript(found))
            )
        found_format = formats.sniff(body)
        if found_format == "html" or (found_format == "json" and (wanted in SUBTITLES or is_json)):
            raise UpstreamInvalid("The upstream vendor sent a page where a transcript was due.", detail=stated)
        if request.stream and wanted == "text":
            found_text = transcript.Transcript(text=body.decode("utf-8", "replace").strip())
            return rendered(request, found_text, response, metadata)
        return Answer(response, "text/plain; charset=utf-8", body, metadata=metadata)
    document = _transcript_object(_maybe_json(body), body)
    metadata = metadata or StaticMetadata(usage.of_transcript(document))
    if request.stream:
        # A model that ignores ``stream`` (whisper-1) would leave the SDKs without a single event.
        return rendered(request, _parsed(document, request.response_format), response, metadata)
    return Answer(response, "application/json", body, metadata=metadata)


def _has_times(found: transcript.Transcript) -> bool:
    """Of its parts, or at least its length: one subtitle may stand all the time."""
    return bool(found.segments or found.words or found.duration)


def read_transcript(body: bytes) -> transcript.Transcript:
    """OpenAI's json of any kind; UpstreamInvalid where the bytes are none."""
    return _parsed(_transcript_object(_maybe_json(body), body), "json")


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
                index,
                _seconds(row["start"]),
                _seconds(row["end"]),
                _text(row["text"]),
                row.get("speaker"),
                seek=int(_number(row.get("seek")) or 0),
                tokens=_whole_numbers(row.get("tokens")),
                temperature=_number(row.get("temperature")) or 0.0,
                avg_logprob=_number(row.get("avg_logprob")),
                compression_ratio=_number(row.get("compression_ratio")),
                no_speech_prob=_number(row.get("no_speech_prob")),
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
    if response_format in SUBTITLES and not segments and not words:
        raise UpstreamInvalid(f"The upstream vendor answered json without times where {response_format} was asked for.")
    return transcript.Transcript(
        text=document["text"],
        language=document["language"] if isinstance(document.get("language"), str) else None,
        duration=_duration(document),
        segments=segments,
        words=words,
        usage=document.get("usage"),
        task="translate" if document.get("task") == "translate" else "transcribe",
        logprobs=document.get("logprobs"),
        languages=languages,
    )


def _duration(document: dict[str, Any]) -> float | None:
    """Some servers write it as text, or leave it to the usage; one that makes no sense counts as none."""
    stated = document.get("usage")
    told = document.get("duration", stated.get("seconds") if isinstance(stated, dict) else None)
    try:
        return None if told is None else _seconds(told)
    except (TypeError, ValueError):
        return None


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 <= seconds < 1e7:
        raise ValueError("no time")
    return seconds


def _number(value: Any) -> float | None:
    """None for what is none: nobody's transcript is wrong without it."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole_numbers(value: Any) -> tuple[int, ...]:
    return tuple(number for number in value if isinstance(number, int)) if isinstance(value, list) else ()


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value
