"""A pool of engine processes: `proxy.audio.pool` with another program in its workers, and errors that fit an engine."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import sys
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from proxy.audio import wire
from proxy.audio.limits import Limits
from proxy.audio.pool import Broken, Pool, Worker, _environment
from proxy.errors import BadRequest, NotInstalled, Overloaded, ProxyError, UnsupportedValue, UpstreamError

#: What a child may refuse a job with, by the ``kind`` of its `Refused`.
_REFUSALS: Final[Mapping[str, type[ProxyError]]] = MappingProxyType(
    {"BadRequest": BadRequest, "UnsupportedValue": UnsupportedValue, "NotInstalled": NotInstalled}
)


T = TypeVar("T")


class Begun(Generic[T]):
    """A stream whose first item is at hand. Close it on every path, read or not."""

    def __init__(self, first: T, rest: AsyncGenerator[T]) -> None:
        self._first = [first]
        self._rest = rest

    @classmethod
    async def of(cls, stream: AsyncGenerator[T]) -> Begun[T]:
        """Wait for the first item; whatever is raised instead has closed the stream."""
        try:
            return cls(await anext(stream), stream)
        except BaseException:
            await stream.aclose()
            raise

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        return self._first.pop() if self._first else await anext(self._rest)

    async def aclose(self) -> None:
        await self._rest.aclose()


class EnginePool(Pool):
    """At most `size` processes that run `module`. Belongs to one event loop; the first job starts the first process."""

    def __init__(self, module: str, *, size: int, queue: int, limits: Limits) -> None:
        super().__init__(size=size, queue=queue, limits=limits)
        self._module = module

    async def ask(self, job: Mapping[str, Any], chunks: AsyncIterator[bytes] | None = None) -> AsyncGenerator[bytes]:
        """The pieces that the child writes, as it wrote them.

        Raises what the child refuses with, Overloaded when all is busy, UpstreamError when the process died or hung,
        and whatever `chunks` raises. Leaving early kills the process.
        """
        async with contextlib.aclosing(self.run(job, fault=_fault, chunks=chunks)) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        """End every process, and wait until they are gone. Who waits for one learns it by the end of its socket."""
        self._closed = True
        for worker in list(self._idle):
            self._end(worker)
        busy = list(self._busy)
        for worker in busy:
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
        await asyncio.gather(*self._ending, *(worker.ended() for worker in busy))

    async def _start(self) -> Worker:
        try:
            worker = await _start(self._module, self.limits)
        except (Broken, OSError) as error:
            raise Overloaded("The local engine cannot start right now.", retry_after=5, detail=str(error)) from error
        if self._closed:
            self._end(worker)
            raise Overloaded("The server is shutting down.")
        return worker


def _fault(message: str, *, detail: str = "") -> ProxyError:
    """A child that broke comes with a detail, one that refused with a document for a message."""
    if detail:
        return UpstreamError("The local engine failed. Please try again.", code="engine_failed", detail=detail)
    refusal = json.loads(message)
    return _REFUSALS[refusal["kind"]](refusal["message"], param=refusal["param"])


async def _start(module: str, limits: Limits) -> Worker:
    """`Worker.start` for another module."""
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
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            os.close(complaints)
            raise
    worker = Worker(process, ours, complaints, limits.stall_seconds)
    try:
        kind, _ = await worker._receive()
        if kind != wire.READY:
            raise Broken(f"a worker began with {kind!r}")
    except BaseException:
        worker.kill()
        raise
    worker.idle = True
    return worker
