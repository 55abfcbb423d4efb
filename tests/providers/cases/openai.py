"""A server that speaks OpenAI's API: answers as recorded. Nothing is declared of it, so it decides itself."""

from __future__ import annotations

from typing import Any

from tests.fakes import answers
from tests.providers.contract import (
    Exchange,
    Failure,
    Recorded,
    Reply,
    SpeechCase,
    TranscriptionCase,
    Usage,
    form_field,
    json_value,
    sound,
)

_ID = {"x-request-id": "req_0f1e2d3c"}


def _speech(request: Recorded) -> Reply:
    asked = request.json.get("response_format", "mp3")
    if request.json.get("stream_format") == "sse":
        events = answers.speech_events(list(sound(asked)))
        return Reply(events, content_type=answers.EVENT_STREAM, headers=_ID)
    return Reply.audio(asked, headers=_ID)


def _transcription(request: Recorded) -> Reply:
    answer = answers.transcription("whisper-1", request.fields)
    if answer.chunked:
        return Reply(answer.chunks, content_type=answer.content_type, headers=_ID)
    return Reply(b"".join(answer.chunks), content_type=answer.content_type, headers=_ID)


def _error(status: int, message: str, **error: Any) -> Reply:
    document = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **error}}
    return Reply.json(document, status=status)


ERRORS = (
    Failure(_error(400, "Unsupported value.", param="voice", code="unsupported_value"), 400, "upstream_rejected"),
    Failure(_error(404, "The model does not exist."), 404, "upstream_not_found", message="does not exist"),
    Failure(_error(429, "You exceeded your quota.", code="insufficient_quota"), 429, code="insufficient_quota"),
    Failure(_error(503, "Overloaded.", type="server_error"), 503, "upstream_unavailable"),
)

CASES = (
    SpeechCase(
        id="openai-compatible-speech",
        model="openai/kokoro",
        base_path="/v1",
        spec="openai.json",
        key_header=("authorization", "Bearer {key}"),
        exchanges=(Exchange("POST", "/v1/audio/speech", _speech),),
        upstream_id=_ID["x-request-id"],
        errors=ERRORS,
        text_of=json_value("input"),
        voice_of=lambda request: (
            request.json["voice"] if isinstance(request.json["voice"], str) else request.json["voice"]["id"]
        ),
        speed_of=json_value("speed"),
        instructions_of=json_value("instructions"),
    ),
    TranscriptionCase(
        id="openai-compatible-transcription",
        model="openai/faster-whisper",
        base_path="/v1",
        spec="openai.json",
        key_header=("authorization", "Bearer {key}"),
        exchanges=(Exchange("POST", "/v1/audio/transcriptions", _transcription),),
        upstream_id=_ID["x-request-id"],
        usage=Usage(seconds_in=2),
        errors=ERRORS,
        text=answers.TEXT,
        language="en",
        duration=1.7,
        words=(("The", 0.0, 0.4), ("quick", 0.4, 0.9), ("brown", 0.9, 1.7)),
        language_of=form_field("language"),
        languages={"de": "de", "en": "en"},
        prompt_of=form_field("prompt"),
        keywords_of=form_field("keywords[]"),
    ),
)
