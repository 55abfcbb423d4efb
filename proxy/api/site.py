"""The ASGI application of a process. It serves the current configuration, which can be replaced at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import structlog
from starlette.types import Receive, Scope, Send

from proxy.api.app import App, Resources, build
from proxy.config import Config, reconnected, waiting_for_restart
from proxy.telemetry import WorkerSlot


class Site:
    """Calls that are running when the configuration changes finish with the one that they began with."""

    def __init__(self, config: Config, slot: WorkerSlot | None = None, *, ledger: bool = True) -> None:
        self.resources = Resources(config, slot, ledger=ledger)
        self._started = self._config = config
        self._app = build(config, self.resources)
        self._interval = config.general.health_check_interval
        self._checks: asyncio.Task[None] | None = None

    def replace(self, config: Config) -> None:
        """Serve ``config`` from the next call on. Settings that need a restart are logged by name."""
        self._app = build(config, self.resources)
        for deployment in reconnected(self._config, config):
            self.resources.health.renew(deployment)
        self._config = config
        self.resources.restart_needed = waiting = waiting_for_restart(self._started, config)
        if waiting:
            structlog.get_logger().warning("changed settings take effect after a restart", settings=list(waiting))
        self._interval = config.general.health_check_interval
        self._check_health()

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return self._app(scope, receive, send)

    async def open(self) -> None:
        """To be called once, before the first call is served."""
        await self.resources.open()
        self._check_health()

    async def aclose(self) -> None:
        if self._checks is not None:
            self._checks.cancel()
        await self.resources.aclose()

    def _check_health(self) -> None:
        """Start the background health checks, if the configuration has an interval for them."""
        if self._checks is not None:
            self._checks.cancel()
            self._checks = None
        if self._interval is not None:
            self._checks = asyncio.get_running_loop().create_task(_check(self._app, self._interval))


async def _check(app: App, interval: float) -> None:
    while True:
        try:
            await app.state.probes.run(cooldown=interval * 2)
        except Exception:
            structlog.get_logger().exception("a round of health checks failed")
        await asyncio.sleep(interval)
