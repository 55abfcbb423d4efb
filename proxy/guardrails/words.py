"""The words of a request: all that is spoken, or that steers what is heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from proxy.records import SpeechRequest, TranscriptionRequest

Request = TypeVar("Request", SpeechRequest, TranscriptionRequest)


def words_of(request: SpeechRequest | TranscriptionRequest) -> list[str]:
    """Speech: input, instructions. Transcription: prompt, keywords, names of speakers. And the texts of further fields.

    What the caller left out is an empty text.
    """
    if isinstance(request, SpeechRequest):
        further = [value for value in request.extra.values() if isinstance(value, str)]
        return [request.input, request.instructions or "", *further]
    named = [*request.keywords, *request.known_speaker_names]
    return [request.prompt or "", *named, *(value for _, value in request.extra)]


def with_words(request: Request, words: Sequence[str]) -> Request:
    """The request with other words, in the order of `words_of`."""
    if isinstance(request, SpeechRequest):
        spoken, instructions, *further = words
        rest = iter(further)
        extra = {name: next(rest) if isinstance(value, str) else value for name, value in request.extra.items()}
        return replace(request, input=spoken, instructions=instructions or request.instructions, extra=extra)
    rest = iter(words[1:])
    return replace(
        request,
        prompt=words[0] or request.prompt,
        keywords=tuple(next(rest) for _ in request.keywords),
        known_speaker_names=tuple(next(rest) for _ in request.known_speaker_names),
        extra=tuple((name, next(rest)) for name, _ in request.extra),
    )
