"""What is counted in plain numbers reads as if Prometheus's own objects had counted it."""

from __future__ import annotations

import prometheus_client
from prometheus_client.parser import text_string_to_metric_families

from proxy.metrics import Counter, Gauge, Histogram, Metrics

BOUNDS = (0.01, 0.5, 1, 10)
SEEN = (0.0, 0.01, 0.011, 0.5, 0.7, 1, 9.99, 10, 11, 1e9)


def samples(exposition: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_the_same_as_the_clients_own() -> None:
    registry = prometheus_client.CollectorRegistry()
    theirs = prometheus_client.Counter("audio_proxy_calls", "Calls.", ["model", "status"], registry=registry)
    spread = prometheus_client.Histogram(
        "audio_proxy_seconds", "Seconds.", ["model"], buckets=BOUNDS, registry=registry
    )
    level = prometheus_client.Gauge("audio_proxy_open", "Open.", registry=registry)
    calls = Counter("calls", "Calls.", "model", "status")
    seconds = Histogram("seconds", "Seconds.", BOUNDS, "model")
    for value in SEEN:
        for model in ("tts", 'a "b"\n\\'):
            theirs.labels(model, 200).inc()
            calls[model, 200] += 1
            spread.labels(model).observe(value)
            seconds[model,].observe(value)
    level.set(7)
    ours = Metrics(calls, seconds, Gauge("open", "Open.", lambda: 7))
    assert samples(ours.exposition()) == samples(prometheus_client.generate_latest(registry))


def test_a_gauge_is_looked_up_at_each_scrape() -> None:
    level = 1
    metrics = Metrics(Gauge("open", "Open.", lambda: level))
    assert b"audio_proxy_open 1.0" in metrics.exposition()
    level = 2
    assert b"audio_proxy_open 2.0" in metrics.exposition()


def test_looking_counts_nothing() -> None:
    metrics = Metrics(Counter("calls", "Calls.", "model"), Histogram("seconds", "Seconds.", BOUNDS, "model"))
    assert samples(metrics.exposition()) == samples(metrics.exposition()) == {}
