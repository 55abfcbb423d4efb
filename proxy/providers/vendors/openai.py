"""OpenAI, and the adapter for every server that implements its audio API.

Sources of the table: OpenAI's openapi.yaml (2026-08-21), its deprecation page (announcements of 2026-08-26 and
2026-10-01) and recorded traffic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

from proxy.audio.languages import WHISPER_CODES, LanguageCodes
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import StaticMetadata
from proxy.errors import UpstreamInvalid
from proxy.http.messages import URL, Request, Response
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    OpenAITranscript,
    SpeechAnswer,
    SpeechFlow,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.sockets import live, realtime
from proxy.providers.vendor import Vendor
from proxy.providers.voices import OPENAI_VOICES
from proxy.providers.wire import forms, transcripts
from proxy.providers.wire.headers import header
from proxy.providers.wire.multipart import MultipartStream
from proxy.providers.wire.quirks import OPENAI_QUIRKS, Quirks
from proxy.providers.wire.streams import SpeechEvents
from proxy.providers.wire.target import Target

SPEECH_RATE = 24_000
#: ISO 639, and the regions of Chinese (guide to file transcription, 2026).
LANGUAGES = LanguageCodes(f"{WHISPER_CODES.replace('jw', 'jv')} zh-cn zh-hk zh-tw", others="ISO 639-1")
SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=4096,
    splits=True,
    max_instructions=4096,
    speed=(0.25, 4.0),
    formats=("mp3", "opus", "aac", "flac", "wav", "pcm"),
    voices=OPENAI_VOICES,
    extras=frozenset(),
    shutdown_date="2027-01-06",
)
GPT_SPEECH = replace(SPEECH, max_tokens=2000)
#: In the names of files: flac, m4a, mp3, mp4, mpeg, mpga, ogg, wav, webm.
CONTAINERS = ("flac", "m4a", "mp3", "mp4", "mpeg", "ogg", "wav", "webm")
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text"),
    languages=LANGUAGES,
    containers=CONTAINERS,
    extras=frozenset(),
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
    "gpt-4o-mini-tts": GPT_SPEECH,
    "gpt-4o-mini-tts-2025-12-15": GPT_SPEECH,
    "whisper-1": WHISPER,
    "gpt-4o-transcribe": GPT_4O,
    "gpt-4o-mini-transcribe": GPT_4O,
    "gpt-4o-mini-transcribe-2025-12-15": GPT_4O,
    "gpt-4o-mini-transcribe-2025-03-20": replace(GPT_4O, shutdown_date="2027-01-20"),
    "gpt-4o-transcribe-diarize": replace(GPT_4O, response_formats=("json", "text", "diarized_json")),
    "gpt-transcribe": replace(TRANSCRIPTION, shutdown_date=None),
    **realtime.MODELS,
    **live.MODELS,
}


#: gpt-transcribe answers json only, from which `calls` renders text; its languages are a list.
GPT_TRANSCRIBE = Quirks(language="languages[]", transcript_formats={"text": "json"})
MODEL_QUIRKS: Mapping[str, Quirks] = {"gpt-transcribe": GPT_TRANSCRIBE}


class OpenAIAdapter(Adapter):
    """One deployment behind OpenAI's API. URLs and headers are prepared once; a call copies them.

    ``path`` and ``query`` complete the target's base to the URLs of the audio API. With ``exact_usage``, speech is
    requested as events, since only they report the tokens.
    """

    def __init__(
        self,
        deployment: Deployment,
        target: Target,
        *,
        declared: Capabilities,
        quirks: Quirks,
        exact_usage: bool,
        path: str = "/audio",
        query: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(declared, secrets=target.secrets)
        self._deployment = deployment
        self._target = target
        self._quirks = quirks
        self._exact_usage = exact_usage
        self._speech_events = partial(quirks.speech_events or SpeechEvents, self.event_error)
        self._needs_chunking = _DIARIZES in deployment.kind.lower()
        query = query or {}
        self._speech_url = target.url(f"{path}/speech", query)
        self._transcriptions_url = target.url(f"{path}/transcriptions", query)
        self._translations_url = target.url(f"{path}/translations", query)

    @classmethod
    def bound(
        cls,
        deployment: Deployment,
        *,
        base: str,
        key: str | None,
        declared: Capabilities,
        quirks: Quirks | None = None,
    ) -> Self:
        """For a server with OpenAI's paths, authorization and names of models."""
        is_own = URL(base).host == _OPENAI_HOST
        model = deployment.kind
        if quirks is None and declared.languages is None and model in MODELS:
            # Another server under the name of OpenAI's model: it takes at least OpenAI's codes.
            declared = replace(declared, languages=MODELS[model].languages)
        quirks = quirks or MODEL_QUIRKS.get(model, OPENAI_QUIRKS)
        if deployment.api_base is None:
            base = quirks.bases.get(deployment.model, base)
        target = Target(deployment, base=_with_path(base, quirks.path), authorization=_authorization(deployment, key))
        exact = wants_exact_usage(deployment, is_own=is_own)
        return cls(deployment, target, declared=declared, quirks=quirks, exact_usage=exact)

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        format = native(self.capabilities.formats, request.response_format)
        response = yield self._target.post(self._speech_url, self._body(request, format))
        rate, channels = rate_of(response), channels_of(response)
        return SpeechAnswer(format, rate, channels, events=self._speech_events)

    def _body(self, request: SpeechRequest, format: str) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._deployment.model,
            "input": request.input,
            "voice": {"id": request.voice} if request.voice_is_id and self._quirks.voice_objects else request.voice,
            **self._quirks.format_fields.get(format, {"response_format": format}),
        }
        if request.instructions is not None:
            body["instructions"] = request.instructions
        if request.speed is not None and self.capabilities.speed != (1, 1):
            body["speed"] = request.speed
        if request.stream_format is not None and self.capabilities.sse and format == request.response_format:
            body["stream_format"] = request.stream_format
        if self._exact_usage:
            body["stream_format"] = "sse"
        if not self._deployment.drop_unknown:
            body.update(request.extra)
        return body

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        form = self._form(request)
        if request.response_format in self._quirks.transcript_formats and not forms.streams(request, self._quirks):
            response = yield BufferedRequest(form)
            diarized = request.response_format == "diarized_json"
            content_type = header(response, b"content-type")
            try:
                transcript, used = transcripts.read(
                    response.content, content_type, task=request.task, diarized=diarized
                )
            except UpstreamInvalid as error:
                raise self.document_error(response.content) or error from None
            return WholeTranscript(transcript, metadata=StaticMetadata(used, forms.excluded(request, self._quirks)))
        yield form
        return OpenAITranscript()

    def _form(self, request: TranscriptionRequest) -> Request:
        fields = [("model", self._deployment.model), *forms.fields(request, self._quirks)]
        if self._needs_chunking and request.chunking_strategy is None:
            fields.append(("chunking_strategy", "auto"))
        if not self._deployment.drop_unknown:
            fields.extend(request.extra)
        is_translation = request.task == "translate" and self._quirks.translates is None
        url = self._translations_url if is_translation else self._transcriptions_url
        return self._target.form(url, MultipartStream(fields, request.file))


