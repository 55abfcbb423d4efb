"""Counters and histograms that cost a dict entry to count with; Prometheus's objects are made when somebody scrapes.

Only the event loop's thread counts, so there is nothing to lock.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

PREFIX = "audio_proxy_"

Labels = tuple[str | int, ...]


class Counter(defaultdict[Labels, float]):
    """Counts by the values of its labels: ``counter["speech", "tts"] += 1``."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        super().__init__(float)
        self._family = (PREFIX + name, text, labels)

    def collect(self) -> Metric:
        name, text, labels = self._family
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in self.items():
            family.add_metric([str(value) for value in values], count)
        return family


class Observations:
    """How often a value fell into each bucket; ``bounds`` are the buckets' upper ends, themselves included."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def add_to(self, family: HistogramMetricFamily, labels: list[str]) -> None:
        buckets, below = [], 0
        for bound, count in zip((*self._bounds, math.inf), self._counts, strict=True):
            below += count
            buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]
        family.add_metric(labels, buckets, self._sum)


class Histogram(defaultdict[Labels, Observations]):
    """Observes by the values of its labels: ``histogram["speech", "tts"].observe(0.2)``."""

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> None:
        super().__init__(lambda: Observations(bounds))
        self._family = (PREFIX + name, text, labels)

    def collect(self) -> Metric:
        name, text, labels = self._family
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, observations in self.items():
            observations.add_to(family, [str(value) for value in values])
        return family


class Gauge:
    """A value that is looked up at each scrape."""

    def __init__(self, name: str, text: str, value: Callable[[], float]) -> None:
        self._family = (PREFIX + name, text)
        self._value = value

    def collect(self) -> Metric:
        name, text = self._family
        return GaugeMetricFamily(name, text, value=self._value())


class Metrics(Collector):
    """All of them, as one collector of Prometheus's client."""

    def __init__(self, *families: Counter | Histogram | Gauge) -> None:
        self._families = families
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def collect(self) -> Iterator[Metric]:
        return (family.collect() for family in self._families)

    def exposition(self) -> bytes:
        """Prometheus's text format, version 0.0.4."""
        return generate_latest(self._registry)
