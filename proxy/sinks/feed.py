"""Feeds one sink: a bounded queue, batches, retries with back-off, and counters."""

from __future__ import annotations

import asyncio
import random
from collections import deque

import structlog

from proxy.metrics import Counter
from proxy.sinks.base import Record, Sink, Undelivered
from proxy.sinks.settings import SinkSettings
from proxy.tasks import cancel_all

#: Attempts per batch. The pause before the second is the first pause in seconds, which doubles up to the maximum.
ATTEMPTS = 8
FIRST_PAUSE, MAX_PAUSE = 1.0, 60.0
#: How long a shutdown waits for the sinks.
DRAIN_SECONDS = 5.0


class Counters:
    """Counters of all sinks, by name. They survive a reload."""

    def __init__(self) -> None:
        self.sent = Counter("sink_sent", "Records delivered to a sink.", "sink")
        self.dropped = Counter("sink_dropped", "Records dropped before they were delivered.", "sink")
        self.failures = Counter("sink_failures", "Failed attempts to deliver a batch.", "sink")


class Feed:
    """Feeds one sink. The task starts with the first record."""

    def __init__(
        self, settings: SinkSettings, sink: Sink, counters: Counters, first_pause: float = FIRST_PAUSE
    ) -> None:
        self.settings = settings
        self._batch_size, self._queue_size = settings.batch_size, settings.queue_size
        self._sink = sink
        self._key = (settings.name,)
        self._counters = counters
        self._first_pause = first_pause
        self._queue: deque[Record] = deque()
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._closing = asyncio.Event()
        self._log = structlog.get_logger()
        self._is_overflowing = False
        for counter in (counters.sent, counters.dropped, counters.failures):
            counter[self._key] += 0

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def put(self, record: Record) -> None:
        """Never waits. If the queue is full, the record is dropped."""
        waiting = len(self._queue)
        if waiting >= self._queue_size:
            self._drop(1)
            return
        self._queue.append(record)
        if not waiting or waiting + 1 == self._batch_size:
            self._wake.set()
            if self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._run())

    async def aclose(self) -> None:
        """Send the queue within a time limit, then drop the rest."""
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
            batch = [self._queue.popleft() for _ in range(min(self._batch_size, len(self._queue)))]
            if not batch and self._closing.is_set():
                return
            if batch:
                await self._deliver(batch)

    async def _batch_is_due(self) -> None:
        """Wait until there is a full batch, or until the first record has waited long enough."""
        if not self._queue:
            self._is_overflowing = False
            self._wake.clear()
            if not self._closing.is_set():
                await self._wake.wait()
        if len(self._queue) < self._batch_size:
            self._wake.clear()
            await self._pause(self.settings.flush_interval, self._wake)

    async def _pause(self, seconds: float, until: asyncio.Event) -> None:
        """Wait for the event, but no longer than that many seconds. A shutdown ends every pause."""
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
            delivered = await self._try(batch)
        finally:
            if delivered:
                self._counters.sent[self._key] += len(batch)
            else:
                self._drop(len(batch))

    async def _try(self, batch: list[Record]) -> bool:
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
                # A bug in one sink must not affect calls or other sinks. The message may contain anything.
                self._counters.failures[self._key] += 1
                reason, last = type(error).__name__, True
            if attempt == 1 or last:
                self._log.warning(
                    "sink delivery failed", sink=self.settings.name, records=len(batch), reason=reason, last=last
                )
            if last:
                return False
            await self._pause(pause * random.uniform(0.5, 1.5), self._closing)  # noqa: S311
            pause = min(pause * 2, MAX_PAUSE)
        return False

    def _drop(self, count: int) -> None:
        self._counters.dropped[self._key] += count
        if not self._is_overflowing:
            self._is_overflowing = True
            self._log.error("sink records are dropped", sink=self.settings.name, waiting=len(self._queue))
