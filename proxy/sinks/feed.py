"""The way of records to one sink: a bounded queue, batches, further attempts, and a count of what got lost."""

from __future__ import annotations

import asyncio
import random
from collections import deque

import structlog

from proxy.metrics import Counter
from proxy.sinks.base import Record, Sink, Undelivered
from proxy.sinks.settings import SinkSettings
from proxy.tasks import cancel_all

#: How often a batch is tried, and the seconds before the second attempt, which double up to the longest.
ATTEMPTS = 8
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
#: What the end of the server waits for its sinks.
DRAIN_SECONDS = 5.0


class Counters:
    """Of all sinks, by their names; they outlive a reload."""

    def __init__(self) -> None:
        self.sent = Counter("sink_sent", "Records that a sink has taken.", "sink")
        self.dropped = Counter("sink_dropped", "Records that a sink will never get.", "sink")
        self.failures = Counter("sink_failures", "Batches that a sink did not take, further attempts included.", "sink")


class Feed:
    """Feeds one sink. It begins with the first record."""

    def __init__(
        self, settings: SinkSettings, sink: Sink, counters: Counters, first_pause: float = FIRST_PAUSE
    ) -> None:
        self.settings = settings
        self._size, self._most = settings.batch_size, settings.queue_size
        self._sink = sink
        self._key = (settings.name,)
        self._counters = counters
        self._first_pause = first_pause
        self._queue: deque[Record] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._log = structlog.get_logger()
        self._overflown = False
        for counter in (counters.sent, counters.dropped, counters.failures):
            counter[self._key] += 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def put(self, record: Record) -> None:
        """Never waits. A record that finds the queue full is dropped."""
        waiting = len(self._queue)
        if waiting >= self._most:
            self._drop(1)
            return
        self._queue.append(record)
        if not waiting or waiting + 1 == self._size:
            self._wake.set()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """What waits is sent, as far as it goes within a bound; the rest is dropped."""
        self._closing.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=DRAIN_SECONDS)
            await cancel_all([self._task])
        if self._queue:
            self._drop(len(self._queue))
            self._queue.clear()
        await self._sink.aclose()

    async def _run(self) -> None:
        while True:
            await self._batch_is_due()
            batch = [self._queue.popleft() for _ in range(min(self._size, len(self._queue)))]
            if not batch and self._closing.is_set():
                return
            if batch:
                await self._deliver(batch)

    async def _batch_is_due(self) -> None:
        """There is a record, and it has waited for others, or they make a batch."""
        if not self._queue:
            self._overflown = False
            self._wake.clear()
            if not self._closing.is_set():
                await self._wake.wait()
        if len(self._queue) < self._size:
            self._wake.clear()
            await self._pause(self.settings.flush_interval, self._wake)

    async def _pause(self, seconds: float, until: asyncio.Event) -> None:
        """Until the event, or that many seconds; the end of the server ends every pause."""
        if self._closing.is_set():
            return
        try:
            async with asyncio.timeout(seconds):
                await until.wait()
        except TimeoutError:
            pass

    async def _deliver(self, batch: list[Record]) -> None:
        delivered = False
        try:
            delivered = await self._tried(batch)
        finally:
            if delivered:
                self._counters.sent[self._key] += len(batch)
            else:
                self._drop(len(batch))

    async def _tried(self, batch: list[Record]) -> bool:
        pause = self._first_pause
        for attempt in range(1, ATTEMPTS + 1):
            last = attempt == ATTEMPTS or self._closing.is_set()
            try:
                await self._sink.send(batch)
                return True
            except Undelivered as error:
                self._counters.failures[self._key] += 1
                reason, last = str(error), last or not error.again
            except Exception as error:
                # Of a mistake in a sink the others, and the calls, see nothing. Its message may hold anything.
                self._counters.failures[self._key] += 1
                reason, last = type(error).__name__, True
            if attempt == 1 or last:
                self._log.warning(
                    "sink did not take records", sink=self.settings.name, records=len(batch), reason=reason, last=last
                )
            if last:
                return False
            await self._pause(pause * random.uniform(0.5, 1.5), self._closing)  # noqa: S311
            pause = min(pause * 2, MAX_PAUSE)
        return False

    def _drop(self, count: int) -> None:
        self._counters.dropped[self._key] += count
        if not self._overflown:
            self._overflown = True
            self._log.error("sink loses records", sink=self.settings.name, waiting=len(self._queue))
