"""The local engines behind ``local://``: espeak-ng speaks, PocketSphinx transcribes English.

They are only for evaluation and tests; ``proxy.engines`` describes their requests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlencode

from pydantic_core import to_json

from proxy.audio.source import READABLE_CONTAINERS
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import StaticMetadata
from proxy.domain.transcript import Segment, Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import NotInstalled, ProxyError, UpstreamInvalid, UpstreamRateLimited
from proxy.http.messages import URL, Request, Response
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    StreamedTranscript,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import OPENAI_VOICES, Voices
from proxy.providers.wire import errors
from proxy.providers.wire.errors import ErrorDetails

#: OpenAI's names, and espeak-ng's own: a language and optionally a variant of the voice.
VOICES = Voices(
    catalogue=OPENAI_VOICES.catalogue,
    pattern=re.compile(r"[a-zA-Z]{2,3}(-[a-zA-Z0-9]{1,12}){0,4}(\+[a-zA-Z0-9]{1,16})?"),
)
MODELS: Mapping[str, Capabilities] = {
    "espeak-ng": Capabilities(
        modes=frozenset({Mode.SPEECH}),
        speed=(0.25, 4.0),
        formats=("pcm",),
        sse=False,
        voices=VOICES,
        ignores=frozenset({"instructions"}),
        extras=frozenset(),
    ),
    "pocketsphinx": Capabilities(
        modes=frozenset({Mode.TRANSCRIPTION}),
        response_formats=("json", "text", "srt", "verbose_json", "vtt"),
        containers=READABLE_CONTAINERS,
        languages=("en",),
        ignores=frozenset({"prompt", "keywords", "temperature"}),
        extras=frozenset(),
    ),
}


class LocalAdapter(Adapter):
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        super().__init__(declared)

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        body = to_json({"input": request.input, "voice": request.voice, "speed": request.speed})
        response = yield Request("POST", URL("local://espeak-ng/speech"), body=body)
        return SpeechAnswer("pcm", rate=_rate(response))

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        query = urlencode({"language": request.language or "", "stream": "true" if request.stream else "false"})
        url = URL(f"local://pocketsphinx/transcription?{query}")
        recognition = Request("POST", url, extensions={"upload": request.file})
        if request.stream:
            yield recognition
            return StreamedTranscript(_JsonLines())
        response = yield BufferedRequest(recognition)
        transcript = _transcript(_object(response.content))
        return WholeTranscript(transcript, metadata=StaticMetadata(Usage(seconds_in=transcript.duration)))

    def error(self, response: Response, body: bytes) -> ProxyError:
        """The engine's own error, which travels with the response.

        Neither a full pool nor a missing package is a failure of the engine.
        """
        error: ProxyError = response.extensions["error"]
        if error.status == 503:
            return UpstreamRateLimited(
                error.message,
                status=503,
                code="server_is_overloaded",
                type="server_error",
                retry_after=error.retry_after,
            )
        if error.status == 501:
            return NotInstalled(error.message)
        return errors.to_error(
            ErrorDetails(error.status, error.message, error.type, error.param, error.code, error.retry_after)
        )


class _JsonLines:
    """One JSON document per line: a ``segment`` for each utterance, then ``done``."""

    def __init__(self) -> None:
        self._rest = b""
        self._texts: list[str] = []
        self._seconds: float | None = None

    @property
    def is_complete(self) -> bool:
        return self._seconds is not None

    def feed(self, data: bytes) -> Iterable[Mapping[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for document in map(_object, lines):
            if document["type"] == "done":
                self._seconds = document["duration"]
                continue
            gap = " " if self._texts else ""
            self._texts.append(document["text"])
            yield {"type": "transcript.text.delta", "delta": gap + document["text"]}

    def end(self) -> Iterable[Mapping[str, Any]]:
        if self._seconds is None:
            raise UpstreamInvalid("The local engine stopped before the end of the audio.")
        yield {"type": "transcript.text.done", "text": " ".join(self._texts), "usage": _usage(self._seconds)}


def _rate(response: Response) -> int:
    """From a content type such as ``audio/pcm;rate=22050;channels=1``."""
    parameters = dict(part.partition("=")[::2] for part in response.headers["content-type"].split(";")[1:])
    return int(parameters["rate"])


def _object(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line)
    return document


def _transcript(document: dict[str, Any]) -> Transcript:
    return Transcript(
        text=document["text"],
        language=document["language"],
        duration=document["duration"],
        segments=tuple(Segment(**row) for row in document["segments"]),
        words=tuple(Word(**row) for row in document["words"]),
        usage=_usage(document["duration"]),
    )


def _usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": -int(-seconds // 1)}


LOCAL = Vendor(name="local", base_url=None, key_variables=(), models=MODELS, adapter=LocalAdapter, closed=True)
