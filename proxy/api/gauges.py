"""Metrics that are read at each scrape: of the process, of the deployments and of the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from proxy.accounting.ledger import Ledger
from proxy.attempts.health import DeploymentHealth, HealthTracker
from proxy.matching import BoundDeployment
from proxy.metrics import CallbackCounter, Family, Gauge, Labels
from proxy.storage.spool import SpoolRoom


def of_process(streams: Callable[[], int], room: SpoolRoom) -> Iterator[Family]:
    """``streams`` returns the number of open upstream requests."""
    yield Gauge("upstream_streams", "Upstream requests in flight.", streams)
    yield Gauge("spool_bytes", "Bytes of uploads in transit, in memory and on disk.", lambda: room.used)
    yield Gauge("spool_limit_bytes", "Maximum bytes of uploads in transit.", lambda: room.limit)


def of_deployments(groups: Mapping[str, Sequence[BoundDeployment]], health: HealthTracker) -> Iterator[Family]:
    """They replace those of an earlier configuration."""
    names = [(bound.deployment.id, group) for group, deployments in groups.items() for bound in deployments]

    def each(value: Callable[[str, DeploymentHealth], float]) -> Callable[[], Mapping[Labels, float]]:
        return lambda: {(name, group): value(name, health[name]) for name, group in names}

    labels = ("deployment", "model")
    yield Gauge(
        "deployment_resting",
        "1 if it is cooling down after failures in any of the workers; 0 if it is healthy.",
        each(lambda name, _: health.is_cooling_down(name)),
        *labels,
        kind="max",
    )
    yield Gauge("deployment_in_flight", "Calls that it is serving.", each(lambda _, state: state.in_flight), *labels)


def of_ledger(ledger: Ledger | None) -> Iterator[Family]:
    if ledger is None:
        return
    yield Gauge("ledger_lag_seconds", "How long the oldest row waits for the database.", lambda: ledger.lag, kind="max")
    yield Gauge("ledger_waiting_rows", "Rows that are not in the database yet.", lambda: ledger.waiting)
    yield Gauge("ledger_journal_bytes", "Bytes of the journal on the disk.", lambda: ledger.size)
    yield CallbackCounter("ledger_lost_rows", "Rows that could not be stored.", lambda: ledger.lost)
