"""The texts of a request that guardrails check: all that a vendor may get, at any depth, with the names of fields.

Left out are what the proxy has already checked against a list (the model, formats, voices and languages that it knows),
what never leaves it (the end user, the names of guardrails), and audio.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from proxy.audio.formats import SPEECH_FORMATS
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.providers.voices import NAMES

Request = TypeVar("Request", SpeechRequest, TranscriptionRequest)

_NOT_CHECKED: Final = frozenset({"model", "file", "task", "user", "guardrails", "voice_is_id", "seconds", "stream"})
#: Values of fields that were checked against a list.
_KNOWN: Final[Mapping[str, frozenset[str]]] = {
    "voice": frozenset(NAMES),
    "response_format": frozenset(SPEECH_FORMATS) | {"json", "text", "srt", "vtt", "verbose_json", "diarized_json"},
    "stream_format": frozenset({"audio", "sse"}),
    "timestamp_granularities": frozenset({"word", "segment"}),
    "include": frozenset({"logprobs"}),
    "chunking_strategy": frozenset({"auto"}),
}
#: Numbers that are long enough to be personal data.
_LONG_NUMBER: Final = 10**6
#: Audio in a data URL: its head is text, its body is not.
_AUDIO_URL: Final = re.compile(r"(?P<head>data:[^,]{0,1000}),[A-Za-z0-9+/\s_-]*={0,2}\s*")


def words_of(request: SpeechRequest | TranscriptionRequest) -> list[str]:
    """Empty texts are left out."""
    words: list[str] = []

    def collect(word: str) -> str:
        words.append(word)
        return word

    _mapped(request, collect)
    return words


def with_words(request: Request, words: Sequence[str]) -> Request:
    """The request with its texts replaced, in the order of `words_of`."""
    remaining = iter(words)
    return replace(request, **_mapped(request, lambda _: next(remaining)))


def _mapped(request: SpeechRequest | TranscriptionRequest, visit: Callable[[str], str]) -> dict[str, Any]:
    """The fields of the request, with what ``visit`` returns for each text."""
    changed: dict[str, Any] = {}
    for field in fields(request):
        name = field.name
        value = getattr(request, name)
        if name not in _NOT_CHECKED and value not in (None, "", (), {}):
            changed[name] = _walked(value, visit, _KNOWN.get(name, frozenset()))
    return changed


def _walked(value: Any, visit: Callable[[str], str], known: frozenset[str] = frozenset()) -> Any:
    if isinstance(value, str):
        return value if not value or value in known else _visited(value, visit)
    if isinstance(value, Mapping):
        return {_walked(name, visit): _walked(inner, visit) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_walked(inner, visit, known) for inner in value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= _LONG_NUMBER:
        word = visit(str(value))
        return value if word == str(value) else word
    return value


def _visited(text: str, visit: Callable[[str], str]) -> str:
    audio = _AUDIO_URL.fullmatch(text) if text.startswith("data:") else None
    if audio is None:
        return visit(text)
    return visit(audio["head"]) + text[audio.end("head") :]
