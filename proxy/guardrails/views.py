"""Texts in the form in which guardrails search them, with a way back to the original.

`plain` turns what looks alike into the same characters. `spoken` also turns what people say into what they mean:
``four one one one`` into ``4111``, ``jane dot doe at example dot com`` into ``jane.doe@example.com``.
"""

# ruff: noqa: RUF001  (Chinese digits)

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from proxy.guardrails.base import Span
from proxy.guardrails.confusables import CONFUSABLES


class View:
    """``text`` is a form of another text; `original` maps positions in it back to that one."""

    __slots__ = ("_ends", "_starts", "text")

    def __init__(self, text: str, starts: Sequence[int] | None = None, ends: Sequence[int] = ()) -> None:
        """``starts``, ``ends``: of each character, the positions in the original; None if nothing has changed."""
        self.text = text
        self._starts, self._ends = starts, ends

    def original(self, spans: Iterable[Span]) -> list[Span]:
        if self._starts is None:
            return list(spans)
        return [Span(self._starts[start], self._ends[end - 1], put) for start, end, put in spans if end > start]

    def changed(self, changes: Iterable[tuple[int, int, str]]) -> View:
        """This view with other text in some places: start, end and replacement of each. The first of overlapping ones
        counts. Returns this view itself if nothing changes.
        """
        text = self.text
        pieces: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        position = 0

        def keep(start: int, end: int) -> None:
            pieces.append(text[start:end])
            starts.extend(range(start, end) if self._starts is None else self._starts[start:end])
            ends.extend(range(start + 1, end + 1) if self._starts is None else self._ends[start:end])

        for start, end, put in sorted(changes):
            if start < position or text[start:end] == put:
                continue
            keep(position, start)
            if put:
                first = start if self._starts is None else self._starts[start]
                last = end if self._starts is None else self._ends[end - 1]
                pieces.append(put)
                starts.extend([first] * len(put))
                ends.extend([last] * len(put))
            position = end
        if not position:
            return self
        keep(position, len(text))
        return View("".join(pieces), starts, ends)


# -- what looks alike --------------------------------------------------------------------------------------------------

#: Characters without an appearance (Unicode's Default_Ignorable_Code_Point), which only serve to hide something here.
_IGNORABLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
#: Rings, squares and keycaps around the character before them.
_ENCLOSING: Final = "\u20dd-\u20e0\u20e2-\u20e4"
_INVISIBLE: Final = re.compile(f"[{_IGNORABLE}{_ENCLOSING}]")
#: Characters that are not ASCII, with the one before them, which they may combine with.
_NOT_ASCII: Final = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]+")
_SPACE: Final = re.compile(r"\s{2,}|[^\S ]")
#: Marks that NFKC could not combine with a letter, and that belong to no script: lines and dots that disguise a word.
_DISGUISE: Final = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
#: Vowels and final consonants of Hangul, which NFKC combines with the consonant before them.
_JAMO: Final = re.compile("[\u1160-\u11ff\ud7b0-\ud7ff]")


def plain(text: str) -> View:
    """The text after NFKC, without invisible characters, and with one space for any white space.

    Digits of all scripts, also in circles and raised, become ASCII digits, and letters that look like ASCII letters
    become these.
    """
    view = View(text)
    if not text.isascii():
        view = view.changed(change for match in _NOT_ASCII.finditer(text) for change in _plain_changes(match))
    return view.changed((match.start(), match.end(), " ") for match in _SPACE.finditer(view.text))


def _plain_changes(match: re.Match[str]) -> Iterator[tuple[int, int, str]]:
    cluster, begin, end = "", match.start(), match.start()
    for position, char in enumerate(match[0], match.start()):
        if _INVISIBLE.match(char):
            yield position, position + 1, ""
        elif cluster and end == position and (unicodedata.combining(char) or _JAMO.match(char)):
            cluster, end = cluster + char, position + 1
        else:
            if cluster:
                yield begin, end, _folded(cluster)
            cluster, begin, end = char, position, position + 1
    if cluster:
        yield begin, end, _folded(cluster)


