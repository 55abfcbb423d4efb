"""Google Gemini: speech as a stream of events, transcription as an interaction."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode, b64encode
from typing import Any

from tests.providers.contract import (
    Exchange,
    Failure,
    Recorded,
    Reply,
    SpeechCase,
    TranscriptionCase,
    Usage,
    json_value,
    sound,
)

_KEY = ("x-goog-api-key", "{key}")
_EVENTS = "text/event-stream"
_SPEECH = ("generationConfig", "speechConfig")
_CONFIG = ("generation_config", "transcription_config")


def event(document: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\r\n\r\n"


def said(audio: bytes, kind: str = "audio/L16;codec=pcm;rate=24000", **more: Any) -> dict[str, Any]:
    part = {"inlineData": {"mimeType": kind, "data": b64encode(audio).decode()}}
    return {"content": {"role": "model", "parts": [part]}, "index": 0, **more}


def _speech(request: Recorded) -> Reply:
    audio = {"mimeType": "AUDIO_L16", "sampleRate": 24_000}
    assert request.json["generationConfig"]["responseFormat"]["audio"] == audio
    usage = {"promptTokenCount": 4, "candidatesTokenCount": 30, "totalTokenCount": 34}
    *chunks, last = sound("pcm")
    events = [event({"candidates": [said(chunk)], "modelVersion": "gemini-3.8-flash-tts"}) for chunk in chunks]
    done = event({"candidates": [said(last, finishReason="STOP")], "usageMetadata": usage, "responseId": "abc"})
    return Reply([*events, done], content_type=_EVENTS)


def _error(status: int, name: str, message: str, *details: dict[str, Any]) -> Reply:
    error = {"code": status, "message": message, "status": name, "details": list(details)}
    return Reply.json({"error": error}, status=status)


_INFO = "type.googleapis.com/google.rpc.ErrorInfo"
_RETRY = "type.googleapis.com/google.rpc.RetryInfo"
ERRORS = (
    Failure(
        _error(429, "RESOURCE_EXHAUSTED", "You exceeded your quota.", {"@type": _RETRY, "retryDelay": "0.05s"}),
        429,
        "upstream_rate_limited",
        1,
        code="rate_limit_exceeded",
        message="exceeded your quota",
    ),
    Failure(
        _error(400, "INVALID_ARGUMENT", "API key not valid.", {"@type": _INFO, "reason": "API_KEY_INVALID"}),
        502,
        "upstream_credentials",
    ),
    Failure(
        _error(400, "INVALID_ARGUMENT", "Voice name Bob is not supported."),
        400,
        "upstream_rejected",
        code="INVALID_ARGUMENT",
        message="Bob is not supported",
    ),
    Failure(_error(403, "PERMISSION_DENIED", "No access."), 502, "upstream_credentials"),
    Failure(
        _error(404, "NOT_FOUND", "models/x is not found for v1beta."), 404, "upstream_not_found", code="model_not_found"
    ),
    Failure(_error(503, "UNAVAILABLE", "The model is overloaded."), 503, "upstream_unavailable"),
)
SPEECH_ERRORS = (
    *ERRORS,
    Failure(
        Reply([event({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})], content_type=_EVENTS),
        400,
        "upstream_rejected",
        code="prohibited_content",
    ),
    Failure(
        Reply([event({"candidates": [{"finishReason": "SAFETY", "index": 0}]})], content_type=_EVENTS),
        400,
        "upstream_rejected",
        code="safety",
    ),
    Failure(
        Reply([event({"candidates": [{"finishReason": "OTHER", "index": 0}]})], content_type=_EVENTS),
        502,
        "upstream_invalid",
    ),
    Failure(
        Reply([event({"candidates": [{"finishReason": "STOP", "index": 0}]})], content_type=_EVENTS),
        502,
        "upstream_invalid",
    ),
    Failure(
        Reply([event({"error": {"code": 429, "message": "Slow down.", "status": "UNKNOWN"}})], content_type=_EVENTS),
        429,
        "upstream_rate_limited",
        message="Slow down.",
    ),
)  # fmt: skip


def _language(request: Recorded) -> str | None:
    codes = json_value(*_CONFIG, "language_codes")(request)
    return None if codes is None else codes[0]


def _audio(request: Recorded) -> str:
    return hashlib.sha256(b64decode(request.json["input"][0]["data"])).hexdigest()


CASES = (
    SpeechCase(
        id="gemini-tts",
        model="gemini/gemini-3.8-flash-tts",
        base_path="/v1beta",
        spec="gemini.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", "/v1beta/models/gemini-3.8-flash-tts:streamGenerateContent", _speech),),
        usage=Usage(input_text_tokens=4, output_audio_tokens=30),
        errors=SPEECH_ERRORS,
        text_of=json_value("contents", 0, "parts", 0, "text"),
        voice_of=json_value(*_SPEECH, "voiceConfig", "prebuiltVoiceConfig", "voiceName"),
        instructions_of=json_value("contents", 0, "parts", 0, "speechMetadata", "style"),
        extra=("language_code", "de-CH"),
        extra_of=json_value(*_SPEECH, "languageCode"),
    ),
    TranscriptionCase(
        id="gemini-transcribe",
        model="gemini/gemini-3.5-transcribe",
        spec="gemini.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", "/v1beta/interactions", Reply.fixture("gemini/interaction.json")),),
        usage=Usage(input_text_tokens=4, input_audio_tokens=76, output_text_tokens=12),
        errors=ERRORS,
        text="Good morning. I lost my card.",
        words=(
            ("Good", 0.0, 0.32),
            ("morning.", 0.32, 0.72),
            ("I", 1.2, 1.3),
            ("lost", 1.3, 1.6),
            ("my", 1.6, 1.72),
            ("card.", 1.72, 2.2),
        ),
        speakers=("A", "B"),
        language_of=_language,
        languages={"de": "de", "German": "de", "pt-BR": "pt-BR"},
        prompt_of=json_value(*_CONFIG, "custom_vocabulary"),
        keywords_of=json_value(*_CONFIG, "custom_vocabulary"),
        file_of=_audio,
    ),
)
