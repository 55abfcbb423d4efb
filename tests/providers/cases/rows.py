"""The rows: vendors and servers that speak OpenAI's API, each with its quirks."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
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

_ID = {"x-request-id": "req_01jbd6g2qdfw2adyrt2az8hz4w"}
_KEY = ("authorization", "Bearer {key}")
TEXT = "Good morning. I lost my card."
WORDS = (
    ("Good", 0.0, 0.32),
    ("morning.", 0.32, 0.72),
    ("I", 1.2, 1.3),
    ("lost", 1.3, 1.6),
    ("my", 1.6, 1.72),
    ("card.", 1.72, 2.2),
)


def _speech(request: Recorded) -> Reply:
    if request.json.get("stream_format") == "sse":
        events = answers.speech_events(list(sound(request.json["response_format"])))
        return Reply(events, content_type=answers.EVENT_STREAM, headers=_ID)
    return Reply.audio(request.json["response_format"], headers=_ID)


def _groq_speech(request: Recorded) -> Reply:
    if request.json["response_format"] != "wav":
        return _error(400, "response_format must be one of [wav]")
    return Reply.audio("wav", rate=48_000, headers=_ID)


def _together_speech(request: Recorded) -> Reply:
    """As documented: float samples at 44,100 Hz unless asked otherwise, and events for raw audio alone."""
    asked = request.json
    if asked["response_format"] != "raw":
        return Reply.audio(asked["response_format"], rate=24_000, headers=_ID)
    assert (asked["response_encoding"], asked["sample_rate"], asked["stream"]) == ("pcm_s16le", 24_000, True)
    chunks = [
        {"object": "audio.tts.chunk", "model": asked["model"], "b64": b64encode(one).decode()} for one in sound("pcm")
    ]
    events = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return Reply([*events, b"data: [DONE]\n\n"], content_type="text/event-stream", headers=_ID)


def _openrouter_speech(request: Recorded) -> Reply:
    if request.json.get("response_format", "pcm") == "mp3":
        return Reply.audio("mp3", headers={"x-generation-id": "gen-tts-1"})
    kind = "audio/pcm;rate=24000;channels=1"
    return Reply.audio("pcm", headers={"x-generation-id": "gen-tts-1"}, content_type=kind)


def _error(status: int, message: str, **fields: Any) -> Reply:
    return Reply.json({"error": {"message": message, "type": "invalid_request_error", **fields}}, status=status)


ERRORS = (
    Failure(_error(400, "No such voice.", code="invalid_voice"), 400, "upstream_rejected", code="invalid_voice"),
    Failure(_error(404, "The model does not exist."), 404, "upstream_not_found", message="does not exist"),
    Failure(_error(413, "Request Entity Too Large"), 413, "upstream_rejected"),
    Failure(_error(429, "Rate limit reached.", code="rate_limit_exceeded"), 429, "upstream_rate_limited"),
)
#: Of FastAPI, which DeepInfra, Mistral and the servers of one's own are made with.
DETAILS = (
    Failure(
        Reply.json({"detail": [{"loc": ["body", "voice"], "msg": "no such voice", "type": "value_error"}]}, status=422),
        400,
        "upstream_rejected",
        message="body.voice: no such voice",
    ),
    Failure(
        Reply.json({"detail": "Model not found"}, status=404), 404, "upstream_not_found", message="Model not found"
    ),
)
OPENROUTER = (
    Failure(
        Reply.json({"error": {"code": 402, "message": "Insufficient credits."}}, status=402),
        429,
        "upstream_rate_limited",
        message="Insufficient credits.",
    ),
    Failure(
        Reply.json({"error": {"code": 502, "message": "Provider returned error"}, "user_id": None}, status=502),
        502,
        "upstream_unavailable",
    ),
)


def _voice_or_object(request: Recorded) -> str:
    voice = request.json["voice"]
    return str(voice if isinstance(voice, str) else voice["id"])


def _speech_case(
    id: str, model: str, path: str, reply: Callable[[Recorded], Reply] = _speech, **settings: Any
) -> SpeechCase:
    usual: dict[str, Any] = {
        "base_path": path.removesuffix("/audio/speech"),
        "spec": f"{model.partition('/')[0]}.json",
        "key_header": _KEY,
        "exchanges": (Exchange("POST", path, reply),),
        "upstream_id": _ID["x-request-id"],
        "errors": ERRORS,
        "text_of": json_value("input"),
        "voice_of": json_value("voice"),
        "speed_of": json_value("speed"),
    }
    return SpeechCase(id=id, model=model, **(usual | settings))


def _transcription_case(id: str, model: str, path: str, reply: Any, **settings: Any) -> TranscriptionCase:
    usual: dict[str, Any] = {
        "base_path": path.removesuffix("/audio/transcriptions"),
        "spec": f"{model.partition('/')[0]}.json",
        "key_header": _KEY,
        "exchanges": (Exchange("POST", path, reply),),
        "upstream_id": _ID["x-request-id"],
        "usage": Usage(seconds_in=2.4),
        "errors": ERRORS,
        "text": TEXT,
        "language": "en",
        "duration": 2.4,
        "words": WORDS,
        "language_of": form_field("language"),
        "prompt_of": form_field("prompt"),
    }
    return TranscriptionCase(id=id, model=model, **(usual | settings))


# -- transcripts that depend on what was asked -------------------------------------------------------------------------


def _mistral(request: Recorded) -> Reply:
    if request.fields.get("stream") != ["true"]:
        return Reply.fixture("mistral/transcript.json", headers=_ID)
    usage = {"prompt_audio_seconds": 3, "prompt_tokens": 4, "completion_tokens": 12, "total_tokens": 54}
    events = [
        {"type": "transcription.language", "audio_language": "en"},
        {"type": "transcription.text.delta", "text": "Good morning."},
        {"type": "transcription.text.delta", "text": " I lost my card."},
        {"type": "transcription.done", "model": "m", "text": TEXT, "language": "en", "segments": [], "usage": usage},
    ]
    stream = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events]
    return Reply(stream, content_type="text/event-stream", headers=_ID)


def _vllm(request: Recorded) -> Reply:
    if request.fields.get("stream") == ["true"]:
        return Reply(
            [*map(_chunk, ("Good morning.", " I lost", " my card.")), b"data: [DONE]\n\n"],
            content_type="text/event-stream",
        )
    name = "verbose" if request.fields["response_format"] == ["verbose_json"] else "json"
    return Reply.fixture(f"hosted_vllm/{name}.json")


def _chunk(text: str) -> bytes:
    choice = {"delta": {"content": text, "role": "assistant"}, "finish_reason": None}
    document = {"id": "trsc-1", "object": "transcription.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def _openai_ways(request: Recorded) -> Reply:
    answer = answers.transcription("whisper-1", request.fields)
    kind = {"content_type": answer.content_type, "headers": _ID}
    return Reply(answer.chunks if answer.chunked else b"".join(answer.chunks), **kind)


_OWN_TRANSCRIPT: dict[str, Any] = {
    "errors": DETAILS,
    "text": answers.TEXT,
    "duration": 1.7,
    "words": (("The", 0.0, 0.4), ("quick", 0.4, 0.9), ("brown", 0.9, 1.7)),
    "usage": Usage(seconds_in=2),
}

CASES = (
    _speech_case(
        "groq-orpheus",
        "groq/canopylabs/orpheus-v1-english",
        "/openai/v1/audio/speech",
        _groq_speech,
        extra=("sample_rate", 24_000),
        distinct_voices=6,
    ),
    _transcription_case(
        "groq-whisper",
        "groq/whisper-large-v3",
        "/openai/v1/audio/transcriptions",
        Reply.fixture("groq/verbose.json", headers=_ID),
    ),
    _transcription_case(
        "fireworks-whisper",
        "fireworks_ai/whisper-v3-turbo",
        "/v1/audio/transcriptions",
        Reply.fixture("fireworks_ai/verbose.json", headers=_ID),
        speakers=("A", "B"),
        extra=("vad_model", "whisperx-pyannet"),
    ),
    _speech_case(
        "together-kokoro",
        "together_ai/hexgrad/Kokoro-82M",
        "/v1/audio/speech",
        _together_speech,
        speed_of=None,
        extra=("bit_rate", 64_000),
    ),
    _transcription_case(
        "together-whisper",
        "together_ai/openai/whisper-large-v3",
        "/v1/audio/transcriptions",
        Reply.fixture("together_ai/verbose.json", headers=_ID),
        speakers=("A", "B"),
        extra=("max_speakers", "2"),
    ),
    _speech_case("deepinfra-kokoro", "deepinfra/hexgrad/Kokoro-82M", "/v1/openai/audio/speech", errors=DETAILS),
    _transcription_case(
        "deepinfra-whisper",
        "deepinfra/openai/whisper-large-v3",
        "/v1/openai/audio/transcriptions",
        Reply.fixture("deepinfra/verbose.json", headers=_ID),
        errors=DETAILS,
    ),
    _speech_case(
        "openrouter-voxtral",
        "openrouter/mistralai/voxtral-mini-tts-3-0",
        "/api/v1/audio/speech",
        _openrouter_speech,
        errors=OPENROUTER,
        upstream_id="gen-tts-1",
        speed_of=None,
        distinct_voices=13,
    ),
    _transcription_case(
        "openrouter-whisper",
        "openrouter/openai/whisper-large-v3",
        "/api/v1/audio/transcriptions",
        Reply.fixture("openrouter/verbose.json", headers=_ID),
        errors=OPENROUTER,
        usage=Usage(seconds_in=2.4, input_audio_tokens=83, output_text_tokens=30, cost=Decimal("0.000508")),
        prompt_of=None,
        keywords_of=form_field("keyterms"),
    ),
    _transcription_case(
        "mistral-voxtral",
        "mistral/voxtral-mini-transcribe-3-0",
        "/v1/audio/transcriptions",
        _mistral,
        errors=DETAILS,
        usage=Usage(seconds_in=3, input_text_tokens=4, output_text_tokens=12),
        duration=3,
        words=(),
        speakers=("A", "B"),
        prompt_of=None,
        keywords_of=form_field("context_bias"),
    ),
    _speech_case(
        "vllm-omni",
        "hosted_vllm/qwen3-tts",
        "/v1/audio/speech",
        errors=DETAILS,
        instructions_of=json_value("instructions"),
    ),
    _transcription_case(
        "vllm-whisper",
        "hosted_vllm/openai/whisper-large-v3",
        "/v1/audio/transcriptions",
        _vllm,
        errors=DETAILS,
        upstream_id=None,
        usage=Usage(seconds_in=3),
        words=(),
        keywords_of=form_field("hotwords"),
    ),
    _speech_case("speaches-kokoro", "speaches/speaches-ai/Kokoro-82M-v1.0-ONNX", "/v1/audio/speech", errors=DETAILS),
    _transcription_case(
        "speaches-whisper",
        "speaches/Systran/faster-whisper-small",
        "/v1/audio/transcriptions",
        _openai_ways,
        **_OWN_TRANSCRIPT,
        keywords_of=form_field("hotwords"),
    ),
    _speech_case("kokoro", "kokoro/kokoro", "/v1/audio/speech", errors=DETAILS),
    _speech_case(
        "localai-speech", "localai/tts", "/v1/audio/speech", errors=DETAILS, instructions_of=json_value("instructions")
    ),
    _transcription_case(
        "localai-whisper", "localai/whisper-1", "/v1/audio/transcriptions", _openai_ways, **_OWN_TRANSCRIPT
    ),
    _speech_case(
        "any-server-speech",
        "openai_compatible/tts",
        "/v1/audio/speech",
        spec="openai.json",
        voice_of=_voice_or_object,
        instructions_of=json_value("instructions"),
    ),
    _transcription_case(
        "any-server-transcription",
        "openai_compatible/whisper",
        "/v1/audio/transcriptions",
        _openai_ways,
        spec="openai.json",
        **(_OWN_TRANSCRIPT | {"errors": ERRORS}),
        languages={"de": "de", "en": "en"},
        keywords_of=form_field("keywords[]"),
    ),
)
