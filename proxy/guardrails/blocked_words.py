"""``guardrail: blocked_words``: finds words, phrases and regular expressions.

The expressions are RE2's, which always takes linear time. It has no look-around and no back-references.
"""

from __future__ import annotations

import asyncio
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from proxy.config import Config
from proxy.config.fields import Names, Text
from proxy.guardrails.base import ALLOW, Context, Guard, Span, Verdict
from proxy.guardrails.redaction import union
from proxy.guardrails.settings import GuardrailSettings
from proxy.http.transport import Transport

LABEL: Final = "BLOCKED_WORD"
#: Letters, digits and combining marks. Invisible characters belong to the word that they split.
_TOKEN: Final = re.compile("[\\w\u0300-\u036f\u00ad\u200b-\u200f\u2060-\u2064\ufeff]+")
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
#: Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_ALLOWED: Final = re.compile(r"[\w\s'\u2019-]+")
#: Characters between two words of a phrase.
_MAX_GAP: Final = 4
#: Words that are checked without yielding to other calls.
PIECE: Final = 20_000
#: Bytes of memory for one expression.
_PATTERN_MEMORY: Final = 8 << 20


def _word(word: str) -> str:
    if not _ALLOWED.fullmatch(word) or not any(char.isalnum() for char in word):
        raise ValueError(
            "must consist of letters, digits, spaces, hyphens and apostrophes; use patterns for anything else"
        )
    return word


def _searchable(patterns: tuple[str, ...]) -> tuple[str, ...]:
    faults = [f"number {number} {fault}" for number, pattern in enumerate(patterns, 1) if (fault := _fault(pattern))]
    if faults:
        raise ValueError(f"must be regular expressions in RE2's syntax: {'; '.join(faults)}")
    return patterns


class BlockedWordsSettings(GuardrailSettings):
    redacts: ClassVar[bool] = True

    guardrail: Literal["blocked_words"] = "blocked_words"
    patterns: Annotated[Names, AfterValidator(_searchable)] = Field(default=(), description="RE2 regular expressions.")
    words: tuple[Annotated[Text, AfterValidator(_word)], ...] = Field(
        default=(), validate_default=True, description="Words and phrases."
    )

    @field_validator("words")
    @classmethod
    def _not_both_empty(cls, words: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if not words and info.data.get("patterns") == ():
            raise ValueError("and 'patterns' must not both be empty")
        return words

    def build(self, config: Config, transport: Transport) -> BlockedWords:
        return BlockedWords(self)


class BlockedWords(Guard):
    is_local = True

    def __init__(self, settings: BlockedWordsSettings) -> None:
        self._phrases = _phrases(settings.words)
        self._unspaced = [_canonical(word) for word in settings.words if _UNSPACED.search(word)]
        self._patterns = [compiled(pattern) for pattern in settings.patterns]

    async def check(self, text: str, context: Context) -> Verdict:
        spans: list[Span] = []
        words: list[tuple[str, int, int]] = []
        for number, word in enumerate(_tokens(text)):
            if number % PIECE == PIECE - 1:
                await asyncio.sleep(0)
            words.append(word)
        spans += self._found_phrases(words)
        spans += self._found_unspaced(text)
        for pattern in self._patterns:
            spans += [_span(*match.span()) for match in pattern.finditer(text) if match.end() > match.start()]
        return Verdict((LABEL,), tuple(union(spans))) if spans else ALLOW

    def _found_phrases(self, words: Sequence[tuple[str, int, int]]) -> Iterator[Span]:
        for index, (word, start, _) in enumerate(words):
            for phrase in self._phrases.get(word, ()):
                candidates = words[index : index + len(phrase)]
                if tuple(candidate[0] for candidate in candidates) == phrase and _together(candidates):
                    yield _span(start, candidates[-1][2])

    def _found_unspaced(self, text: str) -> Iterator[Span]:
        if not self._unspaced:
            return
        folded = [_canonical(char) for char in text]
        positions = [position for position, char in enumerate(folded) for _ in char]
        whole = "".join(folded)
        for word in self._unspaced:
            at = whole.find(word)
            while at >= 0:
                yield _span(positions[at], positions[at + len(word) - 1] + 1)
                at = whole.find(word, at + 1)


def _fault(pattern: str) -> str | None:
    try:
        matches_empty_text = compiled(pattern).fullmatch("") is not None
    except ValueError as error:
        return f"is not valid ({error})"
    return "matches the empty text" if matches_empty_text else None


def compiled(pattern: str) -> Any:
    """Raises ValueError. Its message may quote part of the pattern."""
    import re2  # loaded on first use: most configurations have no patterns

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it cannot be parsed"
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from None


def _phrases(words: Iterable[str]) -> dict[str, list[tuple[str, ...]]]:
    """Phrases by their first words."""
    phrases: dict[str, list[tuple[str, ...]]] = {}
    for word in words:
        phrase = tuple(token for token, _, _ in _tokens(word))
        if phrase and not _UNSPACED.search(word):
            phrases.setdefault(phrase[0], []).append(phrase)
    return phrases


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(text):
        yield _canonical(match[0]), match.start(), match.end()


def _canonical(word: str) -> str:
    """The canonical form of a word: the same for every spelling of its characters."""
    if word.isascii():
        return word.lower()
    return _INVISIBLE.sub("", unicodedata.normalize("NFKC", word)).casefold()


def _together(words: Sequence[tuple[str, int, int]]) -> bool:
    return all(second[1] - first[2] <= _MAX_GAP for first, second in pairwise(words))


def _span(start: int, end: int) -> Span:
    return Span(start, end, f"[{LABEL}]")
