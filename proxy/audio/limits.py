"""What one job on untrusted audio may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that every worker process keeps. The defaults suit uploads of a few hundred megabytes."""

    #: Seconds of audio that one job may decode; a bomb of a few kilobytes can hold days.
    decoded_seconds: float = 4 * 3600.0
    channels: int = 8
    rate: int = 192_000
    #: CPU seconds of one job. The kernel ends a worker that passes them.
    cpu_seconds: int = 120
    #: Seconds without any answer, while it is the worker's turn, after which it is killed.
    stall_seconds: float = 30.0
    #: Address space of a worker, of which Python and FFmpeg take about 160 MiB. Not enforced on macOS.
    memory_bytes: int = 512 * 1024 * 1024
