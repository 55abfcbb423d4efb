"""A long text cut where a reader would breathe."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: A cut that leaves less than this part of a piece is no good one, if there is another.
_MIN_PART = 4
_CLOSING = "[\"'\u201d\u2019\u00bb)\\]\u300d\u300f\uff09]*"
#: Before a full stop that ends no sentence: a single letter, a title.
_SHORT = r"(?<!\b\w)(?<!\b(?:Mr|Ms|Dr|St|No))(?<!\bMrs)(?<!\bProf)"
#: Where a piece may end, best first: a paragraph or sentence (not after an abbreviation, as far as what follows tells),
#: a clause, a word. East Asian marks need no space behind them.
_ENDS = (
    re.compile(
        rf"\n\s*\n|(?:{_SHORT}\.|[!?\u2026\u061f\u0964]){_CLOSING}\s+(?![a-z])|[\u3002\uff01\uff1f\uff0e]{_CLOSING}"
    ),
    re.compile(rf"\n|[,;:\u2013\u2014\u060c\u061b]{_CLOSING}\s+|[\u3001\uff0c\uff1b\uff1a\u2014]{_CLOSING}"),
    re.compile(r"\s+"),
)
_JOINERS = frozenset("\u200d\u200c\u2060")


def pieces(text: str, most: int) -> list[str]:
    """Pieces of at most ``most`` characters that hold all of the text but the white space between them."""
    return [piece for piece in _cut(text, most) if piece]


def _cut(text: str, most: int) -> Iterator[str]:
    start = 0
    while len(text) - start > most:
        end = _end(text, start, most)
        yield text[start:end].strip()
        start = end
    yield text[start:].strip()


def _end(text: str, start: int, most: int) -> int:
    """Where the piece that begins at ``start`` ends, behind what separates it from the next."""
    least = start + most // _MIN_PART
    for ends in _ENDS:
        last = None
        # What separates may pass the limit, for it is stripped off.
        for found in ends.finditer(text, start, start + most + 2):
            if len(text[start : found.end()].strip()) <= most:
                last = found
        if last is not None and last.end() > least:
            return last.end()
    return _between_letters(text, start, start + most)


def _between_letters(text: str, start: int, end: int) -> int:
    """The last place up to ``end`` that tears no letter from its marks; ``end`` where there is none."""
    for place in range(end, start, -1):
        if not _belongs_to_the_former(text[place]) and text[place - 1] not in _JOINERS:
            return place
    return end


def _belongs_to_the_former(char: str) -> bool:
    return char in _JOINERS or unicodedata.category(char) in ("Mn", "Mc", "Me") or "\U0001f3fb" <= char <= "\U0001f3ff"
