"""The way to a sink: batches, further attempts, the bound, the end. Nobody ever waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any

import pytest

from proxy.domain.call import Call
from proxy.sinks import feed as feeds
from proxy.sinks.base import Record, Undelivered
from proxy.sinks.feed import ATTEMPTS, Counters, Feed
from proxy.sinks.webhook import WebhookSinkSettings


class Scripted:
    """Fails as told, then takes everything."""

    def __init__(self, *failures: Exception, hang: bool = False) -> None:
        self._failures = list(failures)
        self._hang = hang
        self.tried: list[list[int]] = []
        self.taken: list[int] = []
        self.closed = 0

    async def send(self, records: Sequence[Record]) -> None:
        numbers = [record.row["number"] for record in records]
        self.tried.append(numbers)
        if self._hang:
            await asyncio.Event().wait()
        if self._failures:
            raise self._failures.pop(0)
        self.taken += numbers

    async def aclose(self) -> None:
        self.closed += 1


def record(number: int) -> Record:
    return Record(Call("req", "speech", 0.0), {"number": number}, 0.0, 0.0)


def run(
    sink: Scripted, numbers: int, then: Callable[[Feed], Any] | None = None, **settings: Any
) -> tuple[Counters, Feed]:
    """Feed so many records, wait until the queue is empty (or for ``then``), and close."""
    counters = Counters()
    chosen = WebhookSinkSettings(name="x", **{"flush_interval": 0.01, **settings})

    async def main() -> Feed:
        feed = Feed(chosen, sink, counters, first_pause=0.001)
        for number in range(numbers):
            feed.put(record(number))
        if then is not None:
            await then(feed)
        await feed.aclose()
        return feed

    return counters, asyncio.run(main())


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("waited in vain")


async def settle(feed: Feed) -> None:
    await until(lambda: not feed.waiting)
    await asyncio.sleep(0.05)


def test_all_arrive_in_order_and_in_batches() -> None:
    sink = Scripted()
    counters, _ = run(sink, 25, settle, batch_size=10)
    assert sink.taken == list(range(25))
    assert [len(batch) for batch in sink.tried] == [10, 10, 5]
    assert (counters.sent["x",], counters.dropped["x",], sink.closed) == (25, 0, 1)


def test_a_lonely_record_waits_no_longer_than_the_interval() -> None:
    sink = Scripted()

    async def one(feed: Feed) -> None:
        await settle(feed)
        assert sink.taken == [0]

    run(sink, 1, one, batch_size=100)


def test_a_failure_is_tried_again_with_the_same_batch() -> None:
    sink = Scripted(Undelivered("status 500"), Undelivered("status 503"))
    counters, _ = run(sink, 3, settle, batch_size=10)
    assert sink.tried == [[0, 1, 2]] * 3
    assert (counters.sent["x",], counters.dropped["x",], counters.failures["x",]) == (3, 0, 2)


def test_a_refusal_is_not_tried_again_and_does_not_stop_the_next() -> None:
    sink = Scripted(Undelivered("status 400", again=False))
    counters, _ = run(sink, 4, settle, batch_size=2)
    assert sink.tried == [[0, 1], [2, 3]]
    assert (counters.sent["x",], counters.dropped["x",]) == (2, 2)


@pytest.mark.parametrize("failure", [Undelivered("status 500"), Undelivered("no answer")])
def test_it_gives_up_in_the_end(failure: Exception) -> None:
    sink = Scripted(*[failure] * ATTEMPTS)

    async def given_up(feed: Feed) -> None:
        await until(lambda: len(sink.tried) > ATTEMPTS)
        await settle(feed)

    counters, _ = run(sink, 4, given_up, batch_size=2)
    assert sink.taken == [2, 3]
    assert (counters.sent["x",], counters.dropped["x",], counters.failures["x",]) == (2, 2, ATTEMPTS)


def test_a_mistake_in_a_sink_loses_its_batch_only() -> None:
    sink = Scripted(ZeroDivisionError("canary"))
    counters, _ = run(sink, 4, settle, batch_size=2)
    assert (sink.taken, counters.dropped["x",]) == ([2, 3], 2)


def test_a_full_queue_drops_and_counts_and_never_waits() -> None:
    sink = Scripted(hang=True)
    count = 1000

    async def full(feed: Feed) -> None:
        await asyncio.sleep(0.05)
        for number in range(count):
            feed.put(record(number))
        assert feed.waiting == 50

    began = perf_counter()
    feeds_drain, feeds.DRAIN_SECONDS = feeds.DRAIN_SECONDS, 0.05
    try:
        counters, feed = run(sink, 10, full, batch_size=10, queue_size=50)
    finally:
        feeds.DRAIN_SECONDS = feeds_drain
    assert perf_counter() - began < 3
    assert feed.waiting == 0
    assert counters.dropped["x",] == count + 10
    assert counters.sent["x",] == 0


def test_the_end_sends_what_waits() -> None:
    sink = Scripted()
    counters, _ = run(sink, 30, batch_size=10, flush_interval=3600)
    assert sink.taken == list(range(30))
    assert counters.sent["x",] == 30


def test_the_end_tries_once_each_and_pauses_for_nobody() -> None:
    sink = Scripted(*[Undelivered("status 500")] * 10)
    began = perf_counter()
    counters, _ = run(sink, 30, batch_size=10, flush_interval=3600)
    assert [batch[0] for batch in sink.tried] == [0, 10, 20]
    assert (counters.sent["x",], counters.dropped["x",]) == (0, 30)
    assert perf_counter() - began < 3


def test_a_feed_without_records_ends() -> None:
    sink = Scripted()
    run(sink, 0)
    assert sink.closed == 1
