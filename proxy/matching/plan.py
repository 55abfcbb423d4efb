"""The decisions about one request and one deployment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.domain.results import SpeechResult, TranscriptionResult, TranslatedTexts
from proxy.errors import ProxyError
from proxy.matching.bound import BoundDeployment

R = TypeVar("R")


@dataclass(slots=True)
class Rejection:
    """Why the deployment cannot serve the request: the error that the caller would see."""

    error: ProxyError


@dataclass(slots=True)
class Plan(Generic[R]):
    """How the deployment serves the request. An attempt executes it; its result is an ``R``."""

    bound: BoundDeployment


@dataclass(slots=True)
class SpeechPlan(Plan[SpeechResult]):
    #: As the vendor gets it: with its own voice, a speed and a format that it supports, and nothing that it ignores.
    request: SpeechRequest
    #: The caller's. The vendor's audio is converted if it has another format.
    response_format: str
    #: The factor by which the proxy speeds the vendor's audio up.
    tempo: float = 1.0
    #: The input is spoken in pieces of at most this many characters; None: in one request.
    piece_characters: int | None = None
    #: There is nothing to speak, which the vendor would reject: the caller gets silence, and the vendor no request.
    is_silent: bool = False
    #: What the caller requested and does not get, one sentence each.
    warnings: Sequence[str] = ()


@dataclass(slots=True)
class TranscriptionPlan(Plan[TranscriptionResult]):
    #: As the vendor gets it.
    request: TranscriptionRequest
    #: The proxy has to read the transcript, so OpenAI's documents and events are parsed, not passed on.
    is_read: bool = False
    #: The caller gets subtitles, which need times.
    needs_times: bool = False
    #: The model group of the chat model that translates the transcript.
    translator: str | None = None
    warnings: Sequence[str] = ()


@dataclass(slots=True)
class TextTranslationPlan(Plan[TranslatedTexts]):
    """``bound`` is a deployment of a chat model."""

    texts: Sequence[str]
    #: What the caller's prompt says about names and style.
    hint: str | None = None
