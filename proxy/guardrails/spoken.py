"""Spoken numbers: normalizes a text so that digits are digits, and maps positions back to the original."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from proxy.guardrails.base import Span

#: The digits in common languages. No word stands for two digits.
_DIGITS: Final = (
    "zero oh null nul cero zéro nulla",
    "one ein eins eine un une uno um uma een één",
    "two zwei zwo deux dos due dois duas twee",
    "three drei trois tres tre três drie",
    "four vier quatre cuatro quattro quatro",
    "five fünf cinq cinco cinque vijf",
    "six sechs seis sei zes",
    "seven sieben sept siete sette sete zeven",
    "eight acht huit ocho otto oito",
    "nine neun neuf nueve nove negen",
)
DIGIT_WORDS: Final = {word: str(digit) for digit, words in enumerate(_DIGITS) for word in words.split()}
_REPEATED: Final = {"double": 2, "triple": 3}
_MARKS: Final = {
    "dash": "-", "hyphen": "-", "minus": "-", "dot": ".", "point": ".", "punto": ".", "punkt": ".", "plus": "+",
}  # fmt: skip
_MARKS_PUT: Final = frozenset(_MARKS.values())
_TOKEN: Final = re.compile(r"[^\W\d_]+|\d+")
#: Allowed between two spoken digits, or between a digit and a spoken mark.
_GAP: Final = re.compile(r"[\s,.\-\u2010-\u2015]{1,3}")
#: Invisible characters, which only serve to hide something.
_INVISIBLE: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_UNUSUAL: Final = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]|[^\x00-\x7f]")


class NormalizedText:
    """``text`` is the normalized form of a text; ``original`` maps positions in it back to the original.

    ``joined``: consecutive spoken digits form one number, as in an address. Otherwise each is a number by itself, and
    a match may begin at any of them.
    """

    def __init__(self, original: str, *, joined: bool = True) -> None:
        pieces = _pieces(original, joined=joined)
        self.text = original if pieces is None else "".join(put for _, _, put in pieces)
        self._starts: list[int] | None = None
        self._ends: list[int] = []
        if pieces is not None:
            self._starts = []
            for start, end, put in pieces:
                same = end - start == len(put)
                self._starts += range(start, end) if same else [start] * len(put)
                self._ends += range(start + 1, end + 1) if same else [end] * len(put)

    def original(self, spans: Iterable[Span]) -> list[Span]:
        if self._starts is None:
            return list(spans)
        return [Span(self._starts[start], self._ends[end - 1], put) for start, end, put in spans if end > start]


def _pieces(text: str, *, joined: bool) -> list[tuple[int, int, str]] | None:
    """Start, end and replacement, covering the whole text. None if nothing changes."""
    changed = sorted((*_spoken(text, joined=joined), *_plain_characters(text)))
    if not changed:
        return None
    pieces, position = [], 0
    for start, end, put in changed:
        if start >= position:
            pieces += [(position, start, text[position:start]), (start, end, put)]
            position = end
    return [*pieces, (position, len(text), text[position:])]


def _plain_characters(text: str) -> Iterable[tuple[int, int, str]]:
    """Remove invisible characters, and turn full-width letters and the digits of all scripts into ASCII."""
    for match in _UNUSUAL.finditer(text):
        char = match[0]
        if _INVISIBLE.match(char):
            yield match.start(), match.end(), ""
        elif char.isdecimal():
            yield match.start(), match.end(), str(unicodedata.decimal(char))
        elif unicodedata.east_asian_width(char) == "F":
            yield match.start(), match.end(), unicodedata.normalize("NFKC", char)[:1]


class _Token(NamedTuple):
    """A spoken digit or mark, or a number in digits, which stays unchanged."""

    start: int
    end: int
    put: str
    is_word: bool


def _spoken(text: str, *, joined: bool) -> Iterable[tuple[int, int, str]]:
    """Replacements for spoken digits and marks. A single one stays unchanged."""
    run: list[_Token] = []
    times = 1
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        word = match[0].lower()
        put = word if word[0].isdecimal() else DIGIT_WORDS.get(word) or _MARKS.get(word)
        if put is None and word not in _REPEATED:
            continue
        if run and not _GAP.fullmatch(text, run[-1].end, start):
            yield from _run(run, joined=joined)
            run, times = [], 1
        if put is None:
            run.append(_Token(start, end, "", is_word=True))
            times = _REPEATED[word]
            continue
        run.append(_Token(start, end, put * times if put.isdigit() else put, is_word=not word[0].isdecimal()))
        times = 1
    yield from _run(run, joined=joined)


def _run(run: Sequence[_Token], *, joined: bool) -> Iterable[tuple[int, int, str]]:
    """Remove gaps next to marks (``one dot two`` is 1.2), and between words if they are ``joined``."""
    if len(run) < 2 or not any(token.is_word for token in run) or not any(token.put[:1].isdecimal() for token in run):
        return
    for token, after in zip(run, [*run[1:], None], strict=True):
        if token.is_word:
            yield token.start, token.end, token.put
        if after is not None and ((joined and token.is_word and after.is_word) or {token.put, after.put} & _MARKS_PUT):
            yield token.end, after.start, ""
