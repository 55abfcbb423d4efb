"""All sinks of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from time import perf_counter

from proxy.config import Config
from proxy.domain.call import Call
from proxy.metrics import Family, Gauge, Labels
from proxy.sinks.base import Record
from proxy.sinks.feed import Counters, Feed
from proxy.sinks.registry import settings_of
from proxy.upstream.transport import HTTPTransport

#: Connections to sinks at a time; they have a pool of their own, so that no call waits for one of them.
MAX_CONNECTIONS = 32


class Sinks:
    """`use` a configuration, `put` calls; `aclose` in the end."""

    def __init__(self) -> None:
        self._transport = HTTPTransport(max_connections=MAX_CONNECTIONS)
        self._counters = Counters()
        self._feeds: tuple[Feed, ...] = ()
        #: Those of calls that went well, and of calls that failed.
        self._successes: tuple[Feed, ...] = ()
        self._failures: tuple[Feed, ...] = ()
        self._config: Config | None = None
        #: Vendors' models by the deployments' ids.
        self._models: Mapping[str, str] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def families(self) -> Iterator[Family]:
        yield from (self._counters.sent, self._counters.dropped, self._counters.failures)
        yield Gauge("sink_queue", "Records that wait for a sink.", self._waiting, "sink")

    def _waiting(self) -> Mapping[Labels, float]:
        return {(feed.settings.name,): feed.waiting for feed in self._feeds}

    def use(self, config: Config) -> None:
        """Its sinks from now on. Those of an earlier configuration still send what waits for them."""
        self._models = {deployment.id: deployment.model for deployment in config.deployments}
        if self._config is not None and _same(self._config, config):
            return
        feeds = tuple(
            Feed(settings, settings.build(config, self._transport), self._counters) for settings in settings_of(config)
        )
        old, self._feeds, self._config = self._feeds, feeds, config
        self._successes = tuple(feed for feed in self._feeds if feed.settings.successes)
        self._failures = tuple(feed for feed in self._feeds if feed.settings.failures)
        for feed in old:
            task = asyncio.get_running_loop().create_task(feed.aclose())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    def put(self, call: Call, ended: float) -> None:
        """One that has just ended. What is not in the ledger, such as a call with a wrong key, is for no sink."""
        feeds = self._failures if call.error else self._successes
        if not feeds or call.row is None:
            return
        record = Record(call, call.row, ended, time.time() - perf_counter(), self._models)
        for feed in feeds:
            feed.put(record)

    async def aclose(self) -> None:
        await asyncio.gather(*(feed.aclose() for feed in self._feeds), *self._ending)
        await self._transport.aclose()


def _same(one: Config, other: Config) -> bool:
    return one.sinks == other.sinks and dict(one.environment) == dict(other.environment)