def _folded(cluster: str) -> str:
    """The plain form of a character with its combining marks."""
    digit = unicodedata.digit(cluster, None) if len(cluster) == 1 else None
    if digit is not None:
        return str(digit)
    if len(cluster) == 1 and unicodedata.category(cluster) == "No" and float(value := _number(cluster)).is_integer():
        return str(int(value))
    composed = unicodedata.normalize("NFKC", cluster)
    if len(cluster) > 1:
        composed = composed[:1] + _DISGUISE.sub("", composed[1:])
    return "".join(_ascii(char) for char in composed)


def _number(char: str) -> float:
    return unicodedata.numeric(char, 0.5)


def _ascii(char: str) -> str:
    if char.isascii():
        return char
    return str(unicodedata.decimal(char)) if char.isdecimal() else CONFUSABLES.get(char, char)


# -- what people say ---------------------------------------------------------------------------------------------------

#: The digits in English, German, French, Spanish, Portuguese, Italian, Dutch, Chinese and Japanese. No word stands for
#: two digits.
_DIGITS: Final = (
    "zero oh null nul cero zéro nulla 零 〇",
    "one ein eins eine un une uno um uma een één 一",
    "two zwei zwo deux dos due dois duas twee 二",
    "three drei trois tres tre três drie 三",
    "four vier quatre cuatro quattro quatro 四",
    "five fünf cinq cinco cinque vijf 五",
    "six sechs seis sei zes 六",
    "seven sieben sept siete sette sete zeven 七",
    "eight acht huit ocho otto oito 八",
    "nine neun neuf nueve nove negen 九",
)
DIGIT_WORDS: Final = {word: str(digit) for digit, words in enumerate(_DIGITS) for word in words.split()}
_TEENS: Final = "ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
#: English numbers from 10 to 19, and multiples of ten. ``forty one`` is 41.
_TWO_DIGITS: Final = {word: str(number) for number, word in enumerate(_TEENS.split(), 10)}
_MULTIPLES: Final = {word: str(number) for number, word in enumerate(_TENS.split(), 2)}
_REPEATED: Final = {"double": 2, "triple": 3}
_MARKS: Final = {
    "dash": "-", "hyphen": "-", "minus": "-", "dot": ".", "point": ".", "punto": ".", "punkt": ".", "plus": "+",
}  # fmt: skip
_MARKS_PUT: Final = frozenset(_MARKS.values())
_TOKEN: Final = re.compile(r"[零〇一二三四五六七八九]|[^\W\d_零〇一二三四五六七八九]+|\d+")
#: Allowed between two spoken digits, or between a digit and a spoken mark.
_GAP: Final = re.compile(r"[\s,.\-\u2010-\u2015\u3001\uff0c]{0,3}")


def spoken(view: View, *, joined: bool) -> View:
    """The view with digits and marks instead of the words for them.

    ``joined``: consecutive spoken digits form one number, as in an address. Otherwise each is a number by itself, and
    a match may begin at any of them.
    """
    return view.changed(_spoken_changes(view.text, joined=joined))


class _Token(NamedTuple):
    """A spoken number or mark, or a number in digits, which stays unchanged."""

    start: int
    end: int
    put: str
    is_word: bool


