"""OpenAI's transcription form, with a vendor's quirks; arrays are repeated ``name[]`` fields, as in OpenAI's SDKs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy.domain.requests import TranscriptionRequest
from proxy.providers.wire.quirks import Quirks


def fields(request: TranscriptionRequest, quirks: Quirks) -> list[tuple[str, str]]:
    """All fields except the model, the file and the vendor's extras."""
    return [
        *_format(request, quirks),
        *_language(request, quirks),
        *_repeated("languages", () if quirks.language == "languages[]" else request.languages, quirks),
        *_plain(request),
        *([("stream", "true")] if streams(request, quirks) else []),
        *(quirks.speakers if request.response_format == "diarized_json" else ()),
        *([quirks.translates] if quirks.translates is not None and request.task == "translate" else []),
        *_keywords(request.keywords, quirks),
        *_repeated("timestamp_granularities", _granularities(request, quirks), quirks),
        *_repeated("include", request.include, quirks),
        *_repeated("known_speaker_names", request.known_speaker_names, quirks),
        *_repeated("known_speaker_references", request.known_speaker_references, quirks),
        *_strategy(request),
    ]


def streams(request: TranscriptionRequest, quirks: Quirks) -> bool:
    """Whether to request a stream from the vendor; a stream that is parsed carries text only."""
    is_text = request.response_format in ("json", "text") or not quirks.transcript_formats
    return request.stream and quirks.streams and is_text


def excluded(request: TranscriptionRequest, quirks: Quirks) -> tuple[str, ...]:
    """A warning for each part of the request that the vendor does not support, or not with the rest of the request."""
    warnings = []
    if _excludes_language(request, quirks):
        warnings.append(f"language has no effect on '{request.model}' when timestamps are requested")
    if not quirks.words and "word" in request.timestamp_granularities:
        warnings.append(f"timestamp_granularities 'word' has no effect on '{request.model}'")
    return tuple(warnings)


def _excludes_language(request: TranscriptionRequest, quirks: Quirks) -> bool:
    return quirks.language_excludes_times and request.language is not None and bool(_granularities(request, quirks))


def _format(request: TranscriptionRequest, quirks: Quirks) -> list[tuple[str, str]]:
    format = quirks.transcript_formats.get(request.response_format, request.response_format)
    return [("response_format", format)] if format is not None else []


def _plain(request: TranscriptionRequest) -> list[tuple[str, str]]:
    prompt = [("prompt", request.prompt)] if request.prompt is not None else []
    return prompt if request.temperature is None else [*prompt, ("temperature", repr(request.temperature))]


def _language(request: TranscriptionRequest, quirks: Quirks) -> list[tuple[str, str]]:
    languages = [request.language] if request.language is not None else []
    if quirks.language == "languages[]":
        languages = list(dict.fromkeys((*languages, *request.languages)))
    if _excludes_language(request, quirks):
        return []
    if not languages and quirks.unnamed_language and request.task == "transcribe":
        return [(quirks.language, quirks.unnamed_language)]
    return [(quirks.language, language) for language in languages]


def _keywords(keywords: Sequence[str], quirks: Quirks) -> list[tuple[str, str]]:
    if quirks.single_words:
        keywords = list(dict.fromkeys(word for keyword in keywords for word in re.split(r"[\s,]+", keyword) if word))
    if keywords and quirks.joined is not None:
        return [(quirks.keywords, quirks.joined.join(keywords))]
    return [(quirks.keywords, keyword) for keyword in keywords]


def _granularities(request: TranscriptionRequest, quirks: Quirks) -> Sequence[str]:
    if request.response_format not in quirks.transcript_formats:
        return request.timestamp_granularities
    requested = request.timestamp_granularities if request.response_format == "verbose_json" else ()
    granularities = dict.fromkeys((*requested, *quirks.granularities.get(request.response_format, ())))
    return [value for value in granularities if value != "word" or quirks.words]


def _repeated(name: str, values: Iterable[str], quirks: Quirks) -> list[tuple[str, str]]:
    return [(f"{name}{quirks.brackets}", value) for value in values]


def _strategy(request: TranscriptionRequest) -> list[tuple[str, str]]:
    strategy = request.chunking_strategy
    if isinstance(strategy, str):
        return [("chunking_strategy", strategy)]
    return [(f"chunking_strategy[{key}]", value) for key, value in (strategy or {}).items()]
