"""Counts and logs calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import structlog

from proxy.domain.call import Call
from proxy.metrics import Counter, Family, Gauge, Histogram, Labels, Metrics, Observations, exposition
from proxy.telemetry.log import CallLog
from proxy.telemetry.workers import WorkerMetrics, WorkerSlot

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
OVERHEAD_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1)
GAP_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
#: Seconds after which a worker publishes its metrics again for the others to read.
INTERVAL = 1.0
#: The label of each kind of token, by the ledger's columns.
TOKENS: Mapping[str, str] = {
    "input_text_tokens": "input_text",
    "input_audio_tokens": "input_audio",
    "cached_text_tokens": "cached_text",
    "cached_audio_tokens": "cached_audio",
    "output_text_tokens": "output_text",
    "output_audio_tokens": "output_audio",
}


class Telemetry:
    """Logs and metrics of calls. ``slot``: this worker's place among the workers that merge their metrics.

    Labels are names from the configuration or from a fixed set. A value from a request never becomes a label.
    """

    def __init__(self, slot: WorkerSlot | None = None) -> None:
        self.log = structlog.get_logger()
        self._calls = CallLog()
        self._in_flight = 0
        labels = ("endpoint", "model")
        self._requests = Counter("requests", "Calls that ended.", *labels, "status")
        self._errors = Counter("errors", "Calls that failed, by kind.", *labels, "kind")
        self._first_byte = Histogram(
            "first_byte_seconds",
            "From the request to the first byte of the answer; for speech, the time to first audio.",
            SECONDS,
            *labels,
        )
        self._total = Histogram("duration_seconds", "From the request to the end of the answer.", SECONDS, *labels)
        self._overhead = Histogram(
            "overhead_seconds", "What the proxy added before the first byte.", OVERHEAD_SECONDS, *labels
        )
        self._gaps = Histogram("chunk_gap_seconds", "Between two chunks of an answer.", GAP_SECONDS, *labels)
        self._bytes_in = Counter("received_bytes", "Bytes of requests.", *labels)
        self._bytes_out = Counter("sent_bytes", "Bytes of answers.", *labels)
        self._characters = Counter("characters", "Characters of speech inputs.", *labels)
        self._audio_in = Counter("audio_in_seconds", "Seconds of input audio.", *labels)
        self._audio_out = Counter("audio_out_seconds", "Seconds of output audio.", *labels)
        self._tokens = Counter("tokens", "Tokens that vendors report.", *labels, "kind")
        self._cost = Counter("cost_usd", "Cost of calls in US dollars, where it is known.", *labels)
        self._attempts = Counter("attempts", "Attempts, by deployment.", "deployment", "error")
        self._retries = Counter("retries", "Further attempts of a call, without hedges.", *labels)
        self._fallbacks = Counter("fallbacks", "Calls that a fallback group served.", "model")
        self._hedges = Counter("hedges", "Calls that tried a second deployment before the first had failed.")
        self._cooldowns = Counter("cooldowns", "How often a deployment began to cool down.", "deployment", "why")
        self._verdicts = Counter("guardrail_verdicts", "Verdicts of guardrails.", "guardrail", "stage", "verdict")
        self._hedges[()] = 0.0
        self._metrics = Metrics(
            self._requests, self._errors, self._first_byte, self._total, self._overhead, self._gaps, self._bytes_in,
            self._bytes_out, self._characters, self._audio_in, self._audio_out, self._tokens, self._cost,
            self._attempts, self._retries, self._fallbacks, self._hedges, self._cooldowns, self._verdicts,
            Gauge("in_flight", "Calls in flight.", lambda: self._in_flight),
            Gauge("workers", "Worker processes.", lambda: 1),
        )  # fmt: skip
        self._workers = WorkerMetrics(slot) if slot is not None else None
        self._listeners: list[Callable[[Call, float], None]] = []

    def register(self, *families: Family) -> None:
        """Expose further families."""
        self._metrics.register(*families)

    def subscribe(self, listener: Callable[[Call, float], None]) -> None:
        """``listener`` gets each call that has ended, and when it ended, on the clock of `Call`."""
        self._listeners.append(listener)

    def cooldown(self, deployment: str, reason: str, seconds: float) -> None:
        """A deployment began to cool down."""
        self._cooldowns[deployment, reason] += 1
        self.log.warning("deployment is cooling down", deployment=deployment, why=reason, seconds=round(seconds, 1))

    def begin(self) -> None:
        self._in_flight += 1

    def gaps(self, call: Call) -> Observations:
        """The histogram row for the seconds between two chunks of the call's answer."""
        return self._gaps[call.endpoint, call.group]

    def end(self, call: Call) -> None:
        """Call it once for each call that began, however it ended."""
        ended = perf_counter()
        self._in_flight -= 1
        self._count(call, ended)
        self._calls.write(call, ended)
        for listener in self._listeners:
            listener(call, ended)

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
        if call.characters:
            self._characters[labels] += call.characters
        if overhead is not None:
            self._overhead[labels].observe(overhead)
        if call.attempts:
            self._count_attempts(call, labels)
        for result in call.guardrails:
            self._verdicts[result.guardrail, result.stage, result.verdict] += 1

    def _count_attempts(self, call: Call, labels: Labels) -> None:
        for attempt in call.attempts:
            self._attempts[attempt.deployment, attempt.error] += 1
        further = len(call.attempts) - 1 - call.hedged
        if further > 0:
            self._retries[labels] += further
        if call.fallback:
            self._fallbacks[call.fallback,] += 1
        if call.hedged:
            self._hedges[()] += 1
        if call.row is not None:
            self._count_usage(call.row, labels)
        if call.cost is not None:
            self._cost[labels] += float(call.cost)

    def _count_usage(self, row: Mapping[str, Any], labels: Labels) -> None:
        """The usage of all attempts, from the ledger's row."""
        if seconds := row.get("audio_seconds_in"):
            self._audio_in[labels] += seconds
        if seconds := row.get("audio_seconds_out"):
            self._audio_out[labels] += seconds
        for column, kind in TOKENS.items():
            if count := row.get(column):
                self._tokens[(*labels, kind)] += count

    # -- for scrapers --------------------------------------------------------------------------------------------------

    async def exposition(self) -> bytes:
        """Prometheus's text format, version 0.0.4, for this process or for all workers."""
        live = self._metrics.read()
        total = live if self._workers is None else self._workers.total(live)
        # It takes about 10 ms, during which no audio would be sent.
        return await asyncio.to_thread(exposition, total)

    async def run(self) -> None:
        """Publish this worker's metrics regularly, until cancelled."""
        while self._workers is not None:
            self._publish(self._workers)
            await asyncio.sleep(INTERVAL)

    def _publish(self, workers: WorkerMetrics) -> None:
        try:
            workers.publish(self._metrics.read())
        except OSError as error:
            self.log.error("metrics cannot be shared with the other workers", reason=str(error))
