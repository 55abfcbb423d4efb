"""What OpenAI answers, as recorded: compact JSON with keys in this order, content types and event framing."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.samples import SPEECH, SPEECH_TYPES

TEXT = "The quick brown fox jumped over the lazy dogs."
_WORDS = [("The", 0.0, 0.4), ("quick", 0.4, 0.9), ("brown", 0.9, 1.7)]
_TOKENS = {
    "type": "tokens",
    "total_tokens": 25,
    "input_tokens": 14,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
    "output_tokens": 11,
}
_DURATION = {"type": "duration", "seconds": 2}
_LOGPROBS = [{"token": "The", "logprob": -0.01, "bytes": [84, 104, 101]}]
_SEGMENT = {
    "id": 0,
    "seek": 0,
    "start": 0.0,
    "end": 1.7,
    "text": TEXT,
    "tokens": [50364, 440, 50449],
    "temperature": 0.0,
    "avg_logprob": -0.28,
    "compression_ratio": 1.2,
    "no_speech_prob": 0.01,
}

EVENT_STREAM = "text/event-stream; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
SRT = f"1\n00:00:00,000 --> 00:00:02,000\n{TEXT}\n\n"
VTT = f"WEBVTT\n\n00:00:00.000 --> 00:00:02.000\n{TEXT}\n\n"
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Answer:
    """A response before it is put on the wire: ``chunks`` are written one by one."""

    content_type: str
    chunks: Sequence[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    chunked: bool = True


def dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def event(document: Any) -> bytes:
    return b"data: " + dump(document) + b"\n\n"


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


# -- speech ------------------------------------------------------------------------------------------------------------


def speech(request: Mapping[str, Any], *, size: int = 256) -> Answer:
    """The sample of the asked format in ``size``-byte chunks, or the same as events."""
    wanted = str(request.get("response_format", "mp3"))
    if wanted not in SPEECH:
        return error(400, f"Invalid value: '{wanted}'.", param="response_format", code="invalid_value")
    audio = cut(SPEECH[wanted], size)
    if request.get("stream_format") == "sse":
        return Answer(EVENT_STREAM, speech_events(audio), headers={"cache-control": "no-store"})
    return Answer(SPEECH_TYPES[wanted], audio)


def speech_events(audio: Iterable[bytes]) -> list[bytes]:
    deltas = [event({"type": "speech.audio.delta", "audio": base64.b64encode(chunk).decode()}) for chunk in audio]
    usage = {"input_tokens": 10, "output_tokens": 93, "total_tokens": 103}
    return [*deltas, event({"type": "speech.audio.done", "usage": usage}), DONE]


# -- transcription and translation -------------------------------------------------------------------------------------


def transcription(model: str, fields: Mapping[str, Sequence[str]]) -> Answer:
    """``fields`` by name as sent, ``[]`` included."""
    wanted = next(iter(fields.get("response_format", [])), "json")
    if fields.get("stream") == ["true"] and model != "whisper-1":
        return Answer(EVENT_STREAM, transcription_events(model, fields), headers={"cache-control": "no-store"})
    if wanted in {"text", "srt", "vtt"}:
        return Answer(PLAIN, [{"text": TEXT + "\n", "srt": SRT, "vtt": VTT}[wanted].encode()], chunked=False)
    if wanted == "verbose_json":
        document = _verbose("transcribe", fields.get("timestamp_granularities[]", ["segment"])) | {"usage": _DURATION}
    elif wanted == "diarized_json":
        document = {"text": TEXT, "task": "transcribe", "duration": 1.7, "segments": [_speaker()], "usage": _TOKENS}
    else:
        document = _plain_json(model, fields)
    return Answer("application/json", [dump(document)], chunked=False)


def translation(fields: Mapping[str, Sequence[str]]) -> Answer:
    wanted = next(iter(fields.get("response_format", [])), "json")
    if wanted in {"text", "srt", "vtt"}:
        return Answer(PLAIN, [{"text": TEXT + "\n", "srt": SRT, "vtt": VTT}[wanted].encode()], chunked=False)
    document = _verbose("translate", ["segment"]) if wanted == "verbose_json" else {"text": TEXT}
    return Answer("application/json", [dump(document)], chunked=False)


def _plain_json(model: str, fields: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    if model == "gpt-transcribe":
        return {"text": TEXT, "languages": [{"code": "en"}], "usage": _DURATION}
    if model.startswith("gpt-4o"):
        logprobs = {"logprobs": _LOGPROBS} if "logprobs" in fields.get("include[]", []) else {}
        return {"text": TEXT, **logprobs, "usage": _TOKENS}
    return {"text": TEXT, "usage": _DURATION}


def _verbose(task: str, granularities: Sequence[str]) -> dict[str, Any]:
    document: dict[str, Any] = {"task": task, "language": "english", "duration": 1.7, "text": TEXT}
    if "segment" in granularities:
        document["segments"] = [_SEGMENT]
    if "word" in granularities:
        document["words"] = [{"word": word, "start": start, "end": end} for word, start, end in _WORDS]
    return document


def _speaker() -> dict[str, Any]:
    kind = "transcript.text.segment"
    return {"type": kind, "text": TEXT, "speaker": "A", "start": 0.0, "end": 1.7, "id": "seg_0"}


def transcription_events(model: str, fields: Mapping[str, Sequence[str]]) -> list[bytes]:
    pieces = [word + " " for word in TEXT.split(" ")]
    pieces[-1] = pieces[-1].rstrip()
    logprobs = {"logprobs": _LOGPROBS} if "logprobs" in fields.get("include[]", []) else {}
    events = [event({"type": "transcript.text.delta", "delta": piece, **logprobs}) for piece in pieces]
    if fields.get("response_format") == ["diarized_json"]:
        events.append(event(_speaker()))
    languages = {"languages": [{"code": "en"}]} if model == "gpt-transcribe" else {}
    usage = _DURATION if model == "gpt-transcribe" else _TOKENS
    done = event({"type": "transcript.text.done", "text": TEXT, **languages, **logprobs, "usage": usage})
    return [*events, done, DONE]


# -- the catalogue and the errors --------------------------------------------------------------------------------------


def models() -> Answer:
    data = [{"id": "tts-1", "object": "model", "created": 1681940951, "owned_by": "openai-internal"}]
    return Answer("application/json", [dump({"object": "list", "data": data})], chunked=False)


def error(
    status: int,
    message: str,
    kind: str = "invalid_request_error",
    *,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """OpenAI's error body is indented, unlike its other answers."""
    document = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    body = json.dumps(document, indent=2).encode()
    return Answer("application/json", [body], status, headers or {}, chunked=False)


