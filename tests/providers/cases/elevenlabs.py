"""ElevenLabs."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

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
)

_KEY = ("xi-api-key", "{key}")
_ID = {"request-id": "req_5f2b7a9c1d"}
_FORMATS = {"mp3_44100_128": "mp3", "opus_48000_64": "opus", "pcm_24000": "pcm"}


def _speech(request: Recorded) -> Reply:
    headers = {**_ID, "character-cost": "6", "x-character-count": str(len(request.json["text"]))}
    return Reply.audio(_FORMATS[request.query["output_format"][0]], headers=headers)


def _error(status: int, kind: str, message: str, *, headers: dict[str, str] | None = None, **more: Any) -> Reply:
    return Reply.json({"detail": {"status": kind, "message": message, **more}}, status=status, headers=headers or {})


_ERRORS = (
    Failure(
        _error(401, "quota_exceeded", "This request exceeds your quota of 10000. You have 38 credits remaining."),
        429, "upstream_rate_limited", code="insufficient_quota",
    ),
    Failure(_error(401, "invalid_api_key", "Invalid API key"), 502, "upstream_credentials"),
    Failure(
        _error(429, "too_many_concurrent_requests", "Too many concurrent requests."),
        429, "upstream_rate_limited", code="too_many_concurrent_requests",
    ),
    Failure(_error(429, "system_busy", "The system is busy.", headers={"retry-after": "0.05"}), 503,
            "upstream_unavailable", 1, code="system_busy"),
    Failure(_error(503, "system_busy", "The system is busy."), 503, "upstream_unavailable", code="system_busy"),
    Failure(
        Reply.json({"detail": [{"loc": ["body", "model_id"], "msg": "field required", "type": "value_error"}]},
                   status=422),
        400, "upstream_rejected", message="model_id",
    ),
)  # fmt: skip

CASES = (
    SpeechCase(
        id="elevenlabs-eleven-v4",
        model="elevenlabs/eleven_v4",
        base_path="/v1",
        spec="elevenlabs.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", "/v1/text-to-speech/[^/]+/stream", _speech),),
        upstream_id=_ID["request-id"],
        usage=Usage(characters=len("Hello there.")),
        errors=(
            *_ERRORS,
            Failure(_error(404, "voice_not_found", "A voice with the voice_id x was not found."), 404,
                    "upstream_not_found", code="voice_not_found", message="was not found"),
            Failure(_error(400, "voice_not_found", "A voice with the voice_id x was not found."), 404,
                    "upstream_not_found", code="voice_not_found"),
            Failure(_error(400, "max_character_limit_exceeded", "This request's text has 12000 characters."), 400,
                    "upstream_rejected", code="max_character_limit_exceeded", message="12000 characters"),
        ),
        text_of=json_value("text"),
        voice_of=lambda request: unquote(request.path.split("/")[3]),
        speed_of=json_value("voice_settings", "speed"),
        extra=("seed", 4711),
    ),
    TranscriptionCase(
        id="elevenlabs-scribe-v3",
        model="elevenlabs/scribe_v3",
        spec="elevenlabs.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", "/v1/speech-to-text", Reply.fixture("elevenlabs/scribe.json", headers=_ID)),),
        upstream_id=_ID["request-id"],
        usage=Usage(seconds_in=3.45),
        errors=_ERRORS,
        text="Good afternoon. Thank you for calling.",
        language="en",
        duration=3.45,
        words=(
            ("Good", 0.16, 0.4), ("afternoon.", 0.44, 1.2), ("Thank", 1.5, 1.7), ("you", 1.72, 1.8),
            ("for", 1.82, 1.9), ("calling.", 1.92, 2.9),
        ),
        speakers=("A", "B"),
        language_of=form_field("language_code"),
        prompt_of=lambda request: ", ".join(request.fields.get("keyterms", ())),
        keywords_of=lambda request: request.fields.get("keyterms", []),
        extra=("num_speakers", "3"),
    ),
)  # fmt: skip
