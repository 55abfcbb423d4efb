"""Checks whether speech follows a text word for word, from the transcript of the speech as it arrives.

Spellings that sound alike count as equal: case, punctuation, contractions ("it's", "it is"), numbers in digits or
words, common abbreviations. Languages without spaces are compared letter by letter. The measure is an edit distance
over words, updated with each word within a band of the text, so that it costs microseconds a word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from math import inf

#: Half the width of the band, in words: how far the transcript may be ahead of the text or behind it.
BAND = 20
#: Words that are enough to tell a model that reads the text from one that answers it.
MIN_WORDS = 4
#: The share of words that may differ in the end, and half a word more for very short texts.
TOLERANCE = 0.05
SLACK = 0.5


def _word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Stands for a number. In the text it matches any word.
_NUMBER = "#"
#: The cost of each further word for the same number.
_NUMBER_GAP = 0.3
#: Chinese, Japanese, Thai, Lao, Myanmar and Khmer are written without spaces.
_LETTERS = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_LETTERS}]|\d[\d.,:/]*(?:st|nd|rd|th)?|[^\W\d_{_LETTERS}]+(?:'[^\W\d_]+)*|[&@+=]")
_BOUNDARY = re.compile(rf"[\s{_LETTERS}](?!.*[\s{_LETTERS}])", re.DOTALL)
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\u00b4`", "'''''")
_NUMBERS = _word_set(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion first"
    " second third fourth fifth sixth seventh eighth ninth tenth"
)
#: The words for signs that are not compared.
_IGNORED = _word_set("dollar dollars euro euros pound pounds cent cents percent degrees dot point slash hyphen")
_SPOKEN_FORMS: dict[str, tuple[str, ...]] = {
    "&": ("and",), "@": ("at",), "+": ("plus",), "=": ("equals",), "mr": ("mister",), "mrs": ("missus",),
    "dr": ("doctor",), "vs": ("versus",), "etc": ("et", "cetera"), "can't": ("can", "not"), "cannot": ("can", "not"),
    "won't": ("will", "not"), "let's": ("let", "us"), "gonna": ("going", "to"), "wanna": ("want", "to"),
    "ok": ("okay",),
}  # fmt: skip
_ENDINGS = {"n't": "not", "'re": "are", "'m": "am", "'ll": "will", "'ve": "have", "'d": "would"}
#: After these, an 's is "is"; after others it is a possessive.
_PRONOUNS = _word_set("he she it that this what there here where who how when why everything everyone")


def words(text: str) -> Iterator[str]:
    """The words in the form in which they are compared."""
    plain = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES)
    for match in _TOKEN.finditer(plain):
        token = match[0]
        if token[0].isdigit() or token in _NUMBERS:
            yield _NUMBER
        elif token not in _IGNORED:
            yield from _SPOKEN_FORMS.get(token) or _expanded(token)


def _expanded(token: str) -> tuple[str, ...]:
    for ending, word in _ENDINGS.items():
        if token.endswith(ending) and len(token) > len(ending):
            return token.removesuffix(ending), word
    if token.endswith("'s"):
        stem = token.removesuffix("'s")
        return (stem, "is") if stem in _PRONOUNS else (f"{stem}s",)
    return (token,)


class ReadAlongMatcher:
    """Compares one text with the transcript of its speech: `feed` the transcript bit by bit, `finish` at its end."""

    def __init__(self, text: str) -> None:
        self._text = tuple(_joined_numbers(words(text), ""))
        self._tail = ""
        self._last = ""
        #: Words of the transcript so far.
        self.count = 0
        #: `_costs` holds the edit distance between the transcript so far and the first words of the text, for each
        #: number of words from `_low` on, within the band.
        self._low = 0
        self._costs = [float(place) for place in range(min(BAND, len(self._text)) + 1)]

    def feed(self, delta: str) -> None:
        self._tail += delta
        boundary = _BOUNDARY.search(self._tail)
        if boundary is not None:
            complete, self._tail = self._tail[: boundary.end()], self._tail[boundary.end() :]
            self._take(complete)

    def finish(self) -> None:
        """The transcript is complete."""
        tail, self._tail = self._tail, ""
        self._take(tail)

    @property
    def diverges(self) -> bool:
        """The transcript so far is hardly the beginning of the text."""
        return min(self._costs) > 1 + 0.34 * self.count

    @property
    def matches(self) -> bool:
        """The transcript so far is long enough to know that it is the text."""
        wrong = min(self._costs)
        if self.count >= min(MIN_WORDS, len(self._text)) and wrong < 1:
            return True
        return self.count >= MIN_WORDS and (wrong <= 1 or (self.count >= 3 * MIN_WORDS and not self.diverges))

    @property
    def differs(self) -> bool:
        """The complete transcript differs from the text by more than the tolerance."""
        unread = len(self._text) - (self._low + len(self._costs) - 1)
        return self._costs[-1] + unread > SLACK + TOLERANCE * len(self._text)

    def _take(self, text: str) -> None:
        for word in _joined_numbers(words(text), self._last):
            self._last = word
            self.count += 1
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
            replaced = old[index - 1] + (0.0 if expected in (word, _NUMBER) else 1.0) if same else inf
            added = old[index] + (_NUMBER_GAP if expected == _NUMBER else 1.0) if index < len(old) else inf
            left = min(replaced, added, left + 1.0)
            row.append(left)
        self._low, self._costs = new_low, row


def _joined_numbers(tokens: Iterator[str], before: str) -> Iterator[str]:
    """Treats consecutive numbers as one: "twenty-five", "25", "two hundred"."""
    for word in tokens:
        if word != _NUMBER or before != _NUMBER:
            yield word
        before = word
