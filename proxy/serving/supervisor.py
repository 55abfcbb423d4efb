"""Several processes that serve on the same sockets."""

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

from proxy.serving.options import ServerOptions
from proxy.serving.reload import INTERVAL, ConfigFile
from proxy.serving.worker import Stop, run_worker
from proxy.telemetry import WorkerSlot

#: Seconds to wait before a worker that died is replaced.
RESTART_DELAY = 1.0


class Supervisor:
    """Starts the workers, replaces dead ones, tells them to load a changed configuration, and to stop."""

    def __init__(
        self, file: ConfigFile, options: ServerOptions, sockets: list[socket.socket], announce: Callable[[], None]
    ) -> None:
        self._file = file
        self._options = options
        self._sockets = sockets
        self._announce = announce
        self._processes = multiprocessing.get_context("fork")
        #: Each with its number, which the one that replaces it gets.
        self._workers: dict[ForkProcess, int] = {}
        #: Where the workers put together what they counted.
        self._folder = Path(tempfile.mkdtemp(prefix="audio-proxy-metrics-"))
        self._stopping = False
        self._told_to_reload = False
        #: Only the supervisor holds the writing end: where reading ends, it is gone, however it went.
        self._supervised, self._supervising = os.pipe()

    def run(self) -> int:
        """Until told to stop; 1 where a worker did not come up or did not end in good order."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: setattr(self, "_told_to_reload", True))
        came_up = [self._came_up(self._start(number)) for number in range(self._options.workers)]
        if all(came_up):
            self._announce()
        else:
            self._stop()
        failed = not all(came_up)
        while self._workers:
            wait([worker.sentinel for worker in self._workers], timeout=INTERVAL)
            for worker in [worker for worker in self._workers if worker.exitcode is not None]:
                place = self._workers.pop(worker)
                failed |= self._stopping and worker.exitcode != 0
                self._replace(worker, place)
            self._reload()
        shutil.rmtree(self._folder, ignore_errors=True)
        return int(failed)

    def _start(self, number: int) -> Connection:
        """A new worker; the pipe gets a message once it serves, and ends with it."""
        ours, theirs = self._processes.Pipe(duplex=False)
        worker = self._processes.Process(target=self._work, args=(theirs, number))
        worker.start()
        theirs.close()
        self._workers[worker] = number
        return ours

    def _work(self, ready: Connection, number: int) -> None:
        os.close(self._supervising)

        def serving(stop: Stop) -> None:
            ready.send(True)
            self._stop_when_alone(stop)

        place = WorkerSlot(self._folder, number)
        supervisor = os.getppid()
        run_worker(self._file, self._options, self._sockets, serving, watch=False, place=place)
        if os.getppid() != supervisor:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _stop_when_alone(self, stop: Stop) -> None:
        loop = asyncio.get_running_loop()

        def alone() -> None:
            loop.remove_reader(self._supervised)
            structlog.get_logger().error("the supervisor is gone, its worker stops")
            stop()

        loop.add_reader(self._supervised, alone)

    def _came_up(self, pipe: Connection) -> bool:
        with contextlib.closing(pipe), contextlib.suppress(EOFError):
            return bool(pipe.recv())
        return False

    def _replace(self, worker: ForkProcess, number: int) -> None:
        if self._stopping:
            return
        structlog.get_logger().error("a worker died and is replaced", pid=worker.pid, exit_code=worker.exitcode)
        time.sleep(RESTART_DELAY)
        if not self._stopping:
            self._start(number).close()

    def _reload(self) -> None:
        """A file with mistakes never reaches the workers; each loads a good one by itself."""
        if self._stopping or not (self._told_to_reload or self._file.changed()):
            return
        self._told_to_reload = False
        if self._file.reload():
            for worker in self._workers:
                if worker.pid is not None:
                    os.kill(worker.pid, signal.SIGHUP)

    def _stop(self) -> None:
        self._stopping = True
        for worker in self._workers:
            worker.terminate()
        for listener in self._sockets:
            # As long as anybody has them open, the system takes connections that nobody will answer.
            listener.close()
