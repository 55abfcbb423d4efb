"""The texts of a request that guardrails check: all that a vendor may get, at any depth, with the names of fields.

Left out are what the proxy has already checked against a list (the model, formats, voices and languages that it knows),
what never leaves it (the end user, the names of guardrails), and audio. The client's name for an upload is replaced
instead (`GuardrailRun.check_request`).
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, Final, TypeVar

from proxy.audio.container import container_of
from proxy.audio.formats import SPEECH_FORMATS
from proxy.audio.labels import is_audio
from proxy.audio.languages import is_known
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.providers.voices import NAMES

Request = TypeVar("Request", SpeechRequest, TranscriptionRequest)

_NOT_CHECKED: Final = frozenset(
    {"model", "file", "task", "user", "guardrails", "meaningless", "voice_is_id", "seconds", "stream"}
)
_LANGUAGES: Final = frozenset({"language", "languages"})
_NONE: Final[frozenset[str]] = frozenset()
#: From the alphabet of base64 for URLs.
_STANDARD: Final = str.maketrans("-_", "+/")
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
#: A data URL. If its body is audio, only its head is text.
_DATA_URL: Final = re.compile(r"(?P<head>data:[^,]{0,1000};base64),(?P<body>[A-Za-z0-9+/\s_-]*={0,2}\s*)")
#: Characters of the body that show what it is.
_BEGINNING: Final = 32_768


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
            changed[name] = _walked(
                value, visit, is_known if name in _LANGUAGES else _KNOWN.get(name, _NONE).__contains__
            )
    return changed


def _walked(value: Any, visit: Callable[[str], str], known: Callable[[str], bool] = _NONE.__contains__) -> Any:
    if isinstance(value, str):
        return value if not value or known(value) else _visited(value, visit)
    if isinstance(value, Mapping):
        return {_walked(name, visit): _walked(inner, visit) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_walked(inner, visit, known) for inner in value)
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= _LONG_NUMBER:
        word = visit(str(value))
        return value if word == str(value) else word
    return value


def _visited(text: str, visit: Callable[[str], str]) -> str:
    url = _DATA_URL.fullmatch(text) if text.startswith("data:") else None
    if url is None or not _is_audio(url["body"]):
        return visit(text)
    return visit(url["head"]) + text[url.end("head") :]


def _is_audio(encoded: str) -> bool:
    """Whether the bytes are audio, whatever the URL calls them. ``encoded`` is base64, perhaps broken into lines."""
    characters = "".join(encoded[:_BEGINNING].split()).rstrip("=").translate(_STANDARD)
    data = b64decode(characters[: len(characters) // 4 * 4])
    container = container_of(lambda size, offset: data[offset : offset + size])
    return container is not None and is_audio(container)
