"""One process that serves."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog
import uvicorn

from proxy.api.site import Site
from proxy.serving.options import ServerOptions
from proxy.serving.protocol import BoundedProtocol
from proxy.serving.reload import INTERVAL, ConfigFile
from proxy.serving.sockets import BACKLOG
from proxy.telemetry import WorkerSlot, configure_logging

#: Longer than the idle time of common load balancers (60 s), so that they close first.
KEEP_ALIVE_SECONDS = 75
#: Between two looks, while stopping, for connections that only wait for the other side to end TLS.
PARTING_SECONDS = 2.0
#: New container objects between two looks for garbage, where Python's default is 700.
GARBAGE_THRESHOLD = 5_000
#: glibc's malloc.h; other C libraries have no mallopt.
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1
#: Bytes: the pieces of uploads come from the heap, and so much of its end stays when they are gone.
MMAP_THRESHOLD, TRIM_THRESHOLD = 4 << 20, 16 << 20

Stop = Callable[[], object]
"""Ends a server in good order; may be called from any thread."""


def run_worker(
    file: ConfigFile,
    options: ServerOptions,
    sockets: list[socket.socket],
    ready: Callable[[Stop], None],
    *,
    watch: bool,
    place: WorkerSlot | None = None,
) -> None:
    """Serve in this process until told to stop. ``ready`` is called once calls are answered, with a way to stop.

    SIGHUP loads the configuration anew; with ``watch`` a changed file does so, too.
    """
    general = file.config.general
    configure_logging(general.log_format, general.log_level)
    site = Site(file.config, place, ledger=options.ledger)
    server = Server(_uvicorn_config(site, options, int(general.shutdown_timeout)), site, file, ready, watch=watch)
    _tune_memory()
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets))


def _uvicorn_config(site: Site, options: ServerOptions, shutdown_timeout: int) -> uvicorn.Config:
    return uvicorn.Config(
        site,
        interface="asgi3",
        http=BoundedProtocol,
        ws="none",
        loop="uvloop" if sys.platform != "win32" else "asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=options.forwarded_allow_ips is not None,
        forwarded_allow_ips=options.forwarded_allow_ips,
        root_path=options.root_path,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=shutdown_timeout,
        backlog=BACKLOG,
    )


class Server(uvicorn.Server):
    """uvicorn's server; SIGTERM first turns readiness to 503, and a stop in good order exits with 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        site: Site,
        file: ConfigFile,
        ready: Callable[[Stop], None],
        *,
        watch: bool,
    ) -> None:
        super().__init__(config)
        self._site = site
        self._file = file
        self._ready = ready
        self._watch = watch
        self._told_to_reload = asyncio.Event()
        self._told_to_stop: signal.Signals | None = None
        self._reloading: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        self._reloading = loop.create_task(self._reload())
        self._ready(partial(loop.call_soon_threadsafe, self._stop, loop))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
        parting = asyncio.ensure_future(self._part())
        try:
            await super().shutdown(sockets)
        finally:
            parting.cancel()

    async def _part(self) -> None:
        """Give up connections that are closed but for the other side's end of TLS: an idle client looks only later."""
        waiting: set[Any] = set()
        while True:
            await asyncio.sleep(PARTING_SECONDS)
            seen = waiting
            waiting = {one for one in self.server_state.connections if _has_parted(one.transport)}
            for connection in seen & waiting:
                connection.transport.abort()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, loop, number)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload.set)
        try:
            yield
        finally:
            _ignore_signals(loop)

    def _stop(self, loop: asyncio.AbstractEventLoop, number: signal.Signals = signal.SIGTERM) -> None:
        """The first signal drains, the same one again ends at once.

        Another one does not: Ctrl-C reaches a worker from the terminal, and once more, as SIGTERM, from its supervisor.
        """
        resources = self._site.resources
        if resources.draining:
            if number == self._told_to_stop:
                self.force_exit = self.should_exit = True
            return
        resources.draining, self._told_to_stop = True, number
        loop.call_later(self._file.config.general.drain_delay, setattr, self, "should_exit", True)

    async def _reload(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL if self._watch else None):
                    await self._told_to_reload.wait()
            if self._told_to_reload.is_set() or self._file.changed():
                self._told_to_reload.clear()
                try:
                    if await asyncio.to_thread(self._file.reload):
                        self._site.replace(self._file.config)
                except Exception:
                    structlog.get_logger().exception("configuration not loaded, the old one stays")


def _has_parted(transport: asyncio.Transport) -> bool:
    return transport.is_closing() and not transport.get_write_buffer_size()


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """The server has ended in good order; a signal that comes late must not turn the exit status into another one."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    for number in numbers:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)


def _tune_memory() -> None:
    """What was made at the start stays; what calls leave behind has few cycles, so looking for them can be rarer.

    glibc gives each thread an arena of its own, which keeps what uploads have freed; one for all is smaller and faster.
    And it asks the system for each large piece, whose pages are then made and zeroed anew: a third of an upload's cost.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)


def _is_news(record: logging.LogRecord) -> bool:
    """No news is a call that is cut on purpose, after its upstream died or at the end: its own line tells."""
    cancelled = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
    return not cancelled and record.msg != "ASGI callable returned without completing response."
