"""What operators see of the calls: one structured log line each, and Prometheus metrics. Never content, never a key."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from time import perf_counter, time_ns
from typing import Any, TextIO

import structlog
from pydantic_core import to_json

from proxy.metrics import Counter, Gauge, Histogram, Metrics
from proxy.records import Call

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
OVERHEAD_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)


def configure_logging(style: str, level: str) -> None:
    """``json`` or ``console`` to stderr; ``auto`` is console on a terminal. The logs of libraries go the same way."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer(serializer=_json)
    )
    shared: list[structlog.types.Processor] = [
        _stamper(),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
    ]
    lines = Lines(sys.stderr)
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
        # A lone surrogate in a vendor's message; a log line never fails.
        return json.dumps(event, default=repr)


def _stamper() -> structlog.types.Processor:
    """The time in ISO 8601, in UTC; all but its fraction is rendered once a second."""
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


class Lines:
    """Where structlog's lines go: those of one turn of the event loop travel in one write."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._waiting: list[str] = []

    def msg(self, line: str) -> None:
        """A line from where no event loop runs is written at once."""
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


class Telemetry:
    """Counts and logs calls. ``streams`` tells how many upstream streams are open."""

    def __init__(self, streams: Callable[[], int] = lambda: 0) -> None:
        self.log = structlog.get_logger()
        configured = structlog.get_config()
        self._processors, self._lines = configured["processors"], configured["logger_factory"]()
        self._quiet = not self.log.is_enabled_for(logging.INFO)
        self._under_way = 0
        labels = ("endpoint", "model")
        self._requests = Counter("requests", "Calls that ended.", *labels, "status")
        self._errors = Counter("errors", "Calls that failed, by kind.", *labels, "kind")
        self._first_byte = Histogram(
            "first_byte_seconds", "From the request to the answer's first byte.", SECONDS, *labels
        )
        self._total = Histogram("duration_seconds", "From the request to the end of the answer.", SECONDS, *labels)
        self._overhead = Histogram(
            "overhead_seconds", "What the proxy added before the first byte.", OVERHEAD_SECONDS, *labels
        )
        self._bytes_in = Counter("received_bytes", "Bytes of requests.", *labels)
        self._bytes_out = Counter("sent_bytes", "Bytes of answers.", *labels)
        self._attempts = Counter("attempts", "Deployments asked.", "deployment", "error")
        self._fallbacks = Counter("fallbacks", "Calls served by another group.", "model")
        self._hedges = Counter("hedges", "Calls that asked a second deployment.")
        self._rests = Counter("rests", "Times that a deployment was taken out.", "deployment", "why")
        self._hedges[()] = 0.0
        self._metrics = Metrics(
            self._requests, self._errors, self._first_byte, self._total, self._overhead, self._bytes_in,
            self._bytes_out, self._attempts, self._fallbacks, self._hedges, self._rests,
            Gauge("in_flight", "Calls under way.", lambda: self._under_way),
            Gauge("upstream_streams", "Upstream requests under way.", streams),
        )  # fmt: skip

    def rests(self, deployment: str, why: str, seconds: float) -> None:
        """A deployment was taken out for a while."""
        self._rests[deployment, why] += 1
        self.log.warning("deployment rests", deployment=deployment, why=why, seconds=round(seconds, 1))

    def begin(self) -> None:
        self._under_way += 1

    def end(self, call: Call) -> None:
        """Once for each call that began, however it ended."""
        ended = perf_counter()
        self._under_way -= 1
        self._count(call, ended)
        self._line(call, ended)

    def _count(self, call: Call, ended: float) -> None:
        labels, overhead = (call.endpoint, call.group), call.overhead
        self._requests[(*labels, call.status)] += 1
        if call.error:
            self._errors[(*labels, call.error)] += 1
        elif call.sent is not None:
            self._first_byte[labels].observe(call.sent - call.started)
        self._total[labels].observe(ended - call.started)
        self._bytes_in[labels] += call.bytes_in
        self._bytes_out[labels] += call.bytes_out
        if overhead is not None:
            self._overhead[labels].observe(overhead)
        for attempt in call.attempts:
            self._attempts[attempt.deployment, attempt.error] += 1
        if call.fallback:
            self._fallbacks[call.fallback,] += 1
        if call.hedged:
            self._hedges[()] += 1

    def _line(self, call: Call, ended: float) -> None:
        level = "info" if call.status < 500 else "warning"
        if level == "info" and self._quiet:
            return
        won = call.won or (call.attempts[-1] if call.attempts else None)
        event: structlog.types.EventDict = {
            "request_id": call.request_id,
            "endpoint": call.endpoint,
            "model": call.group,
            "deployment": won.deployment if won else None,
            "vendor": won.vendor if won else None,
            "status": call.status,
            "error": call.error or None,
            "detail": call.detail or None,
            "attempts": len(call.attempts),
            "fallback": call.fallback or None,
            "bytes_in": call.bytes_in,
            "bytes_out": call.bytes_out,
            "characters": call.characters,
            "first_byte_ms": _ms(call.sent, call.started),
            "upstream_ms": _ms(won.first_byte, won.asked) if won else None,
            "total_ms": _ms(ended, call.started),
            "upstream_id": won.upstream_id if won else None,
            "event": "call",
        }
        if call.guardrails:
            event["guardrails"] = [asdict(ruling) for ruling in call.guardrails]
        # What structlog's loggers do, but for their contexts, which cost more than the rest of the line.
        line: Any = event
        for process in self._processors:
            line = process(self.log, level, line)
        self._lines.msg(line)

    def exposition(self) -> bytes:
        """Prometheus's text format, version 0.0.4."""
        return self._metrics.exposition()


def _ms(end: float | None, start: float | None) -> float | None:
    return None if end is None or start is None else round((end - start) * 1000, 2)
