"""AssemblyAI: speech by the OpenAI-compatible route, transcription by upload, job and polling."""

from __future__ import annotations

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
)

_ID = {"x-request-id": "5b7f9c1e-speech"}
_JOB = "0072a82b-aa22-4962-add2-6121c36c17c6"
_UPLOAD = "https://cdn.assemblyai.com/upload/f756988d-47e2-4ca3-96ce-04bb168f8f2a"


def _speech(request: Recorded) -> Reply:
    asked = request.json["response_format"]
    return Reply.audio(asked, headers=_ID | {"x-tts-billed-characters": "21", "x-tts-model": "assemblyai-tts-1"})


def _envelope(status: int, code: str, message: str, **more: Any) -> Reply:
    return Reply.json({"code": code, "message": message, "param": None, "errors": [], **more}, status=status)


def _error(status: int, message: str) -> Reply:
    return Reply.json({"error": message}, status=status)


def _ended(message: str) -> Reply:
    return Reply.json({"id": _JOB, "status": "error", "error": message})


_QUEUED = Reply.json({"id": _JOB, "status": "queued", "audio_url": _UPLOAD})
_PROCESSING = Reply.json({"id": _JOB, "status": "processing", "audio_url": _UPLOAD})
_PLACE = "/v2/transcript/[^/]+"

CASES = (
    SpeechCase(
        id="assemblyai-tts",
        model="assemblyai/assemblyai-tts-1",
        base_path="/v1/openai",
        spec="assemblyai.json",
        key_header=("authorization", "Bearer {key}"),
        exchanges=(Exchange("POST", "/v1/openai/audio/speech", _speech),),
        upstream_id=_ID["x-request-id"],
        usage=Usage(characters=21),
        errors=(
            Failure(
                _envelope(400, "invalid_parameter", "Bad input.", param="input"),
                400,
                "upstream_rejected",
                message="Bad",
            ),
            Failure(
                _envelope(404, "voice_not_found", "No such voice."), 404, "upstream_not_found", code="voice_not_found"
            ),
            Failure(
                Reply.json(
                    {
                        "error": {
                            "message": "No such model.",
                            "type": "invalid_request_error",
                            "code": "model_not_found",
                        }
                    },
                    status=400,
                ),
                404,
                "upstream_not_found",
                code="model_not_found",
            ),
            Failure(
                _envelope(429, "rate_limited", "Slow down.", retryable=True, retry_after_seconds=0.05),
                429,
                "upstream_rate_limited",
                retry_after=1,
            ),
            Failure(_envelope(503, "at_capacity", "Busy.", retryable=True), 503, "upstream_unavailable"),
        ),
        text_of=json_value("input"),
        voice_of=json_value("voice"),
    ),
    TranscriptionCase(
        id="assemblyai-universal-3-5-pro",
        model="assemblyai/universal-3-5-pro",
        base_path="/v2",
        spec="assemblyai.json",
        key_header=("authorization", "{key}"),
        exchanges=(
            Exchange("POST", "/v2/upload", Reply.json({"upload_url": _UPLOAD})),
            Exchange("POST", "/v2/transcript", _QUEUED, name="job"),
            Exchange("GET", _PLACE, (_PROCESSING, Reply.fixture("assemblyai/completed.json")), name="poll"),
            Exchange("DELETE", _PLACE, _PROCESSING),
        ),
        usage=Usage(seconds_in=4.0),
        errors=(
            Failure(_error(401, "Authentication error, API token missing/invalid"), 502, "upstream_credentials"),
            Failure(Reply("Upload failed, please try again.", 422, "text/plain"), 400, "upstream_rejected"),
            Failure(_error(400, "Invalid language."), 400, "upstream_rejected", message="Invalid language", at="job"),
            Failure(
                _error(400, "Your current account balance is negative. Please top up to continue using the API."),
                429,
                "upstream_rate_limited",
                code="insufficient_quota",
                at="job",
            ),
            Failure(_error(429, "Too Many Requests"), 429, "upstream_rate_limited", at="poll"),
            Failure(
                _ended("Transcoding failed. File does not appear to contain audio."),
                400,
                "upstream_rejected",
                code="invalid_audio",
                at="poll",
            ),
            Failure(_ended("Internal server error. Please retry."), 502, "upstream_unavailable", at="poll"),
        ),
        text="Good morning, how can I help? I lost my card.",
        language="en",
        duration=4.0,
        words=(
            ("Good", 0.08, 0.32),
            ("morning,", 0.32, 0.72),
            ("how", 0.8, 0.96),
            ("can", 0.96, 1.12),
            ("I", 1.12, 1.2),
            ("help?", 1.2, 1.6),
            ("I", 2.4, 2.56),
            ("lost", 2.56, 2.96),
            ("my", 2.96, 3.12),
            ("card.", 3.12, 3.6),
        ),
        speakers=("A", "B"),
        language_of=json_value("language_code"),
        languages={"de": "de", "German": "de", "en": "en", "en-GB": "en_uk"},
        prompt_of=json_value("prompt"),
        keywords_of=lambda request: (request.json.get("keyterms_prompt"), request.json.get("prompt")),
        extra=("filter_profanity", "true"),
        extra_of=lambda request: str(request.json.get("filter_profanity")).lower(),
        deletes=1,
    ),
)
