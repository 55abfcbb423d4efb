"""Azure OpenAI over HTTP: both shapes of its URLs, a key and a token. The answers are OpenAI's."""

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

_ID = {"apim-request-id": "4b30c637-e2c5-41f9"}
_V1 = "/openai/v1/audio"
_DATED = "/openai/deployments/[^/]+/audio"


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


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Reply:
    return Reply.json({"error": {"code": code, "message": message}}, status=status, headers=headers or {})


ERRORS = (
    Failure(
        _error(404, "DeploymentNotFound", "The API deployment for this resource does not exist."),
        404,
        "upstream_not_found",
        code="DeploymentNotFound",
    ),
    Failure(
        _error(429, "429", "Requests have exceeded the call rate limit.", {"retry-after": "0.05"}),
        429,
        "upstream_rate_limited",
        retry_after=1,
    ),
    Failure(_error(400, "content_filter", "The response was filtered."), 400, code="content_filter"),
)


def _speaks(**case: Any) -> SpeechCase:
    return SpeechCase(
        spec="azure.json",
        upstream_id=_ID["apim-request-id"],
        errors=ERRORS,
        text_of=json_value("input"),
        voice_of=lambda request: (
            request.json["voice"]["id"] if isinstance(request.json["voice"], dict) else request.json["voice"]
        ),
        speed_of=json_value("speed"),
        instructions_of=json_value("instructions"),
        usage=Usage(input_text_tokens=10, output_audio_tokens=93),
        **case,
    )


CASES = (
    _speaks(
        id="azure-speech-v1",
        model="azure/my-voice",
        model_info={"base_model": "gpt-4o-mini-tts"},
        key_header=("api-key", "{key}"),
        exchanges=(Exchange("POST", f"{_V1}/speech", _speech),),
    ),
    _speaks(
        id="azure-speech-dated",
        model="azure/gpt-4o-mini-tts",
        base_path="/openai/v1",
        params={"api_version": "2025-04-01-preview"},
        key_header=("api-key", "{key}"),
        exchanges=(Exchange("POST", f"{_DATED}/speech", _speech),),
    ),
    TranscriptionCase(
        id="azure-transcription",
        model="azure/whisper",
        spec="azure.json",
        params={"api_version": "preview"},
        key_header=("api-key", "{key}"),
        exchanges=(Exchange("POST", f"{_V1}/transcriptions", _transcription),),
        upstream_id=_ID["apim-request-id"],
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
