"""``guardrail: blocked_words``: finds words, phrases and regular expressions.

The expressions are RE2's, which always takes linear time. It has no look-around and no back-references.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from proxy.config import Config
from proxy.config.fields import Names, Text
from proxy.guardrails.base import ALLOW, Context, Guard, Span, Verdict
from proxy.guardrails.redaction import union
from proxy.guardrails.scanner import Scanner
from proxy.guardrails.settings import GuardrailSettings
from proxy.guardrails.views import View, plain, spoken, unseparated
from proxy.http.transport import Transport

LABEL: Final = "BLOCKED_WORD"
#: Letters and digits.
_TOKEN: Final = re.compile(r"\w+")
#: Scripts without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_ALLOWED: Final = re.compile(r"[\w\s'\u2019-]+")
#: Characters between two words of a phrase.
_MAX_GAP: Final = 4
#: Characters that invisible characters and the like may add to the longest phrase.
OVERLAP: Final = 400
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
        self._unspaced = {form for word in settings.words if _UNSPACED.search(word) for form in _forms(word)}
        self._patterns = [compiled(pattern) for pattern in settings.patterns]
        self._overlap = max(map(len, settings.words), default=0) * (_MAX_GAP + 1) + OVERLAP
        self._scanner = Scanner()

    async def check(self, text: str, context: Context) -> Verdict:
        spans: list[Span] = []
        if self._phrases or self._unspaced:
            spans += await self._scanner.in_pieces(text, self._found_words, self._overlap)
        if self._patterns:
            spans += await self._scanner.in_whole(text, self._found_patterns)
        return Verdict((LABEL,), tuple(union(spans))) if spans else ALLOW

    async def aclose(self) -> None:
        self._scanner.close()

    def _found_words(self, text: str) -> list[Span]:
        view = plain(text)
        spans = [*self._found_phrases(list(_tokens(view.text))), *self._found_unspaced(view.text)]
        return view.original(spans)

    def _found_patterns(self, text: str) -> list[Span]:
        """Also in the text as it is written, which is what patterns are usually written for."""
        written = plain(text)
        views = {view.text: view for view in (spoken(written, joined=True), unseparated(written), written, View(text))}
        return [span for view in views.values() for span in view.original(self._matches(view.text))]

    def _matches(self, text: str) -> Iterator[Span]:
        for pattern in self._patterns:
            for match in pattern.finditer(text):
                if match.end() > match.start():
                    yield _span(*match.span())

    def _found_phrases(self, words: Sequence[tuple[str, int, int]]) -> Iterator[Span]:
        for index, (word, start, _) in enumerate(words):
            for phrase in self._phrases.get(word, ()):
                candidates = words[index : index + len(phrase)]
                if tuple(candidate[0] for candidate in candidates) == phrase and _together(candidates):
                    yield _span(start, candidates[-1][2])

    def _found_unspaced(self, text: str) -> Iterator[Span]:
        folded = [char.casefold() for char in text]
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
        for form in _forms(word) if not _UNSPACED.search(word) else ():
            phrase = tuple(token for token, _, _ in _tokens(form))
            if phrase:
                phrases.setdefault(phrase[0], []).append(phrase)
    return phrases


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    for match in _TOKEN.finditer(text):
        yield match[0].casefold(), match.start(), match.end()


def _forms(word: str) -> set[str]:
    """What can stand for the word in a plain text. A Greek capital Nu looks like an N, and a small one like a v."""
    return {plain(form).text.casefold() for form in (word, word.lower(), word.upper(), word.capitalize())}


def _together(words: Sequence[tuple[str, int, int]]) -> bool:
    return all(second[1] - first[2] <= _MAX_GAP for first, second in pairwise(words))


def _span(start: int, end: int) -> Span:
    return Span(start, end, f"[{LABEL}]")
