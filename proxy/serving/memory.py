"""How a worker process manages its memory."""

from __future__ import annotations

import contextlib
import ctypes
import gc

#: New container objects between two garbage collections; Python's default is 700.
GARBAGE_THRESHOLD = 5_000
#: From glibc's malloc.h; other C libraries have no mallopt.
M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1
#: Bytes. Pieces of uploads come from the heap, and this much free memory stays at its end.
MMAP_THRESHOLD, TRIM_THRESHOLD = 4 << 20, 16 << 20


def tune_memory() -> None:
    """Configure garbage collection and malloc; call it once everything that lives as long as the process exists.

    Calls leave few reference cycles behind, so garbage collections can be rarer. By default glibc gives each thread an
    arena of its own, which keeps the memory that uploads have freed; a single one is smaller and faster. It also maps
    each large piece separately, and the system has to zero its pages each time: a third of the cost of an upload.
    """
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(M_ARENA_MAX, 1)
        libc.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        libc.mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD)
