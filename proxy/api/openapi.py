"""The OpenAPI document. FastAPI describes its routes; the audio endpoints, which it does not serve, are described here.

Source: OpenAI's openapi.yaml; the differences are what this proxy accepts beyond it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from proxy.api.error_models import ErrorDocument

Schema = dict[str, Any]

DESCRIPTION = """\
Paths work with and without `/v1`, and with doubled or trailing slashes. `HEAD` works wherever `GET` does.

The key is read from the first of these headers that holds one: `x-litellm-api-key`, `Authorization: Bearer`, `api-key`,
`x-api-key`.

Azure's addresses work, too: `/openai/v1/…`, and `/openai/deployments/{model}/audio/…`, whose model takes precedence
over the one in the body.
"""

TEXT: Schema = {"type": "string"}
TEXTS: Schema = {"type": "array", "items": TEXT}
MODEL: Schema = {"type": "string", "description": "A model group of the configuration."}
GUARDRAILS: Schema = {**TEXTS, "description": "Guardrails that check this call, besides those that check every call."}

SPEECH: Schema = {
    "type": "object",
    "required": ["model", "input"],
    "properties": {
        "model": MODEL,
        "input": {"type": "string", "minLength": 1, "description": "At most 4096 characters with OpenAI's models."},
        "voice": {
            "description": "A name, or the id of a custom voice. Optional if the deployment has a default.",
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

#: For `FastAPI.responses`: what a route answers that raises an error.
ERRORS: dict[int | str, dict[str, Any]] = {"default": {"description": "An error.", "model": ErrorDocument}}
ERROR: Schema = {"$ref": "#/components/schemas/ErrorDocument"}

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
    whole = app.openapi()
    audio = {
        "/v1/audio/speech": _post("Text to speech.", "application/json", SPEECH, AUDIO_ANSWER),
        "/v1/audio/transcriptions": _post(
            "Speech to text.", "multipart/form-data", TRANSCRIPTION, {**TEXT_ANSWER, **EVENTS}
        ),
        "/v1/audio/translations": _post("Speech to English text.", "multipart/form-data", TRANSLATION, TEXT_ANSWER),
    }
    for operation in [operation for path in whole["paths"].values() for operation in path.values()]:
        # FastAPI's validation errors; here they are 400s, of the same shape as all errors.
        operation["responses"].pop("422", None)
    whole["paths"] = {**audio, **whole["paths"]}
    whole["info"]["description"] = DESCRIPTION
    whole.setdefault("components", {})["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    whole["security"] = [{"key": []}]
    return whole


def _post(summary: str, content_type: str, body: Schema, answer: Schema) -> Schema:
    document = {"content": {"application/json": {"schema": ERROR}}}
    errors = {
        "400": "The request is invalid.",
        "401": "The key is missing or incorrect.",
        "404": "There is no such model.",
        "413": "The file or the body is too large.",
        "429": "A rate limit of the vendor is reached.",
        "502": "The vendor failed.",
        "503": "The server is overloaded.",
        "504": "The vendor timed out.",
    }
    return {
        "post": {
            "tags": ["audio"],
            "summary": summary,
            "requestBody": {"required": True, "content": {content_type: {"schema": body}}},
            "responses": {
                "200": {"description": "The answer, as it arrives.", "content": answer},
                **{status: {"description": text, **document} for status, text in errors.items()},
            },
        }
    }
