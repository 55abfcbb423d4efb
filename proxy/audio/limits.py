"""The resources that a job on untrusted audio may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a worker process. The defaults suit uploads of a few hundred megabytes."""

    #: Seconds of audio that one job may decode: a malicious file of a few kilobytes can contain days.
    decoded_seconds: float = 4 * 3600.0
    channels: int = 8
    rate: int = 192_000
    #: CPU seconds of one job. The kernel kills a worker that exceeds them.
    cpu_seconds: int = 120
    #: A worker that sends nothing for so many seconds during its turn is killed.
    stall_seconds: float = 30.0
    #: Address space of a worker. Python and FFmpeg take about 160 MiB of it. Not enforced on macOS.
    memory_bytes: int = 512 * 1024 * 1024
    #: Bytes of a stream that is read to its end before it is decoded.
    held_bytes: int = 64 * 1024 * 1024
