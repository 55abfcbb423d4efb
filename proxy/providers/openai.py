"""OpenAI, and every server that speaks its audio API.

Source of the table: OpenAI's openapi.yaml (2026-08-21), its deprecation page (announcements of 2026-08-26 and
2026-10-01) and recorded traffic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx

from proxy.config import Deployment
from proxy.providers.base import (
    Capabilities,
    OpenAITranscript,
    SpeechAnswer,
    SpeechFlow,
    TranscriptionFlow,
)
from proxy.providers.multipart import MultipartStream
from proxy.providers.requests import header
from proxy.providers.target import Target
from proxy.providers.vendor import Vendor
from proxy.providers.voices import OPENAI_VOICES
from proxy.records import Mode, SpeechRequest, TranscriptionRequest

SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=4096,
    max_instructions=4096,
    speed=(0.25, 4.0),
    formats=("mp3", "opus", "aac", "flac", "wav", "pcm"),
    voices=OPENAI_VOICES,
    shutdown_date="2027-01-06",
)
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text"),
    max_file_mb=25,
    shutdown_date="2027-02-26",
)
GPT_4O = replace(TRANSCRIPTION, max_seconds=1400)
WHISPER = replace(
    TRANSCRIPTION,
    modes=frozenset({Mode.TRANSCRIPTION, Mode.TRANSLATION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt"),
)
MODELS: Mapping[str, Capabilities] = {
    "tts-1": replace(SPEECH, sse=False),
    "tts-1-hd": replace(SPEECH, sse=False),
    "gpt-4o-mini-tts": SPEECH,
    "gpt-4o-mini-tts-2025-12-15": SPEECH,
    "whisper-1": WHISPER,
    "gpt-4o-transcribe": GPT_4O,
    "gpt-4o-mini-transcribe": GPT_4O,
    "gpt-4o-mini-transcribe-2025-12-15": GPT_4O,
    "gpt-4o-mini-transcribe-2025-03-20": replace(GPT_4O, shutdown_date="2027-01-20"),
    "gpt-4o-transcribe-diarize": replace(GPT_4O, response_formats=("json", "text", "diarized_json")),
    "gpt-transcribe": replace(TRANSCRIPTION, shutdown_date=None),
}


class OpenAIAdapter:
    """One deployment behind OpenAI's API. URLs and headers are prepared once; a call copies them."""

    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        self.capabilities = declared
        self._deployment = deployment
        path = "" if httpx.URL(base).path.strip("/") else "/v1"
        self._target = Target(deployment, base=base.rstrip("/") + path, authorization=_authorization(deployment, key))
        self._speech_url = self._target.url("/audio/speech")
        self._transcriptions_url = self._target.url("/audio/transcriptions")
        self._translations_url = self._target.url("/audio/translations")
        self.error = self._target.error
        self.event_error = self._target.event_error

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        stream_format = request.stream_format if self.capabilities.sse else None
        body: dict[str, Any] = {
            "model": self._deployment.model,
            "input": request.input,
            "voice": {"id": request.voice} if request.voice_is_id else request.voice,
            "response_format": request.response_format,
        }
        if request.instructions is not None:
            body["instructions"] = request.instructions
        if request.speed is not None:
            body["speed"] = request.speed
        if stream_format is not None:
            body["stream_format"] = stream_format
        if not self._deployment.drop_unknown:
            body.update(request.extra)
        response = yield self._target.post(self._speech_url, body)
        return SpeechAnswer(request.response_format, events=_is_sse(response))

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        stream = MultipartStream([("model", self._deployment.model), *self._fields(request)], request.file)
        url = self._transcriptions_url if request.task == "transcribe" else self._translations_url
        response = yield self._target.form(url, stream)
        return OpenAITranscript(events=_is_sse(response))

    def _fields(self, request: TranscriptionRequest) -> list[tuple[str, str]]:
        """OpenAI's form fields; arrays are ``name[]`` repeated, as its SDKs send them."""
        fields = [("response_format", request.response_format)]
        for name in ("language", "prompt"):
            value = getattr(request, name)
            if value is not None:
                fields.append((name, value))
        if request.temperature is not None:
            fields.append(("temperature", repr(request.temperature)))
        if request.stream:
            fields.append(("stream", "true"))
        for name in (
            "languages", "keywords", "include", "timestamp_granularities", "known_speaker_names",
            "known_speaker_references",
        ):  # fmt: skip
            fields.extend((f"{name}[]", value) for value in getattr(request, name))
        strategy = request.chunking_strategy
        if isinstance(strategy, str):
            fields.append(("chunking_strategy", strategy))
        elif strategy is not None:
            fields.extend((f"chunking_strategy[{key}]", value) for key, value in strategy.items())
        if not self._deployment.drop_unknown:
            fields.extend(request.extra)
        return fields


def _authorization(deployment: Deployment, key: str | None) -> dict[str, str]:
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    if deployment.organization is not None:
        headers["openai-organization"] = deployment.organization
    if deployment.project is not None:
        headers["openai-project"] = deployment.project
    return headers


def _is_sse(response: httpx.Response) -> bool:
    return header(response, b"content-type").partition(";")[0].strip() == "text/event-stream"


OPENAI = Vendor(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_variables=("OPENAI_API_KEY",),
    models=MODELS,
    adapter=OpenAIAdapter,
    others_speak_it=True,
)
