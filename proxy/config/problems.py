"""What is wrong with a configuration, collected so that it is reported once, with file and line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.errors import ConfigError

#: More lines than this help nobody.
_MAX_PROBLEMS = 100
_MAX_KEPT = 1000

_SECRET_START = re.compile(r"(sk|pk|rk|gsk|hf|xai|ghp|AIza|eyJ|Bearer|Basic|Token)[-_ .A-Z0-9a-z]", re.IGNORECASE)
_LONG_RUN = re.compile(r"(?=[A-Za-z+/=_-]*\d)[A-Za-z0-9+/=_-]{20,}")


class SourceLocation(NamedTuple):
    """A file and a line in it, counted from 1; line 0 is the file as a whole."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


class Problems:
    """Collects every problem; ``raise_any`` reports them all, in the order of the files and lines."""

    def __init__(self) -> None:
        self._found: dict[tuple[SourceLocation, str], None] = {}
        self._more = 0

    def __len__(self) -> int:
        return len(self._found)

    def add(self, location: SourceLocation, text: str) -> None:
        if len(self._found) < _MAX_KEPT:
            self._found.setdefault((location, text))
        else:
            self._more += 1

    def unknown_key(self, location: SourceLocation, key: str, section: str, known: Iterable[str]) -> None:
        near = suggestion(key, known) if len(self._found) < _MAX_KEPT else ""
        self.add(location, f"unknown key {shown(key)} in {section}{near}")

    def lines(self) -> list[str]:
        files = list(dict.fromkeys(location.file for location, _ in self._found))
        ordered = sorted(self._found, key=lambda found: (files.index(found[0].file), found[0].line))
        lines = [f"{location}: {text}" for location, text in ordered[:_MAX_PROBLEMS]]
        if left := len(ordered) - len(lines) + self._more:
            lines.append(f"… and {left} more problems")
        return lines

    def raise_any(self) -> None:
        if self._found:
            raise ConfigError(self.lines())


def shown(text: str) -> str:
    """Text of the file as a message may quote it: short, printable, and nothing that looks like a secret."""
    if _SECRET_START.match(text) or _LONG_RUN.search(text):
        return "(not shown, it looks like a secret)"
    return quoted(text)


def quoted(text: str) -> str:
    """A name that the operator chose (a model, a group), short and printable."""
    text = text if len(text) <= 80 else text[:79] + "…"
    return "'" + "".join(char if char.isprintable() else "?" for char in text) + "'"


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?``, or nothing where nothing is near."""
    near = nearest(wrong, known)
    return f"; did you mean '{near}'?" if near else ""


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    near = difflib.get_close_matches(wrong[:80].lower(), sorted(known), n=1, cutoff=0.6)
    return near[0] if near else None
