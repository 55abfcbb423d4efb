"""OpenAI's form of a transcription, with a vendor's quirks; arrays are ``name[]`` repeated, as OpenAI's SDKs do it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from proxy.audio.languages import language_code
from proxy.domain.requests import TranscriptionRequest
from proxy.errors import UnsupportedValue
from proxy.providers.vendors.quirks import Quirks

_CODE = re.compile(r"[a-z]{2,3}")


def fields(request: TranscriptionRequest, quirks: Quirks) -> list[tuple[str, str]]:
    """All fields but the model, the file and the vendor's extras."""
    return [
        *_format(request, quirks),
        *_language(request, quirks),
        *_repeated("languages", () if quirks.language == "languages[]" else request.languages, quirks),
        *_plain(request),
        *([("stream", "true")] if streams(request, quirks) else []),
        *(quirks.speakers if request.response_format == "diarized_json" else ()),
        *([quirks.translates] if quirks.translates is not None and request.task == "translate" else []),
        *_keywords(request.keywords, quirks),
        *_repeated("timestamp_granularities", _times(request, quirks), quirks),
        *_repeated("include", request.include, quirks),
        *_repeated("known_speaker_names", request.known_speaker_names, quirks),
        *_repeated("known_speaker_references", request.known_speaker_references, quirks),
        *_strategy(request),
    ]


def streams(request: TranscriptionRequest, quirks: Quirks) -> bool:
    """Whether the vendor is to stream it; a stream that is read carries text only."""
    is_text = request.response_format in ("json", "text") or not quirks.asks
    return request.stream and quirks.streams and is_text


def excluded(request: TranscriptionRequest, quirks: Quirks) -> tuple[str, ...]:
    """What of the request the vendor does not take, or not together with the rest of it; a sentence each."""
    found = []
    if _excludes_language(request, quirks):
        found.append(f"language has no effect on '{request.model}' where times are wanted")
    if not quirks.words and "word" in request.timestamp_granularities:
        found.append(f"timestamp_granularities 'word' has no effect on '{request.model}'")
    return tuple(found)


def _excludes_language(request: TranscriptionRequest, quirks: Quirks) -> bool:
    return quirks.language_excludes_times and request.language is not None and bool(_times(request, quirks))


def _format(request: TranscriptionRequest, quirks: Quirks) -> list[tuple[str, str]]:
    asked = quirks.asks.get(request.response_format, request.response_format)
    return [("response_format", asked)] if asked is not None else []


def _plain(request: TranscriptionRequest) -> list[tuple[str, str]]:
    found = [("prompt", request.prompt)] if request.prompt is not None else []
    return found if request.temperature is None else [*found, ("temperature", repr(request.temperature))]


def _language(request: TranscriptionRequest, quirks: Quirks) -> list[tuple[str, str]]:
    """A translation's language is the vendor's to find out: where it takes one there, it is that of the result."""
    named = [request.language] if request.language is not None else []
    if quirks.language == "languages[]":
        named = list(dict.fromkeys((*named, *request.languages)))
    if _excludes_language(request, quirks) or (quirks.codes and request.task == "translate"):
        return []
    if not named and quirks.unnamed_language:
        return [(quirks.language, quirks.unnamed_language)]
    return [(quirks.language, _code(language) if quirks.codes else language) for language in named]


def _code(language: str) -> str:
    """ISO-639; raises UnsupportedValue for what is no language at all."""
    plain = language.strip().lower()
    code = plain if _CODE.fullmatch(plain) else language_code(plain)
    if not _CODE.fullmatch(code):
        raise UnsupportedValue(f"language {language[:40]!a} is not a language that is known here.", param="language")
    return code


def _keywords(keywords: Sequence[str], quirks: Quirks) -> list[tuple[str, str]]:
    if quirks.single_words:
        keywords = list(dict.fromkeys(word for keyword in keywords for word in re.split(r"[\s,]+", keyword) if word))
    if keywords and quirks.joined is not None:
        return [(quirks.keywords, quirks.joined.join(keywords))]
    return [(quirks.keywords, keyword) for keyword in keywords]


def _times(request: TranscriptionRequest, quirks: Quirks) -> Sequence[str]:
    if request.response_format not in quirks.asks:
        return request.timestamp_granularities
    wanted = request.timestamp_granularities if request.response_format == "verbose_json" else ()
    asked = dict.fromkeys((*wanted, *quirks.times.get(request.response_format, ())))
    return [value for value in asked if value != "word" or quirks.words]


def _repeated(name: str, values: Iterable[str], quirks: Quirks) -> list[tuple[str, str]]:
    return [(f"{name}{quirks.brackets}", value) for value in values]


def _strategy(request: TranscriptionRequest) -> list[tuple[str, str]]:
    strategy = request.chunking_strategy
    if isinstance(strategy, str):
        return [("chunking_strategy", strategy)]
    return [(f"chunking_strategy[{key}]", value) for key, value in (strategy or {}).items()]
