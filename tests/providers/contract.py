"""What a case of the contract suite says: one deployment of a vendor, what the vendor answers, what must come of it.

The tests themselves are in ``test_contract_speech`` and ``test_contract_transcription``; they run for every case of
``tests/providers/cases``, through the real proxy in front of a fake of the vendor.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from proxy.domain.usage import Usage
from tests.fakes.answers import Answer
from tests.fakes.upstream import Recorded
from tests.providers import cases
from tests.providers.sound import CONTENT_TYPES, sound

__all__ = [
    "Case", "Exchange", "Failure", "Recorded", "Reply", "SpeechCase", "TranscriptionCase", "Usage", "every_case",
    "form_field", "json_value", "key_of", "query_value", "sound",
]  # fmt: skip

FIXTURES = Path(__file__).parent / "fixtures"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Reply:
    """What the vendor sends. A body given as pieces goes out chunked, one by one."""

    body: bytes | str | Sequence[bytes] = b""
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    #: The document, where the body is JSON: the tests make lies of it.
    document: Any = None
    #: Of the sound, where the body is one.
    format: str | None = None

    @classmethod
    def json(cls, document: Any, *, status: int = 200, headers: Mapping[str, str] = _NOTHING) -> Reply:
        return cls(json.dumps(document), status, headers=headers, document=document)

    @classmethod
    def fixture(cls, path: str, *, status: int = 200, headers: Mapping[str, str] = _NOTHING) -> Reply:
        """A JSON file of ``tests/providers/fixtures``."""
        return cls.json(json.loads((FIXTURES / path).read_text(encoding="utf-8")), status=status, headers=headers)

    @classmethod
    def audio(
        cls, format: str, *, rate: int = 24_000, headers: Mapping[str, str] = _NOTHING, content_type: str | None = None
    ) -> Reply:
        """The session's sound as it is, in one of OpenAI's formats."""
        return cls(sound(format, rate), 200, content_type or CONTENT_TYPES[format], headers, format=format)

    @property
    def whole(self) -> bytes:
        if isinstance(self.body, str):
            return self.body.encode()
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)

    def answer(self) -> Answer:
        if isinstance(self.body, (bytes, str)):
            return Answer(self.content_type, [self.whole] if self.body else [], self.status, self.headers, False)
        return Answer(self.content_type, self.body, self.status, self.headers)


Replies = Reply | tuple[Reply, ...] | Callable[[Recorded], Reply]


@dataclass(frozen=True, eq=False)
class Exchange:
    """One thing that the vendor can be asked. ``path`` is a regular expression for the whole raw path."""

    method: str
    path: str
    #: Several come one after another, the last one again and again.
    reply: Replies
    name: str = ""
    #: What the generic failures happen to; else the last of a speech case, the first of a transcription.
    main: bool = False

    def fits(self, request: Recorded) -> bool:
        return request.method == self.method and re.fullmatch(self.path, request.path) is not None


@dataclass(frozen=True)
class Failure:
    """What the vendor says when it fails, and what becomes of it."""

    reply: Reply
    #: What the client gets.
    status: int
    #: ``ProxyError.kind``, as the log names it.
    kind: str | None = None
    #: Seconds of the ``retry-after`` header.
    retry_after: int | None = None
    #: ``error.code``; ... is any.
    code: Any = ...
    #: What ``error.message`` contains.
    message: str | None = None
    #: The name of the exchange; else the main one.
    at: str | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """One deployment of a vendor."""

    #: Also the model group's name.
    id: str
    #: As in the configuration: ``vendor/model``.
    model: str
    exchanges: tuple[Exchange, ...]
    #: File in ``tests/providers/specs``: every request that goes out is held against it.
    spec: str | None
    #: The header that carries the key: its name, and its value with ``{key}`` (or a token that `params` hold).
    key_header: tuple[str, str]
    base_path: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    model_info: Mapping[str, Any] = field(default_factory=dict)
    #: The ``x-proxy-upstream-id`` that is due; None where the vendor tells none.
    upstream_id: str | None = None
    #: What the attempt has used in the end; None where the vendor tells nothing.
    usage: Usage | None = None
    errors: tuple[Failure, ...] = ()
    #: A field of the vendor's own that a request may set, and a value for it.
    extra: tuple[str, Any] | None = None
    #: Where it arrives; else under its own name anywhere in body, form or query.
    extra_of: Callable[[Recorded], Any] | None = None
    #: Tests that do not apply, by name, with the reason.
    skips: Mapping[str, str] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        raise NotImplementedError

    @property
    def main(self) -> Exchange:
        raise NotImplementedError

    def named(self, name: str | None) -> Exchange:
        return self.main if name is None else next(one for one in self.exchanges if one.name == name)

    def _marked(self) -> Exchange | None:
        return next((one for one in self.exchanges if one.main), None)


@dataclass(frozen=True, kw_only=True)
class SpeechCase(Case):
    """The readers look at a request as the vendor understands it: text without escapes, ids decoded."""

    text_of: Callable[[Recorded], str]
    voice_of: Callable[[Recorded], str]
    #: None: the vendor takes no speed.
    speed_of: Callable[[Recorded], float | None] | None = None
    #: None: instructions have no effect, which a warning says.
    instructions_of: Callable[[Recorded], str | None] | None = None
    #: The first audio leaves before the vendor has finished.
    live: bool = True
    #: How many different voices OpenAI's names have, where the vendor has fewer that suit.
    distinct_voices: int | None = None

    @property
    def mode(self) -> str:
        return "audio_speech"

    @property
    def main(self) -> Exchange:
        return self._marked() or self.exchanges[-1]


def _sha256(request: Recorded) -> str:
    return request.file.sha256 if request.parts else request.body_sha256


@dataclass(frozen=True, kw_only=True)
class TranscriptionCase(Case):
    """What the transcript of the fixtures says, times in seconds; readers as in `SpeechCase`."""

    text: str
    language: str | None = None
    duration: float | None = None
    words: tuple[tuple[str, float, float], ...] = ()
    #: Of the segments of diarized_json, in their order, without repetitions.
    speakers: tuple[str, ...] = ()
    #: None: has no effect, which a warning says.
    language_of: Callable[[Recorded], str | None] | None = None
    #: What the vendor gets for what a caller says.
    languages: Mapping[str, str] = field(default_factory=lambda: {"de": "de", "German": "de"})
    prompt_of: Callable[[Recorded], Any] | None = None
    keywords_of: Callable[[Recorded], Any] | None = None
    #: SHA-256 of the audio that the vendor got.
    file_of: Callable[[Recorded], str] = _sha256
    #: Requests that delete what was uploaded.
    deletes: int = 0

    @property
    def mode(self) -> str:
        return "audio_transcription"

    @property
    def main(self) -> Exchange:
        return self._marked() or self.exchanges[0]


def key_of(case: Case) -> str:
    """What opens the vendor in this case: nothing else looks like it."""
    if "{key}" not in case.key_header[1]:
        return case.key_header[1].rpartition(" ")[2]
    return f"key-of-{case.id}-4f1d8c0b7e96"


# -- readers -----------------------------------------------------------------------------------------------------------


def json_value(*path: str | int) -> Callable[[Recorded], Any]:
    """Reads what lies there in the JSON body; None where there is no such thing."""

    def read(request: Recorded) -> Any:
        found = request.json
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    return read


def query_value(name: str) -> Callable[[Recorded], Any]:
    """Reads a parameter of the query: its value, a list where there are several, None where there is none."""
    return lambda request: _one(request.query.get(name))


def form_field(name: str) -> Callable[[Recorded], Any]:
    """Reads a field of the form, as `query_value` does."""
    return lambda request: _one(request.fields.get(name))


def _one(values: list[str] | None) -> Any:
    return values[0] if values is not None and len(values) == 1 else values


# -- all of them -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    cases: tuple[Case, ...]
    #: Modules of cases that cannot be imported, and why.
    broken: Mapping[str, str] = field(default_factory=dict)


@cache
def every_case() -> Found:
    found: list[Case] = []
    broken: dict[str, str] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(cases.__path__)):
        try:
            found.extend(importlib.import_module(f"{cases.__name__}.{module}").CASES)
        except Exception as error:
            broken[module] = f"{type(error).__name__}: {error}"
    return Found(tuple(found), broken)
