"""A pool of engine processes: `proxy.audio.pool`, with errors that fit an engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

from proxy.audio.pool import WorkerPool
from proxy.engines.refusal import to_error
from proxy.errors import UpstreamError


class EnginePool(WorkerPool):
    """Processes that run an engine's program."""

    def ask(self, job: Mapping[str, Any], chunks: AsyncIterator[bytes] | None = None) -> AsyncGenerator[bytes]:
        """The pieces that the child writes, as it wrote them.

        Raises what the child refuses with, Overloaded when all is busy, UpstreamError when the process died or hung,
        and whatever `chunks` raises. Leaving early kills the process.
        """
        return self.run(job, fault=to_error, broken=_failed, chunks=chunks)


def _failed(detail: str) -> UpstreamError:
    return UpstreamError("The local engine failed. Please try again.", code="engine_failed", detail=detail)