def _spoken_changes(text: str, *, joined: bool) -> Iterator[tuple[int, int, str]]:
    """Replacements for spoken numbers and marks. A single one stays unchanged."""
    run: list[_Token] = []
    times = 1
    tens: str | None = None
    for match in _TOKEN.finditer(text):
        start, end = match.span()
        word = match[0].lower()
        digit = DIGIT_WORDS.get(word)
        put = word if word[0].isdecimal() else digit or _TWO_DIGITS.get(word) or _MARKS.get(word)
        multiple = _MULTIPLES.get(word)
        if put is None and multiple is None and word not in _REPEATED:
            continue
        if run and not _GAP.fullmatch(text, run[-1].end, start):
            yield from _run_changes(_with_tens(run, tens), joined=joined)
            run, times, tens = [], 1, None
        if tens is not None:
            # ``forty one`` is 41, but ``forty eleven`` is 4011.
            follows = digit is not None and digit != "0" and times == 1
            run = _with_tens(run, tens, "" if follows else "0")
            tens = None
        if put is None:
            run.append(_Token(start, end, "", is_word=True))
            if multiple is not None:
                tens = multiple
            else:
                times = _REPEATED[word]
            continue
        run.append(_Token(start, end, put * times if put.isdigit() else put, is_word=not word[0].isdecimal()))
        times = 1
    yield from _run_changes(_with_tens(run, tens), joined=joined)


def _with_tens(run: list[_Token], tens: str | None, units: str = "0") -> list[_Token]:
    """The run with its last token, a multiple of ten, as a number."""
    return run if tens is None else [*run[:-1], run[-1]._replace(put=tens + units)]


def _run_changes(run: Sequence[_Token], *, joined: bool) -> Iterator[tuple[int, int, str]]:
    """Remove gaps next to marks (``one dot two`` is 1.2), and between words if they are ``joined``."""
    if len(run) < 2 or not any(token.is_word for token in run) or not any(token.put[:1].isdecimal() for token in run):
        return
    for token, after in zip(run, [*run[1:], None], strict=True):
        if token.is_word:
            yield token.start, token.end, token.put
        if after is not None and after.start > token.end:
            together = joined and token.is_word and after.is_word
            if together or {token.put, after.put} & _MARKS_PUT:
                yield token.end, after.start, ""


# -- addresses ---------------------------------------------------------------------------------------------------------

_AT: Final = r"at|ät|@|arroba|arobase|chiocciola|apenstaartje|klammeraffe"
_DOT: Final = r"dot|punkt|point|punto|ponto|punt|\."
_OTHER_MARKS: Final = {"underscore": "_", "unterstrich": "_", "dash": "-", "hyphen": "-", "minus": "-", "plus": "+"}
#: A word for a sign of an address, with the space or brackets around it: `` at ``, ``[at]``, `` (dot) ``.
_SIGN: Final = re.compile(
    rf"\s?[(\[{{<]\s?(?P<bracketed>{_AT}|{_DOT})\s?[)\]}}>]\s?"
    rf"|(?<=\w)\s(?P<word>{_AT}|{_DOT}|{'|'.join(_OTHER_MARKS)})\s(?=\w)"
    r"|(?<=\w)(?:\s@\s?|@\s)(?=\w)",
    re.IGNORECASE,
)
#: Single letters and digits, one after the other: ``j a n e``, ``j-a-n-e``.
_SPELLED: Final = re.compile(r"(?<![^\W_])[^\W_](?:[ \-][^\W_]){1,63}(?![^\W_])")


def addressed(view: View) -> View:
    """The view with ``@`` and dots instead of the words for them, and with letters joined that are spelled out."""
    signs = view.changed(_sign_changes(view.text))
    return signs.changed(
        (position, position + 1, "")
        for match in _SPELLED.finditer(signs.text)
        for position in range(match.start() + 1, match.end(), 2)
    )


def _sign_changes(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _SIGN.finditer(text):
        sign = (match["bracketed"] or match["word"] or "@").lower()
        put = _OTHER_MARKS.get(sign) or ("." if re.fullmatch(_DOT, sign) else "@")
        yield match.start(), match.end(), put


# -- separators --------------------------------------------------------------------------------------------------------

_BETWEEN_DIGITS: Final = re.compile(r"(?<=\d)[ \-\u2010-\u2015]{1,3}(?=\d)")


def unseparated(view: View) -> View:
    """The view without spaces and dashes between digits."""
    return view.changed((match.start(), match.end(), "") for match in _BETWEEN_DIGITS.finditer(view.text))
