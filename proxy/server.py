"""Serving: listening sockets, worker processes, limits on what arrives before a request is one, and the way to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from proxy.api.app import App, build
from proxy.config import Config
from proxy.errors import BadRequest
from proxy.telemetry import configure_logging

HEADER_BYTES = 64 * 1024
HEADER_SECONDS = 30.0
#: Longer than the idle time of common load balancers (60 s), so that they close first.
KEEP_ALIVE_SECONDS = 75
BACKLOG = 4096
FILE_LIMIT = 65_536
#: Seconds to wait before a worker that died is replaced.
RESTART_DELAY = 1.0

log = logging.getLogger("proxy.server")

Stop = Callable[[], object]
"""Ends a server in good order; may be called from any thread."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says of serving."""

    host: str = "0.0.0.0"  # noqa: S104
    port: int = 4000
    workers: int = 1
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    root_path: str = ""
    forwarded_allow_ips: str | None = None


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol, with bounds on the size of a request's head and the time it may take to come."""

    _head_bytes = 0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_bytes = 0
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEADER_SECONDS, self.transport.close)

    def on_url(self, url: bytes) -> None:
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP, or too much of it, is told in OpenAI's shape, too."""
        large = self._head_bytes > HEADER_BYTES
        error = BadRequest("The header of the request is too large." if large else msg, status=431 if large else 400)
        body = error.json()
        reason = "Request Header Fields Too Large" if large else "Bad Request"
        head = f"HTTP/1.1 {error.status} {reason}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + body)
        self.transport.close()

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEADER_BYTES:
            raise ValueError("the request's head is too large")

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Server(uvicorn.Server):
    """uvicorn's server; SIGTERM first turns readiness to 503, and a stop in good order exits with 0."""

    def __init__(self, config: uvicorn.Config, app: App, ready: Callable[[Stop], None], *, drain_delay: float) -> None:
        super().__init__(config)
        self._app = app
        self._ready = ready
        self._drain_delay = drain_delay

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        self._ready(partial(loop.call_soon_threadsafe, self._stop, loop))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, loop)
        yield

    def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        """The first signal drains, a second one ends at once."""
        if self._app.state.draining:
            self.force_exit = self.should_exit = True
            return
        self._app.state.draining = True
        loop.call_later(self._drain_delay, setattr, self, "should_exit", True)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on every address of ``host``; port 0 takes a free one. Raises OSError."""
    sockets: list[socket.socket] = []
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    try:
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            listener = socket.socket(family, kind, protocol)
            sockets.append(listener)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # "::" listens on IPv4, too; any other IPv6 address has no IPv4 side.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
            if len(sockets) > 1:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            listener.bind(address)
            listener.listen(BACKLOG)
            listener.setblocking(False)
    except OSError:
        for listener in sockets:
            listener.close()
        raise
    return sockets


def serve(config: Config, options: Options) -> int:
    """Serve until told to stop; the exit status. Prints ``RUNNING on http://…`` once calls are answered."""
    _raise_file_limit()
    sockets = listen(options.host, options.port)
    host = f"[{options.host}]" if ":" in options.host else options.host
    scheme = "https" if options.ssl_certfile else "http"
    address = f"{scheme}://{host}:{sockets[0].getsockname()[1]}"
    if options.workers > 1:
        return Supervisor(config, options, sockets, address).run()
    run_worker(config, options, sockets, lambda _: announce(address))
    return 0


def _raise_file_limit() -> None:
    """A stream takes two descriptors; the usual soft limit of 1,024 is meant for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILE_LIMIT if hard == resource.RLIM_INFINITY else min(FILE_LIMIT, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def announce(address: str) -> None:
    print(f"RUNNING on {address}", flush=True)


def run_worker(config: Config, options: Options, sockets: list[socket.socket], ready: Callable[[Stop], None]) -> None:
    """Serve in this process until told to stop. ``ready`` is called once calls are answered, with a way to stop."""
    general = config.general
    configure_logging(general.log_format, general.log_level)
    app = build(config)
    server = Server(
        uvicorn.Config(
            app,
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
            timeout_graceful_shutdown=int(general.shutdown_timeout),
            backlog=BACKLOG,
        ),
        app,
        ready,
        drain_delay=general.drain_delay,
    )
    logging.getLogger("uvicorn.error").addFilter(_is_news)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)

    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets))


def _is_news(record: logging.LogRecord) -> bool:
    """A stream that is cut on purpose after its upstream died is no news: its call's own line tells."""
    return record.msg != "ASGI callable returned without completing response."


class Supervisor:
    """Keeps ``workers`` processes on the same sockets: starts them, replaces dead ones, tells them to stop."""

    def __init__(self, config: Config, options: Options, sockets: list[socket.socket], address: str) -> None:
        self._config = config
        self._options = options
        self._sockets = sockets
        self._address = address
        self._processes = multiprocessing.get_context("fork")
        self._workers: list[ForkProcess] = []
        self._stopping = False

    def run(self) -> int:
        """Until told to stop; 1 where a worker did not come up or did not end in good order."""
        configure_logging(self._config.general.log_format, self._config.general.log_level)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        came_up = [self._came_up(self._start()) for _ in range(self._options.workers)]
        if all(came_up):
            announce(self._address)
        else:
            self._stop()
        failed = not all(came_up)
        while self._workers:
            wait([worker.sentinel for worker in self._workers], timeout=1.0)
            for worker in [worker for worker in self._workers if worker.exitcode is not None]:
                self._workers.remove(worker)
                failed |= self._stopping and worker.exitcode != 0
                self._replace(worker)
        return int(failed)

    def _start(self) -> Connection:
        """A new worker; the pipe gets a message once it serves, and ends with it."""
        ours, theirs = self._processes.Pipe(duplex=False)
        worker = self._processes.Process(target=self._work, args=(theirs,))
        worker.start()
        theirs.close()
        self._workers.append(worker)
        return ours

    def _work(self, ready: Connection) -> None:
        run_worker(self._config, self._options, self._sockets, lambda _: ready.send(True))

    def _came_up(self, pipe: Connection) -> bool:
        with contextlib.closing(pipe), contextlib.suppress(EOFError):
            return bool(pipe.recv())
        return False

    def _replace(self, worker: ForkProcess) -> None:
        if self._stopping:
            return
        log.error("worker %s died with exit code %s and is replaced", worker.pid, worker.exitcode)
        time.sleep(RESTART_DELAY)
        if not self._stopping:
            self._start().close()

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.terminate()
        for listener in self._sockets:
            # As long as anybody has them open, the system takes connections that nobody will answer.
            listener.close()
