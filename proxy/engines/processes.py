"""Pools of engine processes: `proxy.audio.pool` with the errors of engines."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from proxy.audio.pool import WorkerPool
from proxy.engines.refusal import to_error
from proxy.errors import UpstreamError


class EnginePool(WorkerPool):
    """Processes that run an engine."""

    def submit(self, job: Mapping[str, Any], chunks: AsyncIterator[bytes] | None = None) -> AsyncGenerator[bytes]:
        """The pieces that the process writes, uncut.

        Raises the error with which the process refuses the job, Overloaded if all processes are busy, UpstreamError if
        the process dies or hangs, and the exceptions of `chunks`. Ending early kills the process.
        """
        return self.run(job, fault=to_error, broken=_failed, chunks=chunks)


def _failed(detail: str) -> UpstreamError:
    return UpstreamError("The local engine failed. Please try again.", code="engine_failed", detail=detail)