#: In the names of models that refuse more than 30 seconds of audio without a ``chunking_strategy``.
_DIARIZES = "transcribe-diarize"
#: Speech models that are billed by tokens, which only events report.
_BY_TOKENS = "gpt-4o-mini-tts"
_OPENAI_HOST = "api.openai.com"


def wants_exact_usage(deployment: Deployment, *, is_own: bool) -> bool:
    """The deployment's own setting, else whether the server is known to have speech events."""
    if deployment.exact_usage is not None:
        return deployment.exact_usage
    return is_own and deployment.kind.removeprefix("azure/").startswith(_BY_TOKENS)


#: Formats from which another one is converted, the best first.
_SOURCES = ("pcm", "wav", "flac", "mp3", "opus", "aac")
_RATE = re.compile(r"rate\s*=\s*\"?(\d{4,6})", re.IGNORECASE)
_CHANNELS = re.compile(r"channels\s*=\s*\"?2\b", re.IGNORECASE)


def native(formats: Sequence[str] | None, requested: str) -> str:
    """The format to request from a vendor that produces ``formats``; the caller's if nothing is declared."""
    if not formats or requested in formats:
        return requested
    return next(source for source in (*_SOURCES, *formats) if source in formats)


def rate_of(response: Response) -> int:
    """Samples per second, from a content type such as ``audio/pcm;rate=22050``; else OpenAI's 24,000."""
    match = _RATE.search(header(response, b"content-type"))
    rate = int(match[1]) if match else SPEECH_RATE
    return rate if 4_000 <= rate <= 192_000 else SPEECH_RATE


def channels_of(response: Response) -> int:
    """2 if the content type says so, else 1."""
    return 2 if _CHANNELS.search(header(response, b"content-type")) else 1


def _with_path(base: str, path: str) -> str:
    """A base URL with the API's path, whether it is given with all of it, without the version, or as a host only."""
    base = base.rstrip("/")
    present = URL(base).path.strip("/")
    if not present:
        return base + path
    head, _, version = path.rpartition("/")
    return f"{base}/{version}" if present == head.strip("/") else base


def _authorization(deployment: Deployment, key: str | None) -> dict[str, str]:
    headers = {"authorization": f"Bearer {key}"} if key is not None else {}
    if deployment.organization is not None:
        headers["openai-organization"] = deployment.organization
    if deployment.project is not None:
        headers["openai-project"] = deployment.project
    return headers


def _adapter(deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> Adapter:
    """Models behind a WebSocket have their own adapters."""
    model = deployment.kind
    if live.declared_of(model) is not None:
        return live.LiveAdapter(deployment, base=base, authorization=_authorization(deployment, key), declared=declared)
    if realtime.speaks(model):
        return realtime.RealtimeAdapter(
            deployment, base=base, authorization=_authorization(deployment, key), declared=declared
        )
    return OpenAIAdapter.bound(deployment, base=base, key=key, declared=declared)


OPENAI = Vendor(
    name="openai",
    base_url="https://api.openai.com/v1",
    key_variables=("OPENAI_API_KEY",),
    models=MODELS,
    adapter=_adapter,
    has_compatible_servers=True,
    find=realtime.find,
)
