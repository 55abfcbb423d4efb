"""What an upload holds, without reading it into memory and without decoding it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

from proxy.audio.pool import WorkerPool
from proxy.audio.source import Source, container
from proxy.errors import InvalidAudio


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Of the first audio stream. ``duration`` in seconds, counted over the packets; None where they carry no times."""

    duration: float | None
    channels: int
    rate: int
    codec: str
    container: str


async def probe(pool: WorkerPool, file: Source) -> AudioInfo:
    """InvalidAudio for what is not readable audio within the pool's limits, Overloaded when there is no worker."""
    job = {"op": "probe", "container": container(file)}
    async with contextlib.aclosing(pool.run(job, fault=InvalidAudio, source=file)) as answer:
        document = b"".join([part async for part in answer])
    return AudioInfo(**json.loads(document))
