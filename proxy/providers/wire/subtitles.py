"""Subtitles in either format, as servers write them, read into segments."""

from __future__ import annotations

import re
from typing import Any, Final, Literal

_TIME: Final = r"(?:(\d{1,5}):)?(\d{1,2}):(\d{1,2})(?:[.,](\d{1,9}))?"
_CUE: Final = re.compile(rf"^[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}[^\n]*$", re.MULTILINE)
_CLOCK: Final = re.compile(_TIME)
_EMPTY_LINE: Final = re.compile(r"\n[ \t]*\n")


def kind(text: str) -> Literal["srt", "vtt"] | None:
    """None if it is neither. WebVTT without its first line counts as srt, which readers of srt accept."""
    text = text.lstrip("\ufeff \t\r\n")
    if text.startswith("WEBVTT"):
        return "vtt"
    first = "\n".join(text.splitlines()[:2])
    return "srt" if _CUE.search(first) else None


def segments(text: str) -> list[dict[str, Any]]:
    """``{"start", "end", "text"}`` of each cue, in seconds. Numbers, settings, notes and styles are left out."""
    rows = []
    for block in _EMPTY_LINE.split("\n".join(text.splitlines())):
        cue = _CUE.search(block)
        if cue is not None:
            start, end = _seconds(cue.groups()[:4]), _seconds(cue.groups()[4:])
            rows.append({"start": start, "end": end, "text": block[cue.end() :].strip()})
    return rows


def clock(text: str) -> float | None:
    """Seconds of a time such as ``00:00:01.500``; None for anything else."""
    match = _CLOCK.fullmatch(text.strip())
    return _seconds(match.groups()) if match is not None else None


def _seconds(parts: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return int(hours or 0) * 3600 + int(minutes or 0) * 60 + int(seconds or 0) + float(f"0.{fraction or 0}")
