"""Cuts a long text at sentences, clauses or words."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: A cut that leaves less than one part in this many of a full piece is used only if there is no better one.
_MIN_PART = 4
_CLOSING = "[\"'\u201d\u2019\u00bb)\\]\u300d\u300f\uff09]*"
#: Not after a single letter or a title, whose full stop does not end a sentence.
_SHORT = r"(?<!\b\w)(?<!\b(?:Mr|Ms|Dr|St|No))(?<!\bMrs)(?<!\bProf)"
#: Where a piece may end, best first: a paragraph or sentence (but not before a lower-case letter, since that follows an
#: abbreviation), a clause, a word. East Asian punctuation needs no space after it.
_ENDS = (
    re.compile(
        rf"\n\s*\n|(?:{_SHORT}\.|[!?\u2026\u061f\u0964]){_CLOSING}\s+(?![a-z])|[\u3002\uff01\uff1f\uff0e]{_CLOSING}"
    ),
    re.compile(rf"\n|[,;:\u2013\u2014\u060c\u061b]{_CLOSING}\s+|[\u3001\uff0c\uff1b\uff1a\u2014]{_CLOSING}"),
    re.compile(r"\s+"),
)
_JOINERS = frozenset("\u200d\u200c\u2060")


def pieces(text: str, limit: int) -> list[str]:
    """Pieces of at most ``limit`` characters. They contain the whole text, except white space between them."""
    return [piece for piece in _cut(text, limit) if piece]


def _cut(text: str, limit: int) -> Iterator[str]:
    start = 0
    while len(text) - start > limit:
        end = _end(text, start, limit)
        yield text[start:end].strip()
        start = end
    yield text[start:].strip()


def _end(text: str, start: int, limit: int) -> int:
    """The end of the piece that begins at ``start``, including what separates it from the next one."""
    least = start + limit // _MIN_PART
    for ends in _ENDS:
        last = None
        # The separator may exceed the limit, since it is stripped.
        for match in ends.finditer(text, start, start + limit + 2):
            if len(text[start : match.end()].strip()) <= limit:
                last = match
        if last is not None and last.end() > least:
            return last.end()
    return _between_letters(text, start, start + limit)


def _between_letters(text: str, start: int, end: int) -> int:
    """The last position up to ``end`` that does not separate a letter from its marks; ``end`` if there is none."""
    for position in range(end, start, -1):
        if not _continues(text[position]) and text[position - 1] not in _JOINERS:
            return position
    return end


def _continues(char: str) -> bool:
    """Whether the character belongs to the one before it."""
    return char in _JOINERS or unicodedata.category(char) in ("Mn", "Mc", "Me") or "\U0001f3fb" <= char <= "\U0001f3ff"
