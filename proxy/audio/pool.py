"""Pools of sandboxed worker processes: started when needed, reused while healthy, killed when in doubt.

The workers of a pool run one program, a module that calls `channel.serve`: `worker`, which uses FFmpeg, or an engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

from proxy.audio import wire
from proxy.audio.limits import Limits
from proxy.audio.source import Source
from proxy.errors import Overloaded, ProxyError

T = TypeVar("T")

#: The program that decodes and encodes audio.
AUDIO: Final = "proxy.audio.worker"

#: The only variables that a worker inherits: others may hold keys.
_ENVIRONMENT: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_STDERR_BYTES: Final = 4096
_BEYOND_LIMITS: Final = "The audio could not be processed within the server's limits."


class JobFailed(Exception):
    """The worker raised `channel.JobRefused`, whose text this has. The worker can do further jobs."""


class WorkerBroken(Exception):
    """The worker died, hung or violated the protocol. The text is for the log."""


class Chunks:
    """Cuts the chunks of an asynchronous iterator into pieces that fit a frame."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    async def next(self) -> memoryview:
        """The next piece; empty at the end."""
        while not self._rest:
            try:
                self._rest = memoryview(await anext(self._chunks))
            except StopAsyncIteration:
                return self._rest
        piece, self._rest = self._rest[: wire.MAX_PAYLOAD], self._rest[wire.MAX_PAYLOAD :]
        return piece


async def _content(source: Source | None) -> AsyncIterator[bytes]:
    if source is not None and not isinstance(source, int):
        yield bytes(source)


class PoolWorker:
    """One process and the proxy's end of its socket. `close` it if a job is abandoned."""

    def __init__(self, process: Process, sock: socket.socket, stderr: int, stall_seconds: float) -> None:
        self.process = process
        #: Between jobs: False from the start of a job until it has ended properly.
        self.idle = False
        self.expiry: asyncio.TimerHandle | None = None
        self._sock = sock
        self._stderr = stderr
        self._stall_seconds = stall_seconds
        self._unpacker = wire.Unpacker()

    @classmethod
    async def start(cls, module: str, limits: Limits) -> PoolWorker:
        """Start a process that runs `module`. It accepts jobs once `ready` has returned."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        stderr, stderr_end = os.pipe()
        os.set_blocking(stderr, False)
        with theirs, os.fdopen(stderr_end, "wb"):
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-s", "-m", module, json.dumps(dataclasses.asdict(limits))),
                    stdin=theirs.fileno(),
                    stdout=DEVNULL,
                    stderr=stderr_end,
                    env=_environment(),
                    start_new_session=True,  # so that Ctrl-C reaches the proxy only
                )
            except BaseException:
                ours.close()
                os.close(stderr)
                raise
        return cls(process, ours, stderr, limits.stall_seconds)

    async def ready(self) -> None:
        """Wait until the process accepts jobs. Raises WorkerBroken if it fails to start."""
        kind, _ = await self._receive()
        if kind != wire.READY:
            raise WorkerBroken(f"a worker's first frame was of kind {kind!r}")
        self.idle = True

    def kill(self) -> None:
        """Kill the process and its group. A job in progress sees the end of the socket."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS, if only a zombie is left
            # Not `process.kill`, which may reap the process, so that asyncio never notices its end.
            os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process and close the descriptors. No job may be in progress."""
        self.kill()
        if self.expiry is not None:
            self.expiry.cancel()
        self._sock.close()
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1

    async def ended(self) -> None:
        """Wait until the process has ended."""
        await self.process.wait()

    def alive(self) -> bool:
        """Whether an idle worker still has its end of the socket open, and has sent nothing."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def run(self, job: Mapping[str, Any], source: Source | None, chunks: Chunks) -> AsyncGenerator[bytes]:
        """The job's output as it arrives. Raises JobFailed, WorkerBroken and the exceptions of `chunks`."""
        self.idle = False
        self._begin(job, source)
        while True:
            kind, payload = await self._receive()
            if kind == wire.DATA:
                yield payload
            elif kind == wire.WANT:
                await self._feed(await chunks.next())
            elif kind == wire.DONE:
                self.idle = True
                return
            elif kind == wire.FAILED:
                self.idle = True
                raise JobFailed(payload.decode(errors="replace"))
            else:
                raise WorkerBroken(f"a worker sent a frame of kind {kind!r}")

    def _begin(self, job: Mapping[str, Any], source: Source | None) -> None:
        """Send the job. The socket of an idle worker is empty, so this small frame always fits."""
        by_descriptor = isinstance(source, int)
        frame = wire.pack(wire.JOB, json.dumps({**job, "by_descriptor": by_descriptor}).encode())
        try:
            socket.send_fds(self._sock, [frame], [source] if isinstance(source, int) else [])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError) as error:
            raise WorkerBroken("a worker accepts no job") from error

    async def _feed(self, piece: memoryview) -> None:
        frame = wire.pack(wire.INPUT, piece) if piece else wire.pack(wire.INPUT_END)
        await self._within_limit(asyncio.get_running_loop().sock_sendall(self._sock, frame))

    async def _receive(self) -> tuple[bytes, bytes]:
        loop = asyncio.get_running_loop()
        try:
            while (frame := self._unpacker.next()) is None:
                data = await self._within_limit(loop.sock_recv(self._sock, wire.MAX_PAYLOAD))
                if not data:
                    raise WorkerBroken(f"a worker died: {self._error_output()}")
                self._unpacker.feed(data)
        except ValueError as error:
            raise WorkerBroken(f"a worker sent {error}") from error
        return frame

    async def _within_limit(self, step: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await step
        except TimeoutError as error:
            raise WorkerBroken("a worker hung") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WorkerBroken(f"a worker died: {self._error_output()}") from error

    def _error_output(self) -> str:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._stderr, _STDERR_BYTES).decode(errors="replace").strip()
        return ""


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**inherited, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}


