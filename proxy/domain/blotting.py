"""Error messages without what callers said and without keys, so that they may be logged and stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: Of a blotted message.
MAX_LENGTH = 500
BLOT = "[…]"
#: Characters that a message must have in common with a text to be taken for a quotation of it. Other scripts than the
#: Latin one say more with a character.
_QUOTED, _QUOTED_WIDE = 10, 5
#: Characters of a message that are read, and how many of them are dropped at its end if it is longer: part of a key or
#: of a quotation might not be recognized.
_READ, _DROPPED = 600, 40
#: Characters of each text that are searched.
_SEARCHED = 20_000
_SECRET = re.compile(
    r"(?i:\b(?:bearer|basic)\s+[^\s'\"`]{8,})"
    r"|(?i:\b(?:sk|pk|rk|key|token|secret|password)[-_=][^\s'\"`]{4,})"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z])[A-Za-z0-9_]{24,}"
    r"|(?<!\w)\+?\d(?:[ .-]?\d){8,}(?!\w)"
    r"|[\w.+-]+@[\w-]+\.[\w.-]*\w"
)
#: Apostrophes within words do not quote.
_QUOTATION = re.compile(r"(?<!\w)(['\"`])(.*?)\1(?!\w)", re.DOTALL)
#: Names of fields, models, voices, formats.
_NAME = re.compile(r"[\w.:/@#+*=,-]{0,64}")


def blotted(message: str, said: Iterable[str] = ()) -> str:
    """One line of at most `MAX_LENGTH` characters, without keys, numbers of cards and phones, addresses of persons,
    quotations that are not mere names, and everything that also stands in the texts that were ``said``.
    """
    text = message.encode("utf-8", "replace").decode()[: 2 * _READ]
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    is_cut, text = len(text) > _READ, text[:_READ]
    for words in said:
        text = _without(text, words[:_SEARCHED])
    text = _QUOTATION.sub(_name_or_blot, _SECRET.sub(BLOT, text))
    if is_cut:
        text = text[:-_DROPPED] + "…"
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def _name_or_blot(quotation: re.Match[str]) -> str:
    return quotation[0] if _NAME.fullmatch(quotation[2]) else f"{quotation[1]}{BLOT}{quotation[1]}"


def _without(text: str, said: str) -> str:
    said = " ".join(said.split())
    kept, end = [], 0
    for start, stop in _common(text, said):
        kept.append(text[end:start])
        end = stop
    return BLOT.join((*kept, text[end:]))


def _common(text: str, said: str) -> Iterator[tuple[int, int]]:
    """Where the text has runs of characters in common with what was said."""
    size = min(len(said), _QUOTED if text.isascii() else _QUOTED_WIDE)
    if size < 3:
        return
    start = 0
    while start + size <= len(text):
        if text[start : start + size] not in said:
            start += 1
            continue
        stop = start + size
        while stop < len(text) and text[start : stop + 1] in said:
            stop += 1
        yield start, stop
        start = stop
