"""Whether a text was read out word for word, judged by a transcript while it comes.

What a reader may say in other letters counts as said: case, punctuation, contractions ("it's", "it is"), numbers in
digits or words, the usual abbreviations. Languages without spaces are compared letter by letter. The measure is an edit
distance over words, kept up to date with each word along a band of the text, so that it costs microseconds a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from math import inf

#: Half the width of the band: how many words a reader may be ahead or behind and still be understood.
BAND = 20
#: Words that are enough to tell a reader from somebody who answers.
ENOUGH = 4
#: Share of words that may differ in the end, and a fraction of a word for texts of one.
TOLERANCE = 0.05
SLACK = 0.5


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_NUMBER = "#"
#: A number in the text stands for any words.
_NUMBER_GAP = 0.3
#: Chinese, Japanese, Thai, Lao, Myanmar and Khmer are written without spaces.
_LETTERS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_LETTERS}]|\d[\d.,:/]*(?:st|nd|rd|th)?|[^\W\d_{_LETTERS}]+(?:'[^\W\d_]+)*|[&@+=]")
_BOUNDARY = re.compile(rf"[\s{_LETTERS}](?!.*[\s{_LETTERS}])", re.DOTALL)
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\u00b4`", "'''''")
_NUMBERS = _set(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion first"
    " second third fourth fifth sixth seventh eighth ninth tenth"
)
#: What a reader says for signs that are not compared.
_UNWRITTEN = _set("dollar dollars euro euros pound pounds cent cents percent degrees dot point slash hyphen")
_SAID: dict[str, tuple[str, ...]] = {
    "&": ("and",), "@": ("at",), "+": ("plus",), "=": ("equals",), "mr": ("mister",), "mrs": ("missus",),
    "dr": ("doctor",), "vs": ("versus",), "etc": ("et", "cetera"), "can't": ("can", "not"), "cannot": ("can", "not"),
    "won't": ("will", "not"), "let's": ("let", "us"), "gonna": ("going", "to"), "wanna": ("want", "to"),
    "ok": ("okay",),
}  # fmt: skip
_ENDINGS = {"n't": "not", "'re": "are", "'m": "am", "'ll": "will", "'ve": "have", "'d": "would"}
#: After these, an 's is "is"; after others it is a possessive.
_PRONOUNS = _set("he she it that this what there here where who how when why everything everyone")


def words(text: str) -> Iterator[str]:
    """The words as they are compared."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    for match in _TOKEN.finditer(plain):
        token = match[0]
        if token[0].isdigit() or token in _NUMBERS:
            yield _NUMBER
        elif token not in _UNWRITTEN:
            yield from _SAID.get(token) or _expanded(token)


def _expanded(token: str) -> tuple[str, ...]:
    for ending, word in _ENDINGS.items():
        if token.endswith(ending) and len(token) > len(ending):
            return token.removesuffix(ending), word
    if token.endswith("'s"):
        stem = token.removesuffix("'s")
        return (stem, "is") if stem in _PRONOUNS else (f"{stem}s",)
    return (token,)


class ReadAlongMatcher:
    """The reading of one text: `hear` the transcript bit by bit, `finish` at its end."""

    def __init__(self, text: str) -> None:
        self._text = tuple(_joined_numbers(words(text), ""))
        self._tail = ""
        self._last = ""
        #: Words of the transcript so far.
        self.heard = 0
        #: Cost of having heard nothing but stand before the word of that place; only those in the band.
        self._low = 0
        self._costs = [float(place) for place in range(min(BAND, len(self._text)) + 1)]

    def hear(self, delta: str) -> None:
        self._tail += delta
        boundary = _BOUNDARY.search(self._tail)
        if boundary is not None:
            complete, self._tail = self._tail[: boundary.end()], self._tail[boundary.end() :]
            self._take(complete)

    def finish(self) -> None:
        """There is no more to hear."""
        tail, self._tail = self._tail, ""
        self._take(tail)

    @property
    def strays(self) -> bool:
        """What was heard so far is hardly the text's beginning."""
        return min(self._costs) > 1 + 0.34 * self.heard

    @property
    def follows(self) -> bool:
        """Enough was heard to know that this is the text."""
        wrong = min(self._costs)
        if self.heard >= min(ENOUGH, len(self._text)) and wrong < 1:
            return True
        return self.heard >= ENOUGH and (wrong <= 1 or (self.heard >= 3 * ENOUGH and not self.strays))

    @property
    def differs(self) -> bool:
        """The whole transcript is not the text, beyond the tolerance."""
        unread = len(self._text) - (self._low + len(self._costs) - 1)
        return self._costs[-1] + unread > SLACK + TOLERANCE * len(self._text)

    def _take(self, text: str) -> None:
        for word in _joined_numbers(words(text), self._last):
            self._last = word
            self.heard += 1
            self._advance(word)

    def _advance(self, word: str) -> None:
        """One row of the edit distance, within the band around the best place."""
        old, low = self._costs, self._low
        best = low + old.index(min(old))
        new_low = max(low, best + 1 - BAND)
        new_high = min(len(self._text), best + 1 + BAND)
        row: list[float] = []
        left = inf
        for place in range(new_low, new_high + 1):
            index = place - low
            expected = self._text[place - 1] if place else ""
            same = index >= 1 and index - 1 < len(old)
            said = old[index - 1] + (0.0 if expected in (word, _NUMBER) else 1.0) if same else inf
            added = old[index] + (_NUMBER_GAP if expected == _NUMBER else 1.0) if index < len(old) else inf
            left = min(said, added, left + 1.0)
            row.append(left)
        self._low, self._costs = new_low, row


def _joined_numbers(found: Iterator[str], before: str) -> Iterator[str]:
    """Numbers in a row are one: "twenty-five", "25", "two hundred"."""
    for word in found:
        if word != _NUMBER or before != _NUMBER:
            yield word
        before = word
