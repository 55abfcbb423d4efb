"""The log: one structured line per call, and other events. Never content or keys."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from datetime import UTC, datetime
from time import time_ns
from typing import Any, TextIO

import structlog
from pydantic_core import to_json

from proxy.domain.call import Call, milliseconds
from proxy.domain.guardrails import GuardrailResult
from proxy.telemetry.console import ConsoleRenderer, has_colors

#: Characters of a key's hash that identify it in the log.
KEY_CHARACTERS = 8
#: Fields of the ledger's rows that the line of a call also has.
USAGE_FIELDS = (
    "audio_seconds_in",
    "audio_seconds_out",
    "input_text_tokens",
    "input_audio_tokens",
    "output_text_tokens",
    "output_audio_tokens",
)


def configure_logging(style: str, level: str) -> None:
    """Log ``json`` or ``console`` to stderr; ``auto`` is console on a terminal. Libraries log the same way."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.types.Processor = (
        ConsoleRenderer(colors=has_colors(sys.stderr), details=level == "debug")
        if console
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    shared: list[structlog.types.Processor] = [
        _stamper(),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
    ]
    lines = LineWriter(sys.stderr)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=lambda *_: lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def _json(event: Any, **_: Any) -> str:
    try:
        return to_json(event, fallback=repr).decode()
    except ValueError:
        # A lone surrogate in a vendor's message: logging must not fail.
        return json.dumps(event, default=repr)


def _stamper() -> structlog.types.Processor:
    """Adds the time, in ISO 8601 and UTC. Everything but the fraction is formatted once per second."""
    second, text = -1, ""

    def stamp(_: Any, __: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        nonlocal second, text
        microseconds = time_ns() // 1000
        now, fraction = divmod(microseconds, 1_000_000)
        if now != second:
            second, text = now, datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        event["timestamp"] = f"{text}.{fraction:06d}Z"
        return event

    return stamp


class LineWriter:
    """Writes structlog's lines. All lines of one iteration of the event loop are one write."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []

    def msg(self, line: str) -> None:
        """Without a running event loop, a line is written at once."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write([line])
            return
        if not self._waiting:
            loop.call_soon(self._write_waiting)
        self._waiting.append(line)

    debug = info = warning = error = critical = msg

    def _write_waiting(self) -> None:
        lines, self._waiting = self._waiting, []
        self._write(lines)

    def _write(self, lines: list[str]) -> None:
        self._file.write("\n".join(lines) + "\n")
        self._file.flush()


class CallLog:
    """Writes the lines of calls."""

    def __init__(self) -> None:
        self._logger = structlog.get_logger()
        configured = structlog.get_config()
        #: The first processor adds the time and the last one renders; the others add levels and exceptions.
        self._stamp, *_, self._render = configured["processors"]
        self._lines = configured["logger_factory"]()
        self._quiet = not self._logger.is_enabled_for(logging.INFO)

    def write(self, call: Call, ended: float) -> None:
        level = "info" if call.status < 500 else "warning"
        if level == "info" and self._quiet:
            return
        # As structlog's loggers do it, but without contexts, which cost more than the rest of the line.
        event = event_of(call, ended)
        event["level"] = level
        self._stamp(self._logger, level, event)
        self._lines.msg(str(self._render(self._logger, level, event)))


def event_of(call: Call, ended: float) -> dict[str, Any]:
    """The fields of a call's line; those that are not known or do not apply are null."""
    won = call.won or (call.attempts[-1] if call.attempts else None)
    caller, row = call.caller, call.row or {}
    event: dict[str, Any] = {
        "request_id": call.request_id,
        "traceparent": call.traceparent or None,
        "endpoint": call.endpoint,
        "key": caller.key_id[:KEY_CHARACTERS] if caller.key_id else None,
        "key_alias": caller.alias,
        "user": caller.user_id,
        "team": caller.team_id,
        "end_user": call.end_user,
        "model": call.group,
        "deployment": won.deployment if won else None,
        "vendor": won.vendor if won else None,
        "status": call.status,
        "error": call.error or None,
        "message": call.message or None,
        "detail": call.detail or None,
        "attempts": len(call.attempts),
        "fallback": call.fallback or None,
        "bytes_in": call.bytes_in,
        "bytes_out": call.bytes_out,
        "characters": call.characters,
        "cost": None if call.cost is None else float(call.cost),
        "cost_basis": call.cost_basis or None,
        "first_byte_ms": _ms(call.sent, call.started),
        "upstream_ms": _ms(won.first_byte, won.started) if won else None,
        "total_ms": _ms(ended, call.started),
        "upstream_id": won.upstream_id if won else None,
        "event": "call",
    }
    for name in USAGE_FIELDS:
        if (count := row.get(name)) is not None:
            event[name] = count
    if call.tags:
        event["tags"] = call.tags
    if call.guardrails:
        event["guardrails"] = [_document(result) for result in call.guardrails]
    return event


def _document(result: GuardrailResult) -> dict[str, Any]:
    return {
        "guardrail": result.guardrail,
        "stage": result.stage,
        "verdict": result.verdict,
        "milliseconds": result.milliseconds,
        "found": result.found,
    }


def _ms(end: float | None, start: float | None) -> float | None:
    return None if end is None or start is None else milliseconds(end - start)