class WorkerPool:
    """At most `size` workers with one job each, and at most `queue` callers that wait for a worker.

    A stream occupies its worker from the first byte to the last, so a pool that transcodes live answers should be
    larger than one that probes uploads. Use it from one event loop. The first job starts the first worker.
    """

    def __init__(
        self,
        module: str = AUDIO,
        *,
        size: int | None = None,
        queue: int = 256,
        wait_seconds: float = 30.0,
        idle_seconds: float = 60.0,
        keep: int = 0,
        limits: Limits | None = None,
    ) -> None:
        """An idle worker ends after `idle_seconds`, except the last `keep` ones."""
        self.limits = limits or Limits()
        self._module = module
        self._size = size or max(2, os.cpu_count() or 1)
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._idle_seconds = idle_seconds
        self._keep = keep
        self._slots = asyncio.Semaphore(self._size)
        self._waiting = 0
        self._closed = False
        #: Held while a process is started, so that `aclose` misses none.
        self._spawning = asyncio.Lock()
        self._starting: set[PoolWorker] = set()
        self._idle: list[PoolWorker] = []
        self._busy: set[PoolWorker] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def workers(self) -> int:
        """The number of running processes."""
        return len(self._starting) + len(self._idle) + len(self._busy)

    async def run(
        self,
        job: Mapping[str, Any],
        *,
        fault: Callable[..., ProxyError],
        broken: Callable[[str], ProxyError] | None = None,
        source: Source | None = None,
        chunks: AsyncIterator[bytes] | None = None,
    ) -> AsyncGenerator[bytes]:
        """The output of one job.

        `fault` returns the exception to raise if the worker refuses the job, from its message. `broken` does so if the
        worker dies or hangs, from a text for the log; without `broken`, the input is blamed, with `fault`.
        Raises Overloaded if no worker becomes free. Ending early (cancellation, `aclose`) kills the worker.
        The caller closes `chunks`.
        """
        feed = Chunks(chunks if chunks is not None else _content(source))
        async with self._borrowed() as worker, contextlib.aclosing(worker.run(job, source, feed)) as output:
            try:
                async for data in output:
                    yield data
            except JobFailed as failure:
                raise fault(str(failure)) from failure
            except WorkerBroken as error:
                self._refuse_if_closed()
                detail = str(error)
                raise (broken(detail) if broken else fault(_BEYOND_LIMITS, detail=detail)) from error

    async def aclose(self) -> None:
        """End all workers, also busy ones, and wait until they are gone. Their callers get Overloaded."""
        self._closed = True
        for _ in range(self._waiting):
            self._slots.release()
        async with self._spawning:
            borrowed = [*self._starting, *self._busy]
        for worker in list(self._idle):
            self._end(worker)
        for worker in borrowed:
            worker.kill()
        await asyncio.gather(*self._ending, *(worker.ended() for worker in borrowed))

    @contextlib.asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[PoolWorker]:
        await self._take_slot()
        try:
            worker = self._idle_worker() or await self._start()
            self._busy.add(worker)
            try:
                yield worker
            finally:
                self._return(worker)
        finally:
            self._slots.release()

    async def _take_slot(self) -> None:
        self._refuse_if_closed()
        if self._slots.locked() and self._waiting >= self._queue:
            raise Overloaded("Too much audio is being processed right now. Please try again.", retry_after=2)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._slots.acquire()
        except TimeoutError as error:
            raise Overloaded("Too much audio is being processed right now. Please try again.", retry_after=5) from error
        finally:
            self._waiting -= 1

    def _idle_worker(self) -> PoolWorker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.expiry is not None:
                worker.expiry.cancel()
            if worker.alive():
                return worker
            self._end(worker)
        return None

    async def _start(self) -> PoolWorker:
        try:
            async with self._spawning:
                self._refuse_if_closed()
                worker = await PoolWorker.start(self._module, self.limits)
                self._starting.add(worker)
            try:
                await worker.ready()
            except BaseException:
                self._end(worker)
                raise
            finally:
                self._starting.discard(worker)
        except (WorkerBroken, OSError) as error:
            self._refuse_if_closed()
            raise Overloaded("The server cannot process audio right now.", retry_after=5, detail=str(error)) from error
        return worker

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise Overloaded("The server is shutting down.")

    def _return(self, worker: PoolWorker) -> None:
        if self._closed or not worker.idle:
            self._end(worker)
            return
        self._busy.discard(worker)
        self._idle.append(worker)
        worker.expiry = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, worker)

    def _expire(self, worker: PoolWorker) -> None:
        if len(self._idle) > self._keep:
            self._end(worker)

    def _end(self, worker: PoolWorker) -> None:
        self._busy.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        worker.close()
        task = asyncio.get_running_loop().create_task(worker.ended())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
