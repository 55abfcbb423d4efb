"""Counters and histograms as plain dicts. Counting is cheap; Prometheus's objects are created at each scrape.

Only the event loop's thread counts, so no locks are needed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from pydantic_core import from_json, to_json

PREFIX = "audio_proxy_"

Labels = tuple[str | int, ...]
#: How the values of several processes are merged. Counts outlive their process; levels (sum, max) do not.
Kind = Literal["counter", "histogram", "sum", "max"]
COUNTS: tuple[Kind, ...] = ("counter", "histogram")


@dataclass(slots=True)
class MetricSnapshot:
    """A family at one moment. A row is one number; for a histogram, the count of each bucket and then the sum."""

    kind: Kind
    text: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]
    rows: dict[tuple[str, ...], list[float]]

    def add(self, other: MetricSnapshot) -> None:
        for values, theirs in other.rows.items():
            ours = self.rows.get(values)
            if ours is None or len(ours) != len(theirs):
                self.rows[values] = list(theirs)
            elif self.kind == "max":
                self.rows[values] = [max(ours[0], theirs[0])]
            else:
                self.rows[values] = [a + b for a, b in zip(ours, theirs, strict=True)]

    def family(self, name: str) -> Metric:
        """As an object of Prometheus's client."""
        if self.kind == "histogram":
            return self._histogram(name)
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(name, self.text, labels=self.labels)
        for values, (value,) in self.rows.items():
            family.add_metric(values, value)
        return family

    def _histogram(self, name: str) -> Metric:
        ends = [floatToGoString(bound) for bound in (*self.bounds, math.inf)]  # type: ignore[no-untyped-call]
        family = HistogramMetricFamily(name, self.text, labels=self.labels)
        for values, (*counts, total) in self.rows.items():
            family.add_metric(values, list(zip(ends, accumulate(counts), strict=True)), total)
        return family


#: All families of a process, by name.
Snapshot = dict[str, MetricSnapshot]


class Family(Protocol):
    """Something that is exposed under a name."""

    name: str

    def read(self) -> MetricSnapshot: ...


class Counter(defaultdict[Labels, float]):
    """Counts, by the values of the labels: ``counter["speech", "tts"] += 1``."""

    def __init__(self, name: str, text: str, *labels: str) -> None:
        super().__init__(float)
        self.name, self._text, self._labels = name, text, labels

    def read(self) -> MetricSnapshot:
        return MetricSnapshot(
            "counter", self._text, self._labels, (), {_texts(values): [count] for values, count in self.items()}
        )


class Observations:
    """How often a value fell into each bucket; ``bounds`` are the buckets' inclusive upper ends."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def row(self) -> list[float]:
        return [*self._counts, self._sum]


class Histogram(defaultdict[Labels, Observations]):
    """Observations, by the values of the labels: ``histogram["speech", "tts"].observe(0.2)``."""

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], *labels: str) -> None:
        super().__init__(lambda: Observations(bounds))
        self.name, self._text, self._labels, self._bounds = name, text, labels, bounds

    def read(self) -> MetricSnapshot:
        rows = {_texts(values): observations.row for values, observations in self.items()}
        return MetricSnapshot("histogram", self._text, self._labels, self._bounds, rows)


class Gauge:
    """A level that is read at each scrape: one number, or one for each combination of labels.

    ``kind``: whether the level of several processes is the sum of theirs, or the highest.
    """

    def __init__(
        self,
        name: str,
        text: str,
        value: Callable[[], float | Mapping[Labels, float]],
        *labels: str,
        kind: Kind = "sum",
    ) -> None:
        self.name, self._text, self._value, self._labels, self._kind = name, text, value, labels, kind

    def read(self) -> MetricSnapshot:
        level = self._value()
        rows = level if isinstance(level, Mapping) else {(): level}
        return MetricSnapshot(
            self._kind,
            self._text,
            self._labels,
            (),
            {_texts(values): [float(value)] for values, value in rows.items()},
        )


class CallbackCounter(Gauge):
    """A count that a callback returns at each scrape."""

    def __init__(self, name: str, text: str, value: Callable[[], float | Mapping[Labels, float]], *labels: str) -> None:
        super().__init__(name, text, value, *labels, kind="counter")


class Metrics:
    """All families of a process."""

    def __init__(self, *families: Family) -> None:
        self._families = {family.name: family for family in families}

    def register(self, *families: Family) -> None:
        """A family replaces an earlier one of the same name."""
        self._families.update({family.name: family for family in families})

    def read(self) -> Snapshot:
        return {name: family.read() for name, family in self._families.items()}

    def exposition(self) -> bytes:
        return exposition(self.read())


def merged(snapshots: Iterator[Snapshot]) -> Snapshot:
    """The snapshot of several processes together. Modifies the first one."""
    total = next(snapshots)
    for snapshot in snapshots:
        for name, metric in snapshot.items():
            if name in total:
                total[name].add(metric)
            else:
                total[name] = metric
    return total


def counts_of(snapshot: Snapshot) -> Snapshot:
    """Without the levels."""
    return {name: metric for name, metric in snapshot.items() if metric.kind in COUNTS}


def exposition(snapshot: Snapshot) -> bytes:
    """Prometheus's text format, version 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_SnapshotCollector(snapshot))
    return generate_latest(registry)


def encode(snapshot: Snapshot) -> bytes:
    return to_json(
        {
            name: [metric.kind, metric.text, metric.labels, metric.bounds, list(metric.rows.items())]
            for name, metric in snapshot.items()
        }
    )


def decode(text: bytes) -> Snapshot:
    """Raises ValueError for anything that this version of `encode` cannot have written."""
    document: dict[str, Any] = from_json(text)
    try:
        return {
            name: MetricSnapshot(
                kind, help_, tuple(labels), tuple(bounds), {tuple(values): row for values, row in rows}
            )
            for name, (kind, help_, labels, bounds, rows) in document.items()
        }
    except (AttributeError, TypeError) as error:
        raise ValueError("not a snapshot") from error


class _SnapshotCollector(Collector):
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        return (metric.family(PREFIX + name) for name, metric in self._snapshot.items())


def _texts(values: Labels) -> tuple[str, ...]:
    return tuple(map(str, values))
