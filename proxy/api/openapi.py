"""The OpenAPI document: FastAPI describes the decorated routes, the audio endpoints are described here by hand.

Source: OpenAI's openapi.yaml; what differs is what this proxy accepts beyond it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
MODEL: Schema = {"type": "string", "description": "A model group of the configuration."}
GUARDRAILS: Schema = {**TEXTS, "description": "Guardrails to look at this call, besides those that look at every call."}

SPEECH: Schema = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": MODEL,
        "input": {"type": "string", "minLength": 1, "description": "At most 4096 characters with OpenAI's models."},
        "voice": {
            "description": "A name, or the id of a custom voice. May be left out where the deployment has a default.",
            "anyOf": [TEXT, {"type": "object", "required": ["id"], "properties": {"id": TEXT}}],
        },
        "instructions": TEXT,
        "response_format": {"type": "string", "enum": ["mp3", "opus", "aac", "flac", "wav", "pcm"], "default": "mp3"},
        "speed": {"type": "number", "minimum": 0.25, "maximum": 4, "default": 1},
        "stream_format": {"type": "string", "enum": ["audio", "sse"], "default": "audio"},
        "guardrails": GUARDRAILS,
    },
    "additionalProperties": True,
}

TRANSLATION: Schema = {
    "type": "object",
    "required": ["file", "model"],
    "properties": {
        "file": {"type": "string", "format": "binary"},
        "model": MODEL,
        "prompt": TEXT,
        "response_format": {
            "type": "string",
            "enum": ["json", "text", "srt", "verbose_json", "vtt"],
            "default": "json",
        },
        "temperature": {"type": "number", "minimum": 0, "maximum": 1},
        "guardrails[]": GUARDRAILS,
    },
    "additionalProperties": True,
}

TRANSCRIPTION: Schema = {
    **TRANSLATION,
    "properties": {
        **TRANSLATION["properties"],
        "response_format": {
            "type": "string",
            "enum": ["json", "text", "srt", "verbose_json", "vtt", "diarized_json"],
            "default": "json",
        },
        "language": TEXT,
        "languages[]": TEXTS,
        "keywords[]": TEXTS,
        "include[]": TEXTS,
        "timestamp_granularities[]": {"type": "array", "items": {"type": "string", "enum": ["word", "segment"]}},
        "stream": {"type": "boolean", "default": False},
        "chunking_strategy": {"type": "string", "description": "`auto`, or a JSON object."},
        "chunking_strategy[type]": {"type": "string", "enum": ["server_vad"]},
        "chunking_strategy[threshold]": {"type": "number"},
        "chunking_strategy[prefix_padding_ms]": {"type": "integer"},
        "chunking_strategy[silence_duration_ms]": {"type": "integer"},
        "known_speaker_names[]": TEXTS,
        "known_speaker_references[]": TEXTS,
    },
}

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": TEXT,
                "type": TEXT,
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "integer", "null"]},
            },
        }
    },
}

BINARY: Schema = {"schema": {"type": "string", "format": "binary"}}
EVENTS: Schema = {"text/event-stream": {"schema": TEXT}}
AUDIO_ANSWER: Schema = {
    **{f"audio/{kind}": BINARY for kind in ("mpeg", "opus", "aac", "flac", "wav", "pcm")},
    **EVENTS,
}
TEXT_ANSWER: Schema = {
    "application/json": {"schema": {"type": "object", "required": ["text"], "properties": {"text": TEXT}}},
    "text/plain": {"schema": TEXT},
}


def document(app: FastAPI) -> Schema:
    """The whole document, made once."""
    whole = app.openapi()
    audio = {
        "/v1/audio/speech": _post("Text to speech.", "application/json", SPEECH, AUDIO_ANSWER),
        "/v1/audio/transcriptions": _post(
            "Speech to text.", "multipart/form-data", TRANSCRIPTION, {**TEXT_ANSWER, **EVENTS}
        ),
        "/v1/audio/translations": _post("Speech to English text.", "multipart/form-data", TRANSLATION, TEXT_ANSWER),
    }
    for operation in [operation for path in whole["paths"].values() for operation in path.values()]:
        # FastAPI's own; here they are 400s of the one shape that all errors have.
        operation["responses"].pop("422", None)
    whole["paths"] = {**audio, **whole["paths"]}
    whole.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    whole["security"] = [{"key": []}]
    return whole


def _post(summary: str, content_type: str, body: Schema, answer: Schema) -> Schema:
    error = {"content": {"application/json": {"schema": ERROR}}}
    refusals = {
        "400": "The request cannot be served as it stands.",
        "401": "No key, or a wrong one.",
        "404": "No such model.",
        "413": "The file or the body is too large.",
        "429": "A rate limit of the vendor.",
        "502": "The vendor failed.",
        "503": "The server is overloaded.",
        "504": "The vendor was too slow.",
    }
    return {
        "post": {
            "tags": ["audio"],
            "summary": summary,
            "requestBody": {"required": True, "content": {content_type: {"schema": body}}},
            "responses": {
                "200": {"description": "The answer, as it arrives.", "content": answer},
                **{status: {"description": text, **error} for status, text in refusals.items()},
            },
        }
    }
