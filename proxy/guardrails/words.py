"""The texts of a request that guardrails check."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from proxy.domain.requests import SpeechRequest, TranscriptionRequest

Request = TypeVar("Request", SpeechRequest, TranscriptionRequest)
T = TypeVar("T")


def words_of(request: SpeechRequest | TranscriptionRequest) -> list[str]:
    """Speech: input and instructions. Transcription: prompt, keywords and names of speakers. Then extra fields.

    Missing texts are left out.
    """
    if isinstance(request, SpeechRequest):
        extra = (value for value in request.extra.values() if isinstance(value, str))
        words = [request.input, request.instructions, *extra]
    else:
        extra = (value for _, value in request.extra)
        words = [request.prompt, *request.keywords, *request.known_speaker_names, *extra]
    return [word for word in words if word]


def with_words(request: Request, words: Sequence[str]) -> Request:
    """The request with its texts replaced, in the order of `words_of`."""
    remaining = iter(words)

    def replaced(word: T) -> T | str:
        return next(remaining) if word and isinstance(word, str) else word

    if isinstance(request, SpeechRequest):
        return replace(
            request,
            input=replaced(request.input),
            instructions=replaced(request.instructions),
            extra={name: replaced(value) for name, value in request.extra.items()},
        )
    return replace(
        request,
        prompt=replaced(request.prompt),
        keywords=tuple(replaced(word) for word in request.keywords),
        known_speaker_names=tuple(replaced(name) for name in request.known_speaker_names),
        extra=tuple((name, replaced(value)) for name, value in request.extra),
    )
