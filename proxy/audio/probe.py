"""Measures an upload without reading it into memory or decoding it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

from proxy.audio.pool import WorkerPool
from proxy.audio.source import Source, container
from proxy.errors import InvalidAudio


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The first audio stream. ``duration``: seconds, from the packets; None if they have no timestamps."""

    duration: float | None
    channels: int
    rate: int
    codec: str
    container: str


async def probe(pool: WorkerPool, file: Source) -> AudioInfo:
    """Raises InvalidAudio if it is not readable audio within the pool's limits, Overloaded if no worker is free."""
    job = {"op": "probe", "container": container(file)}
    async with contextlib.aclosing(pool.run(job, fault=InvalidAudio, source=file)) as answer:
        document = b"".join([part async for part in answer])
    return AudioInfo(**json.loads(document))