def html(status: int) -> Answer:
    page = (
        b"<html>\r\n<head><title>Bad gateway</title></head>\r\n<body><center>cloudflare</center></body>\r\n</html>\r\n"
    )
    return Answer("text/html", [page], status, chunked=False)


#: A short limit: the deployments of most tests serve many of them, and nobody asks again before it has ended.
_LIMITS = {
    "retry-after": "1",
    "retry-after-ms": "50",
    "x-ratelimit-limit-requests": "50",
    "x-ratelimit-remaining-requests": "0",
    "x-ratelimit-reset-requests": "50ms",
}

#: By HTTP status; the messages are OpenAI's own.
ERRORS: dict[int, Answer] = {
    400: error(400, "Unsupported value: 'voice' does not support 'bob'.", param="voice", code="unsupported_value"),
    401: error(
        401, "Incorrect API key provided: sk-up****2222. You can find your API key at …", code="invalid_api_key"
    ),
    403: error(403, "Project `proj_secret` does not have access to model `tts-1`", code="model_not_found"),
    404: error(404, "The model `tts-9` does not exist or you do not have access to it.", code="model_not_found"),
    407: Answer("text/html", [b"<h1>Proxy Authentication Required</h1>"], 407, chunked=False),
    409: error(409, "The resource is being changed by another request.", code="conflict"),
    413: error(413, "Maximum content size limit (26214400) exceeded (26214599 bytes read)", code=None),
    422: Answer(
        "application/json",
        [dump({"detail": [{"type": "missing", "loc": ["body", "file"], "msg": "Field required", "input": None}]})],
        422,
        chunked=False,
    ),
    429: error(429, "Rate limit reached for tts-1", "requests", code="rate_limit_exceeded", headers=_LIMITS),
    500: error(500, "The server had an error while processing your request. Sorry about that!", "server_error"),
    502: html(502),
    503: error(503, "That model is currently overloaded.", "server_error", code="server_is_overloaded"),
}

_ids = itertools.count(1)


def standard_headers() -> dict[str, str]:
    """What comes with every answer, and much of which must not reach a client."""
    return {
        "x-request-id": f"req_{next(_ids):032x}",
        "openai-processing-ms": "415",
        "openai-version": "2020-10-01",
        "openai-organization": "org-secret-name",
        "openai-project": "proj_secret",
        "x-ratelimit-limit-requests": "500",
        "x-ratelimit-remaining-requests": "499",
        "x-ratelimit-reset-requests": "120ms",
        "server": "cloudflare",
        "set-cookie": "__cf_bm=secret-cookie; path=/; HttpOnly; Secure; SameSite=None",
        "cf-ray": "9a2f-AMS",
        "x-internal": "internal-value",
        "strict-transport-security": "max-age=31536000; includeSubDomains; preload",
        "access-control-allow-origin": "https://upstream.example",
    }
