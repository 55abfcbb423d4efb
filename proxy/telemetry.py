"""What operators see of the calls: one structured log line each, and Prometheus metrics. Never content, never a key."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from functools import cache
from time import perf_counter
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic_core import to_json

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
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
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


class Series:
    """The metrics of one endpoint and model, looked up once: labels cost more than counting."""

    def __init__(self, metrics: Telemetry, endpoint: str, model: str) -> None:
        labels = (endpoint, model)
        self.total = metrics.total.labels(*labels)
        self.first_byte = metrics.first_byte.labels(*labels)
        self.overhead = metrics.overhead.labels(*labels)
        self.bytes_in = metrics.bytes_in.labels(*labels)
        self.bytes_out = metrics.bytes_out.labels(*labels)
        self.requests = cache(lambda status: metrics.requests.labels(*labels, status))
        self.errors = cache(lambda kind: metrics.errors.labels(*labels, kind))


class Telemetry:
    """Counts and logs calls. ``streams`` tells how many upstream streams are open."""

    def __init__(self, streams: Callable[[], int] = lambda: 0) -> None:
        self.log = structlog.get_logger()
        self.registry = CollectorRegistry()
        labels = ("endpoint", "model")
        self.requests = self._counter("requests", "Calls that ended.", *labels, "status")
        self.errors = self._counter("errors", "Calls that failed, by kind.", *labels, "kind")
        self.first_byte = self._histogram("first_byte_seconds", "From the request to the answer's first byte.", labels)
        self.total = self._histogram("duration_seconds", "From the request to the end of the answer.", labels)
        self.overhead = self._histogram(
            "overhead_seconds", "What the proxy added before the first byte.", labels, OVERHEAD_SECONDS
        )
        self.bytes_in = self._counter("received_bytes", "Bytes of requests.", *labels)
        self.bytes_out = self._counter("sent_bytes", "Bytes of answers.", *labels)
        attempts = self._counter("attempts", "Deployments asked.", "deployment", "error")
        self._attempts = cache(lambda deployment, error: attempts.labels(deployment, error))
        self._fallbacks = self._counter("fallbacks", "Calls served by another group.", "model")
        self._hedges = self._counter("hedges", "Calls that asked a second deployment.")
        self._rests = self._counter("rests", "Times that a deployment was taken out.", "deployment", "why")
        self._in_flight = Gauge("audio_proxy_in_flight", "Calls under way.", registry=self.registry)
        upstream = Gauge("audio_proxy_upstream_streams", "Upstream requests under way.", registry=self.registry)
        upstream.set_function(streams)
        self._series = cache(lambda endpoint, model: Series(self, endpoint, model))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"audio_proxy_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...] = SECONDS
    ) -> Histogram:
        return Histogram(f"audio_proxy_{name}", text, labels, buckets=buckets, registry=self.registry)

    def rests(self, deployment: str, why: str, seconds: float) -> None:
        """A deployment was taken out for a while."""
        self._rests.labels(deployment, why).inc()
        self.log.warning("deployment rests", deployment=deployment, why=why, seconds=round(seconds, 1))

    def begin(self) -> None:
        self._in_flight.inc()

    def end(self, call: Call) -> None:
        """Once for each call that began, however it ended."""
        ended = perf_counter()
        self._in_flight.dec()
        series, overhead = self._series(call.endpoint, call.group), call.overhead
        series.requests(call.status).inc()
        if call.error:
            series.errors(call.error).inc()
        elif call.sent is not None:
            series.first_byte.observe(call.sent - call.started)
        series.total.observe(ended - call.started)
        series.bytes_in.inc(call.bytes_in)
        series.bytes_out.inc(call.bytes_out)
        if overhead is not None:
            series.overhead.observe(overhead)
        for attempt in call.attempts:
            self._attempts(attempt.deployment, attempt.error).inc()
        if call.fallback:
            self._fallbacks.labels(call.fallback).inc()
        if call.hedged:
            self._hedges.inc()
        self._line(call, ended)

    def _line(self, call: Call, ended: float) -> None:
        won = call.won or (call.attempts[-1] if call.attempts else None)
        write = self.log.info if call.status < 500 else self.log.warning
        write(
            "call",
            request_id=call.request_id,
            endpoint=call.endpoint,
            model=call.group,
            deployment=won.deployment if won else None,
            vendor=won.vendor if won else None,
            status=call.status,
            error=call.error or None,
            detail=call.detail or None,
            attempts=len(call.attempts),
            fallback=call.fallback or None,
            bytes_in=call.bytes_in,
            bytes_out=call.bytes_out,
            characters=call.characters,
            first_byte_ms=_ms(call.sent, call.started),
            upstream_ms=_ms(won.first_byte, won.asked) if won else None,
            total_ms=_ms(ended, call.started),
            upstream_id=won.upstream_id if won else None,
        )

    def exposition(self) -> bytes:
        """Prometheus's text format, version 0.0.4."""
        return generate_latest(self.registry)


def _ms(end: float | None, start: float | None) -> float | None:
    return None if end is None or start is None else round((end - start) * 1000, 2)
