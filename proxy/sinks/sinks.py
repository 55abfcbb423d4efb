"""All sinks of a process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from time import perf_counter

from proxy.config import Config
from proxy.domain.call import Call
from proxy.http.transport import HTTPTransport
from proxy.metrics import Family, Gauge, Labels
from proxy.sinks.base import Record
from proxy.sinks.feed import Counters, Feed
from proxy.sinks.registry import settings_of

#: Connections to sinks. They have their own pool, so that no call waits for them.
MAX_CONNECTIONS = 32


class Sinks:
    """`use` a configuration, `put` calls, and `aclose` at the end."""

    def __init__(self) -> None:
        self._transport = HTTPTransport(max_connections=MAX_CONNECTIONS)
        self._counters = Counters()
        self._feeds: tuple[Feed, ...] = ()
        #: For calls that succeeded, and for calls that failed.
        self._successes: tuple[Feed, ...] = ()
        self._failures: tuple[Feed, ...] = ()
        self._config: Config | None = None
        #: The vendors' models, by ids of deployments.
        self._models: Mapping[str, str] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def families(self) -> Iterator[Family]:
        yield from (self._counters.sent, self._counters.dropped, self._counters.failures)
        yield Gauge("sink_queue", "Records in the queue of a sink.", self._waiting, "sink")

    def _waiting(self) -> Mapping[Labels, float]:
        return {(feed.settings.name,): feed.waiting for feed in self._feeds}

    def use(self, config: Config) -> None:
        """Use the sinks of this configuration. Earlier sinks still deliver their queues."""
        self._models = {deployment.id: deployment.model for deployment in config.deployments}
        if self._config is not None and _has_same_sinks(self._config, config):
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
        """A call that just ended. Calls that are not in the ledger (with a wrong key, say) go to no sink."""
        feeds = self._failures if call.error else self._successes
        if not feeds or call.row is None:
            return
        record = Record(call, call.row, ended, time.time() - perf_counter(), self._models)
        for feed in feeds:
            feed.put(record)

    async def aclose(self) -> None:
        await asyncio.gather(*(feed.aclose() for feed in self._feeds), *self._ending)
        await self._transport.aclose()


def _has_same_sinks(one: Config, other: Config) -> bool:
    return one.sinks == other.sinks and dict(one.environment) == dict(other.environment)
