"""Confined child processes, seen from the proxy: started when needed, kept while healthy, killed when in doubt.

Each runs one program, a module that calls `channel.serve`: FFmpeg's here (`worker`), or an engine's.
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

#: The program that reads and writes audio.
AUDIO: Final = "proxy.audio.worker"

#: All that a worker inherits. Keys live in the environment, so it gets no other variable.
_ENVIRONMENT: Final = ("PATH", "LANG", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_COMPLAINT_BYTES: Final = 4096
_BEYOND_LIMITS: Final = "The audio could not be processed within the server's limits."


class JobFailed(Exception):
    """The worker refused the job, with the text of its `channel.JobRefused`. The worker is well."""


class WorkerBroken(Exception):
    """The worker died, hung or talked nonsense; the text is for the log."""


class Chunks:
    """An asynchronous iterator of bytes, of any size, in pieces that fit a frame."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    async def next(self) -> memoryview:
        """The next piece; an empty one at the end."""
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


class Worker:
    """One process and the proxy's end of its socket. Whoever leaves a job before its end must `close` it."""

    def __init__(self, process: Process, sock: socket.socket, complaints: int, stall_seconds: float) -> None:
        self.process = process
        #: Between jobs; False from the start of one until it has ended in order.
        self.idle = False
        self.expiry: asyncio.TimerHandle | None = None
        self._sock = sock
        self._complaints = complaints
        self._stall_seconds = stall_seconds
        self._unpacker = wire.Unpacker()

    @classmethod
    async def start(cls, module: str, limits: Limits) -> Worker:
        """A process that runs `module`; it takes jobs when `ready` has returned."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        complaints, complain = os.pipe()
        os.set_blocking(complaints, False)
        with theirs, os.fdopen(complain, "wb"):
            try:
                process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-P", "-s", "-m", module, json.dumps(dataclasses.asdict(limits))),
                    stdin=theirs.fileno(),
                    stdout=DEVNULL,
                    stderr=complain,
                    env=_environment(),
                    start_new_session=True,  # an interrupt at the terminal is the proxy's business
                )
            except BaseException:
                ours.close()
                os.close(complaints)
                raise
        return cls(process, ours, complaints, limits.stall_seconds)

    async def ready(self) -> None:
        """Wait until the process takes jobs; Broken when it does not come up."""
        kind, _ = await self._receive()
        if kind != wire.READY:
            raise WorkerBroken(f"a worker began with {kind!r}")
        self.idle = True

    def kill(self) -> None:
        """End the process and its group at once; who waits for it learns it by the end of the socket."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: nothing but a zombie
            os.killpg(self.process.pid, signal.SIGKILL)  # `process.kill` may reap it, and asyncio waits in vain

    def close(self) -> None:
        """`kill`, and give back the descriptors: nobody may be waiting for the process."""
        self.kill()
        if self.expiry is not None:
            self.expiry.cancel()
        self._sock.close()
        if self._complaints >= 0:
            os.close(self._complaints)
            self._complaints = -1

    async def ended(self) -> None:
        """Wait until the process has been reaped."""
        await self.process.wait()

    def alive(self) -> bool:
        """Whether an idle worker still holds its end of the socket, and is silent."""
        try:
            self._sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def run(self, job: Mapping[str, Any], source: Source | None, chunks: Chunks) -> AsyncGenerator[bytes]:
        """The job's output as it comes. Failed or Broken; and whatever `chunks` raises."""
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
        """The socket of an idle worker is empty, so that the small first frame always fits."""
        by_descriptor = isinstance(source, int)
        frame = wire.pack(wire.JOB, json.dumps({**job, "by_descriptor": by_descriptor}).encode())
        try:
            socket.send_fds(self._sock, [frame], [source] if isinstance(source, int) else [])
        except (BlockingIOError, BrokenPipeError, ConnectionResetError) as error:
            raise WorkerBroken("a worker takes no job") from error

    async def _feed(self, piece: memoryview) -> None:
        frame = wire.pack(wire.INPUT, piece) if piece else wire.pack(wire.INPUT_END)
        await self._in_time(asyncio.get_running_loop().sock_sendall(self._sock, frame))

    async def _receive(self) -> tuple[bytes, bytes]:
        loop = asyncio.get_running_loop()
        try:
            while (frame := self._unpacker.next()) is None:
                data = await self._in_time(loop.sock_recv(self._sock, wire.MAX_PAYLOAD))
                if not data:
                    raise WorkerBroken(f"a worker died: {self._last_words()}")
                self._unpacker.feed(data)
        except ValueError as error:
            raise WorkerBroken(f"a worker sent {error}") from error
        return frame

    async def _in_time(self, step: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._stall_seconds):
                return await step
        except TimeoutError as error:
            raise WorkerBroken("a worker hung") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise WorkerBroken(f"a worker died: {self._last_words()}") from error

    def _last_words(self) -> str:
        with contextlib.suppress(BlockingIOError):
            return os.read(self._complaints, _COMPLAINT_BYTES).decode(errors="replace").strip()
        return ""


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path)}


class WorkerPool:
    """At most `size` workers, one job each, and at most `queue` callers who wait for one.

    A stream holds its worker from its first byte to its last, so a pool that transcodes live answers wants to be larger
    than one that probes uploads. Belongs to one event loop. Costs nothing until the first job starts the first worker.
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
        """`keep` idle workers outlive `idle_seconds`."""
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
        #: Held while a process comes into being, so that `aclose` overlooks none.
        self._spawning = asyncio.Lock()
        self._starting: set[Worker] = set()
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def workers(self) -> int:
        """Processes that run now."""
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

        Raises what `fault` makes of a refusal's text; what `broken` makes of the log's text about a worker that died or
        hung, for which, too, `fault` blames the input when there is no `broken`; Overloaded when there is no worker.
        Leaving early (cancellation, `aclose`) kills the worker. `chunks` stays the caller's to close.
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
        """End every worker, also the busy ones, and wait until they are gone. Their callers get Overloaded."""
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
    async def _borrowed(self) -> AsyncIterator[Worker]:
        await self._take_slot()
        try:
            worker = self._idle_worker() or await self._start()
            self._busy.add(worker)
            try:
                yield worker
            finally:
                self._give_back(worker)
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

    def _idle_worker(self) -> Worker | None:
        while self._idle:
            worker = self._idle.pop()
            if worker.expiry is not None:
                worker.expiry.cancel()
            if worker.alive():
                return worker
            self._end(worker)
        return None

    async def _start(self) -> Worker:
        try:
            async with self._spawning:
                self._refuse_if_closed()
                worker = await Worker.start(self._module, self.limits)
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

    def _give_back(self, worker: Worker) -> None:
        if self._closed or not worker.idle:
            self._end(worker)
            return
        self._busy.discard(worker)
        self._idle.append(worker)
        worker.expiry = asyncio.get_running_loop().call_later(self._idle_seconds, self._expire, worker)

    def _expire(self, worker: Worker) -> None:
        if len(self._idle) > self._keep:
            self._end(worker)

    def _end(self, worker: Worker) -> None:
        self._busy.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        worker.close()
        task = asyncio.get_running_loop().create_task(worker.ended())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
