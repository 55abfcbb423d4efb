"""The words of a request: all that is spoken, or that steers what is heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from proxy.domain.requests import SpeechRequest, TranscriptionRequest

Request = TypeVar("Request", SpeechRequest, TranscriptionRequest)
T = TypeVar("T")


def words_of(request: SpeechRequest | TranscriptionRequest) -> list[str]:
    """Speech: input, instructions. Transcription: prompt, keywords, names of speakers. And the texts of further fields.

    Nothing stands for what is missing.
    """
    if isinstance(request, SpeechRequest):
        further = (value for value in request.extra.values() if isinstance(value, str))
        words = [request.input, request.instructions, *further]
    else:
        further = (value for _, value in request.extra)
        words = [request.prompt, *request.keywords, *request.known_speaker_names, *further]
    return [word for word in words if word]


def with_words(request: Request, words: Sequence[str]) -> Request:
    """The request with other words, in the order of `words_of`."""
    left = iter(words)

    def mended(word: T) -> T | str:
        return next(left) if word and isinstance(word, str) else word

    if isinstance(request, SpeechRequest):
        return replace(
            request,
            input=mended(request.input),
            instructions=mended(request.instructions),
            extra={name: mended(value) for name, value in request.extra.items()},
        )
    return replace(
        request,
        prompt=mended(request.prompt),
        keywords=tuple(mended(word) for word in request.keywords),
        known_speaker_names=tuple(mended(name) for name in request.known_speaker_names),
        extra=tuple((name, mended(value)) for name, value in request.extra),
    )
