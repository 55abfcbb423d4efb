"""One process that serves: its event loop, its signals, and its configuration, which can be reloaded."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import structlog
import uvloop
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from proxy.api.site import Site
from proxy.serving.certificate import tls_context
from proxy.serving.config_file import CHECK_INTERVAL, ConfigFile
from proxy.serving.memory import tune_memory
from proxy.serving.options import ServerOptions
from proxy.serving.server import Server
from proxy.telemetry import WorkerSlot, configure_logging

Stop = Callable[[], object]
"""Stops a worker as SIGTERM does. May be called from any thread."""


def run_worker(
    file: ConfigFile,
    options: ServerOptions,
    sockets: Sequence[socket.socket],
    ready: Callable[[Stop], None],
    *,
    watch: bool,
    slot: WorkerSlot | None = None,
) -> None:
    """Serve in this process until a signal stops it. ``ready`` is called once calls are answered.

    SIGHUP reloads the configuration; with ``watch``, so does a change of its file.
    """
    general = file.config.general
    configure_logging(general.log_format, general.log_level)
    site = Site(file.config, slot, ledger=options.ledger)
    server = Server(
        trust_reverse_proxies(site, options.forwarded_allow_ips),
        tls=tls_context(options),
        root_path=options.root_path,
        shutdown_timeout=general.shutdown_timeout,
    )
    worker = Worker(site, server, file, watch=watch)
    tune_memory()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(worker.run(sockets, ready))


def trust_reverse_proxies(app: ASGIApp, addresses: str | None) -> ASGIApp:
    """Take the client's address and scheme from the X-Forwarded headers that these addresses send."""
    if addresses is None:
        return app
    # uvicorn and Starlette have their own types for the same interface.
    return ProxyHeadersMiddleware(app, addresses)  # type: ignore[arg-type, return-value]


class Worker:
    """Opens the site, serves it, reloads its configuration, and shuts down cleanly, with exit status 0."""

    def __init__(self, site: Site, server: Server, file: ConfigFile, *, watch: bool) -> None:
        self._site = site
        self._server = server
        self._file = file
        self._watch = watch
        self._reload_requested = asyncio.Event()
        self._stop_signal: signal.Signals | None = None

    async def run(self, sockets: Sequence[socket.socket], ready: Callable[[Stop], None]) -> None:
        loop = asyncio.get_running_loop()
        with self._handle_signals(loop):
            await self._open_site()
            reloading = loop.create_task(self._reload())
            stop = partial(loop.call_soon_threadsafe, self._stop, loop, signal.SIGTERM)
            await self._server.serve(sockets, partial(ready, stop))
            reloading.cancel()
            if not self._server.aborted:
                await self._site.aclose()

    async def _open_site(self) -> None:
        try:
            await self._site.open()
        except Exception:
            structlog.get_logger().exception("the server cannot start")
            sys.exit(1)

    @contextlib.contextmanager
    def _handle_signals(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, loop, number)
        loop.add_signal_handler(signal.SIGHUP, self._reload_requested.set)
        try:
            yield
        finally:
            _ignore_signals(loop)

    def _stop(self, loop: asyncio.AbstractEventLoop, number: signal.Signals) -> None:
        """The first signal turns readiness to 503, then stops; the same signal again stops at once.

        A different signal is ignored: Ctrl-C reaches a worker as SIGINT from the terminal, and as SIGTERM from its
        supervisor.
        """
        if not self._site.resources.draining:
            self._site.resources.draining = True
            self._stop_signal = number
            loop.call_later(self._file.config.general.drain_delay, self._server.stop)
        elif number == self._stop_signal:
            self._server.abort()

    async def _reload(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL if self._watch else None):
                    await self._reload_requested.wait()
            if self._reload_requested.is_set() or self._file.changed():
                self._reload_requested.clear()
                try:
                    if await asyncio.to_thread(self._file.reload):
                        self._site.replace(self._file.config)
                except Exception:
                    structlog.get_logger().exception("configuration not reloaded; the previous one stays active")


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """The server has shut down cleanly; a late signal must not change its exit status."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
