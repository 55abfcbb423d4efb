"""Whichever worker is scraped answers for all; a count never goes back, a level of a dead worker goes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from proxy.metrics import Counter, Gauge, Histogram, Metrics, Snapshot, decode, encode
from proxy.telemetry.workers import DEAD_SECONDS, WorkerMetrics, WorkerSlot


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Worker:
    def __init__(self, folder: Path, number: int, clock: Clock) -> None:
        self.calls = Counter("calls", "Calls.", "model")
        self.seconds = Histogram("seconds", "Seconds.", (0.1, 1), "model")
        self.level = 1.0
        self.metrics = Metrics(
            self.calls,
            self.seconds,
            Gauge("open", "Open.", lambda: self.level),
            Gauge("lag", "Lag.", lambda: self.level, kind="max"),
        )
        self.shared = WorkerMetrics(WorkerSlot(folder, number), clock)

    def count(self, model: str = "tts") -> None:
        self.calls[model,] += 1
        self.seconds[model,].observe(0.5)

    def total(self) -> Snapshot:
        return self.shared.total(self.metrics.read())


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of(snapshot: Snapshot, name: str, *labels: str) -> float:
    """A number; of a histogram, how many were observed."""
    row = snapshot[name].rows[labels]
    return sum(row[:-1]) if snapshot[name].kind == "histogram" else row[0]


def test_any_worker_tells_the_sum(tmp_path: Path, clock: Clock) -> None:
    one, two = Worker(tmp_path, 0, clock), Worker(tmp_path, 1, clock)
    one.count()
    two.count()
    two.count("other")
    one.level, two.level = 3, 5
    two.shared.publish(two.metrics.read())
    seen = one.total()
    assert (of(seen, "calls", "tts"), of(seen, "calls", "other"), of(seen, "seconds", "tts")) == (2, 1, 2)
    assert (of(seen, "open"), of(seen, "lag")) == (8, 5)
    assert seen["seconds"].rows["tts",][-1] == pytest.approx(1.0)
    assert two.total().keys() == seen.keys()


def test_a_new_worker_counts_on_where_the_dead_one_was_last_seen(tmp_path: Path, clock: Clock) -> None:
    one, two = Worker(tmp_path, 0, clock), Worker(tmp_path, 1, clock)
    two.count()
    two.count()
    two.total()
    two.count()  # dies before anybody heard of this one
    successor = Worker(tmp_path, 1, clock)
    assert of(one.total(), "calls", "tts") == 2
    successor.count()
    assert of(successor.total(), "calls", "tts") == 3
    assert of(Worker(tmp_path, 1, clock).total(), "calls", "tts") == 3


def test_levels_of_a_silent_worker_go_and_its_counts_stay(tmp_path: Path, clock: Clock) -> None:
    one, two = Worker(tmp_path, 0, clock), Worker(tmp_path, 1, clock)
    two.count()
    two.level = 9
    two.total()
    assert of(one.total(), "open") == 10
    clock.now += DEAD_SECONDS
    assert (of(one.total(), "open"), of(one.total(), "lag"), of(one.total(), "calls", "tts")) == (1, 1, 1)


def test_no_count_ever_goes_back_whoever_is_asked_and_whoever_dies(tmp_path: Path, clock: Clock) -> None:
    chance = random.Random(7)
    workers = [Worker(tmp_path, number, clock) for number in range(3)]
    seen = 0.0
    for _ in range(400):
        number = chance.randrange(3)
        match chance.randrange(4):
            case 0:
                workers[number] = Worker(tmp_path, number, clock)
            case 1:
                workers[number].shared.publish(workers[number].metrics.read())
            case 2:
                workers[number].count()
            case _:
                now = of(total, "calls", "tts") if ("tts",) in (total := workers[number].total())["calls"].rows else 0
                assert now >= seen
                seen = now
        clock.now += chance.random()
    assert seen > 20


def test_what_is_written_is_what_is_read(tmp_path: Path, clock: Clock) -> None:
    worker = Worker(tmp_path, 0, clock)
    worker.count('a "b"\n\\ü')
    snapshot = worker.metrics.read()
    assert decode(encode(snapshot)) == snapshot


@pytest.mark.parametrize("rubbish", [b"", b"1234567", b"12345678", b"12345678[1]", b'12345678{"a": 1}', b"\xff" * 40])
def test_a_file_that_makes_no_sense_is_passed_over(tmp_path: Path, clock: Clock, rubbish: bytes) -> None:
    (tmp_path / "1").write_bytes(rubbish)
    worker = Worker(tmp_path, 0, clock)
    worker.count()
    assert of(worker.total(), "calls", "tts") == 1
    assert of(Worker(tmp_path, 1, clock).total(), "calls", "tts") == 1


def test_a_disk_that_takes_nothing_takes_no_metrics_away(tmp_path: Path, clock: Clock) -> None:
    worker = Worker(tmp_path / "gone", 0, clock)
    worker.count()
    assert of(worker.total(), "calls", "tts") == 1
    with pytest.raises(FileNotFoundError):
        worker.shared.publish(worker.metrics.read())
