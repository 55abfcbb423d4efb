"""Deepgram: speech by Aura and Flux, transcription by Nova."""

from __future__ import annotations

import re
from collections.abc import Callable
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
    query_value,
)

_ID = {"dg-request-id": "2479c8c8-8185-40ac-9ac6-f0874419f793"}
_KEY = ("authorization", "Token {key}")


def _speech(request: Recorded) -> Reply:
    """As Deepgram documents its media: what the query asks for, at the rate that this encoding has."""
    encoding, container = request.query["encoding"][0], request.query.get("container", [""])[0]
    format = {"none": "pcm", "wav": "wav"}[container] if encoding == "linear16" else encoding
    rate = int(request.query["sample_rate"][0]) if encoding == "linear16" else 24_000
    return Reply.audio(format, rate=rate, headers=_ID | {"dg-model-name": "aura-2", "dg-char-count": "21"})


def _voice_of(model: str) -> Callable[[Recorded], str]:
    """A voice that is no public one stands between the model and the language."""

    def voice(request: Recorded) -> str:
        named = request.query["model"][0]
        if re.fullmatch(rf"{model}-[a-z]{{1,30}}-[a-z]{{2}}", named):
            return named
        return named.removeprefix(f"{model}-").removesuffix("-en")

    return voice


def _speed(request: Recorded) -> float | None:
    values = request.query.get("speed")
    return float(values[0]) if values else None


def _legacy(status: int, code: str, message: str, **headers: str) -> Reply:
    document = {"err_code": code, "err_msg": message, "request_id": _ID["dg-request-id"]}
    return Reply.json(document, status=status, headers=headers)


def _modern(status: int, category: str, message: str, details: str) -> Reply:
    document = {"category": category, "message": message, "details": details, "request_id": _ID["dg-request-id"]}
    return Reply.json(document, status=status)


ERRORS = (
    Failure(
        _legacy(400, "Bad Request", "No such model/version combination found."),
        404,
        "upstream_not_found",
        code="model_not_found",
        message="No such model",
    ),
    Failure(
        _modern(400, "INVALID_REQUEST", "Bad speed", "0.7 to 1.5"), 400, "upstream_rejected", message="Bad speed: 0.7"
    ),
    Failure(_legacy(401, "INVALID_AUTH", "Invalid credentials."), 502, "upstream_credentials"),
    Failure(
        _legacy(402, "ASR_PAYMENT_REQUIRED", "Project does not have enough credits."),
        429,
        "upstream_rate_limited",
        code="insufficient_quota",
    ),
    Failure(
        _legacy(403, "INSUFFICIENT_PERMISSIONS", "Project does not have access to the model."),
        502,
        "upstream_credentials",
    ),
    Failure(Reply("Payload too large", 413, "text/plain"), 413, "upstream_rejected", message="Payload too large"),
    Failure(
        _modern(429, "TOO_MANY_REQUESTS", "Too many requests", "Please try again later."),
        429,
        "upstream_rate_limited",
        code="rate_limit_exceeded",
    ),
    Failure(_legacy(503, "SERVICE_UNAVAILABLE", "Try again."), 503, "upstream_unavailable"),
)


def _speech_case(model: str, path: str, extra: tuple[str, Any]) -> SpeechCase:
    return SpeechCase(
        id=f"deepgram-{model}",
        model=f"deepgram/{model}",
        base_path="",
        spec="deepgram.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", path, _speech),),
        upstream_id=_ID["dg-request-id"],
        usage=Usage(characters=21),
        errors=ERRORS,
        text_of=json_value("text"),
        voice_of=_voice_of(model),
        speed_of=_speed,
        extra=extra,
    )


CASES = (
    _speech_case("aura-2", "/v1/speak", ("mip_opt_out", "true")),
    _speech_case("flux", "/v2/speak", ("expressivity", 1)),
    TranscriptionCase(
        id="deepgram-nova-3",
        model="deepgram/nova-3",
        base_path="/v1",
        spec="deepgram.json",
        key_header=_KEY,
        exchanges=(Exchange("POST", "/v1/listen", Reply.fixture("deepgram/nova-3.json", headers=_ID)),),
        upstream_id=_ID["dg-request-id"],
        usage=Usage(seconds_in=4.256),
        errors=ERRORS,
        text="Good morning, how can I help? I lost my card.",
        language="en",
        duration=4.256,
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
        language_of=query_value("language"),
        languages={"de": "de", "German": "de", "pt-BR": "pt-BR", "en": "en"},
        prompt_of=query_value("keyterm"),
        keywords_of=query_value("keyterm"),
        extra=("profanity_filter", "true"),
    ),
)
