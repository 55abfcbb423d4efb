"""Several worker processes that serve on the same sockets."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import structlog

from proxy.serving.config_file import CHECK_INTERVAL, ConfigFile
from proxy.serving.options import ServerOptions
from proxy.serving.worker import Stop, run_worker
from proxy.telemetry import WorkerSlot

#: Seconds to wait before a dead worker is replaced.
RESTART_DELAY = 1.0


class Supervisor:
    """Starts the workers, replaces dead ones, has them reload a changed configuration, and stops them."""

    def __init__(
        self, file: ConfigFile, options: ServerOptions, sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        self._file = file
        self._options = options
        self._sockets = sockets
        self._announce = announce
        self._context = multiprocessing.get_context("fork")
        #: Each with its number, which a replacement takes over.
        self._workers: dict[ForkProcess, int] = {}
        #: Where the workers share their metrics.
        self._folder = Path(tempfile.mkdtemp(prefix="audio-proxy-metrics-"))
        self._stopping = False
        self._reload_requested = False
        #: This pipe is never written to. Only the supervisor holds the writing end, so the workers can read end-of-file
        #: when it is gone, however it ended.
        self._lifeline, self._lifeline_writer = os.pipe()

    def run(self) -> int:
        """Serve until a signal stops it. Returns 1 if a worker did not start, or did not shut down cleanly."""
        signal.signal(signal.SIGTERM, lambda *_: self._stop())
        signal.signal(signal.SIGINT, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._request_reload())
        started = [_is_ready(self._start(number)) for number in range(self._options.workers)]
        if all(started):
            self._announce()
        else:
            self._stop()
        failed = not all(started)
        while self._workers:
            wait([worker.sentinel for worker in self._workers], timeout=CHECK_INTERVAL)
            for worker in [worker for worker in self._workers if worker.exitcode is not None]:
                number = self._workers.pop(worker)
                failed |= self._stopping and worker.exitcode != 0
                self._replace(worker, number)
            self._reload()
        shutil.rmtree(self._folder, ignore_errors=True)
        return int(failed)

    def _start(self, number: int) -> Connection:
        """Start a worker. The pipe gets a message once it serves, and ends if it dies before."""
        reading, writing = self._context.Pipe(duplex=False)
        worker = self._context.Process(target=self._work, args=(writing, number))
        worker.start()
        writing.close()
        self._workers[worker] = number
        return reading

    def _work(self, pipe: Connection, number: int) -> None:
        """What a worker process runs."""
        os.close(self._lifeline_writer)

        def ready(stop: Stop) -> None:
            pipe.send(True)
            self._stop_without_supervisor(stop)

        slot = WorkerSlot(self._folder, number)
        supervisor = os.getppid()
        run_worker(self._file, self._options, self._sockets, ready, watch=False, slot=slot)
        if os.getppid() != supervisor:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _stop_without_supervisor(self, stop: Stop) -> None:
        loop = asyncio.get_running_loop()

        def supervisor_gone() -> None:
            loop.remove_reader(self._lifeline)
            structlog.get_logger().error("the supervisor is gone; its worker stops")
            stop()

        loop.add_reader(self._lifeline, supervisor_gone)

    def _replace(self, worker: ForkProcess, number: int) -> None:
        if self._stopping:
            return
        structlog.get_logger().error("a worker died and is being replaced", pid=worker.pid, exit_code=worker.exitcode)
        time.sleep(RESTART_DELAY)
        if not self._stopping:
            self._start(number).close()

    def _request_reload(self) -> None:
        self._reload_requested = True

    def _reload(self) -> None:
        """Check a changed file once, here. Workers only reload a valid file, each by itself."""
        if self._stopping or not (self._reload_requested or self._file.changed()):
            return
        self._reload_requested = False
        if self._file.reload():
            for worker in self._workers:
                if worker.pid is not None:
                    os.kill(worker.pid, signal.SIGHUP)

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.terminate()
        for listener in self._sockets:
            # As long as any process has them open, the system accepts connections that will never be answered.
            listener.close()


def _is_ready(pipe: Connection) -> bool:
    """Wait until a worker serves; False if it died before."""
    with contextlib.closing(pipe), contextlib.suppress(EOFError):
        return bool(pipe.recv())
    return False
