"""Collects what is wrong with a configuration and reports it all at once, with file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.errors import ConfigError

#: Problems that are reported, and problems that are stored.
_MAX_REPORTED = 100
_MAX_STORED = 1000

_SECRET_START = re.compile(r"(sk|pk|rk|gsk|hf|xai|ghp|AIza|eyJ|Bearer|Basic|Token)[-_ .A-Z0-9a-z]", re.IGNORECASE)
_LONG_RUN = re.compile(r"(?=[A-Za-z+/=_-]*\d)[A-Za-z0-9+/=_-]{20,}")


class SourceLocation(NamedTuple):
    """A file and a line in it, counted from 1. Line 0 stands for the whole file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problems:
    """Collects problems; ``raise_any`` reports them, ordered by file and line."""

    def __init__(self) -> None:
        #: In the order in which they were added, each once.
        self._problems: dict[tuple[SourceLocation, str], None] = {}
        self._not_stored = 0

    def __len__(self) -> int:
        return len(self._problems)

    def add(self, location: SourceLocation, text: str) -> None:
        if len(self._problems) < _MAX_STORED:
            self._problems.setdefault((location, text))
        else:
            self._not_stored += 1

    def unknown_key(self, location: SourceLocation, key: str, section: str, known: Iterable[str]) -> None:
        near = suggestion(key, known) if len(self._problems) < _MAX_STORED else ""
        self.add(location, f"unknown key {safe_quote(key)} in {section}{near}")

    def lines(self) -> list[str]:
        files = list(dict.fromkeys(location.file for location, _ in self._problems))
        ordered = sorted(self._problems, key=lambda problem: (files.index(problem[0].file), problem[0].line))
        lines = [f"{location}: {text}" for location, text in ordered[:_MAX_REPORTED]]
        if left := len(ordered) - len(lines) + self._not_stored:
            lines.append(f"… and {left} more problems")
        return lines

    def raise_any(self) -> None:
        if self._problems:
            raise ConfigError(self.lines())


def safe_quote(text: str) -> str:
    """Quote text from the file in a message: short and printable, and hidden if it looks like a secret."""
    if _SECRET_START.match(text) or _LONG_RUN.search(text):
        return "(hidden: it looks like a secret)"
    return quote(text)


def quote(text: str) -> str:
    """Quote a name that the operator chose (a model, a group): short and printable."""
    text = text if len(text) <= 80 else text[:79] + "…"
    return "'" + "".join(char if char.isprintable() else "?" for char in text) + "'"


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or an empty string if no known word is similar."""
    near = nearest(wrong, known)
    return f"; did you mean '{near}'?" if near else ""


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(wrong[:80].lower(), sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None
