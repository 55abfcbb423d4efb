"""CPU time and memory of a process and its descendants, from Linux's /proc. Without a process, figures are None."""

from __future__ import annotations

import contextlib
import os
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_IDLE = 0.05  # CPU seconds
_IDLE_WITHIN = 0.4
_MAX_SETTLING = 25.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name: state, parent, …; empty if there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether the process is running; a zombie is not."""
    return _stat(pid)[:1] not in ([], ["Z"])


def tree(root: int) -> list[int]:
    """The process and all its descendants."""
    children = defaultdict(list)
    for pid in (int(entry) for entry in os.listdir("/proc") if entry.isdigit()):
        if stat := _stat(pid):
            children[int(stat[1])].append(pid)
    found, todo = [], [root]
    while todo:
        found.append(todo.pop())
        todo += children[found[-1]]
    return found


def _cpu_seconds(root: int) -> float:
    return sum(int(stat[11]) + int(stat[12]) for pid in tree(root) if (stat := _stat(pid))) / _TICKS


def memory_mb(root: int | None, field: str = "VmRSS") -> float | None:
    """A field of /proc/PID/status, summed over the tree; VmHWM is the peak."""
    if root is None:
        return None
    kilobytes = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))
    return round(kilobytes / 1024, 1)


def _settle(root: int) -> None:
    """Wait until the proxy has finished the work of the previous step: wrk abandons requests when its time is up."""
    give_up = time.monotonic() + _MAX_SETTLING
    while time.monotonic() < give_up:
        before = _cpu_seconds(root)
        time.sleep(_IDLE_WITHIN)
        if _cpu_seconds(root) - before <= _IDLE:
            return


def _reset_peaks(root: int) -> None:
    for pid in tree(root):
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5")


@dataclass
class Usage:
    """The usage of one step; filled in at its end."""

    cpu_s: float | None = None
    cpu_share: float | None = None
    rss_peak_mb: float | None = None


@contextlib.contextmanager
def metered(root: int | None) -> Iterator[Usage]:
    """Measures what the proxy uses while the block runs. The block begins when the proxy is idle."""
    usage = Usage()
    if root is None:
        yield usage
        return
    _settle(root)
    _reset_peaks(root)
    cpu, began = _cpu_seconds(root), time.monotonic()
    yield usage
    seconds = time.monotonic() - began
    usage.cpu_s = round(_cpu_seconds(root) - cpu, 3)
    usage.cpu_share = round(usage.cpu_s / seconds, 3)
    usage.rss_peak_mb = memory_mb(root, "VmHWM")
