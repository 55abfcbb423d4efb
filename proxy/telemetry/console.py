"""The log for people: one short line for each call or event, in color on a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, TextIO

import structlog

_RED, _GREEN, _YELLOW, _DIM = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m"
_RESET = "\x1b[0m"
_COLORS = {"warning": _YELLOW, "error": _RED, "critical": _RED}
#: Fields of a call that its short line has, or that say the same.
_IN_LINE = frozenset({
    "event", "level", "timestamp", "status", "endpoint", "model", "deployment", "vendor", "total_ms", "first_byte_ms",
    "cost", "key", "key_alias", "request_id", "error", "message", "detail", "fallback",
})  # fmt: skip


def has_colors(file: TextIO, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether ``file`` is a terminal with colors, and nobody asked for none (https://no-color.org)."""
    return file.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


class ConsoleRenderer:
    """A processor that renders events. ``details``: lines of calls have all fields."""

    def __init__(self, *, colors: bool, details: bool) -> None:
        self._colors = colors
        self._details = details
        self._second, self._clock = -1, ""

    def __call__(self, _: Any, __: str, event: structlog.types.EventDict) -> str:
        if event["event"] == "call":
            return self._call(event)
        return self._refusal(event) if event["event"] == "refused" else self._event(event)

    def _call(self, event: Mapping[str, Any]) -> str:
        """Such as ``12:34:56 200 speech tts → tts/openai/tts-1 1.24 s, first byte 0.31 s, $0.0018 req_… (reader)``."""
        status, error = event["status"], event["error"]
        color = _RED if status >= 500 else _YELLOW if error else _GREEN
        model = event["model"] or "-"
        if event["fallback"]:
            model = f"{model} (fallback)"
        if event["deployment"]:
            model = f"{model} → {event['deployment']}"
        first = event["first_byte_ms"]
        spent = f"{event['total_ms'] / 1000:.2f} s" + (
            f", first byte {first / 1000:.2f} s" if first is not None else ""
        )
        if event["cost"] is not None and (event["cost"] or not error):
            spent = f"{spent}, ${_amount(event['cost'])}"
        caller = event["key_alias"] or event["key"]
        who = event["request_id"] + (f" ({_printable(caller)})" if caller else "")
        line = f"{self._time()} {self._painted(color, str(status))} {event['endpoint']} {model} {spent} "
        line += self._painted(_DIM, who)
        if error:
            line += f" {self._painted(color, error)}{_explained(event)}"
        if self._details:
            line += _fields({name: value for name, value in event.items() if name not in _IN_LINE})
        return line

    def _refusal(self, event: Mapping[str, Any]) -> str:
        """A request that is no call. Such as ``12:34:56 404 GET /v1/model req_… not_found: Unknown request URL``."""
        line = f"{self._time()} {self._painted(_YELLOW, str(event['status']))} {event['method']} "
        line += f"{_printable(event['path'])} {self._painted(_DIM, event['request_id'])} "
        return f"{line}{self._painted(_YELLOW, event['error'])}: {event['message']}"

    def _event(self, event: structlog.types.EventDict) -> str:
        """Such as ``12:34:56 warning: deployment is cooling down deployment=a why=upstream_timeout``."""
        level, text = event.pop("level", "info"), str(event.pop("event", ""))
        event.pop("timestamp", None)
        trace = event.pop("exception", None)
        problems = event.pop("problems", ())
        prefix = "" if level in ("info", "debug") else self._painted(_COLORS.get(level, ""), f"{level}: ")
        lines = [f"{self._time()} {prefix}{_printable(text)}{_fields(event)}"]
        line = "\n  ".join([*lines, *(_printable(str(problem)) for problem in problems)])
        return line if trace is None else f"{line}\n{trace}"

    def _painted(self, color: str, text: str) -> str:
        return f"{color}{text}{_RESET}" if self._colors and color else text

    def _time(self) -> str:
        """In local time; formatted once per second."""
        now = int(time.time())
        if now != self._second:
            self._second, self._clock = now, time.strftime("%H:%M:%S", time.localtime(now))
        return self._clock


def _explained(event: Mapping[str, Any]) -> str:
    message, detail = event["message"], event["detail"]
    text = f": {message}" if message else ""
    return f"{text} [{detail}]" if detail and detail != message else text


def _amount(dollars: float) -> str:
    return f"{dollars:.8f}".rstrip("0").rstrip(".")


def _fields(event: Mapping[str, Any]) -> str:
    """Those that are known."""
    return "".join(f" {name}={_value(value)}" for name, value in event.items() if value is not None and value != "")


def _value(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        value = ",".join(value)
    text = _printable(str(value))
    return f'"{text}"' if " " in text and isinstance(value, str) else text


def _printable(text: str) -> str:
    """On one line, and without characters that could move the cursor or change colors."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
