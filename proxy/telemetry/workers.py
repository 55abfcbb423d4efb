"""Merges the metrics of workers that share a port: whichever worker is scraped reports the metrics of all.

Each worker has a number, and a file of that name in a common folder, which it rewrites regularly and before each
scrape. A worker that replaces a dead one has its number and continues the counts in its file, so no count decreases.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from proxy.metrics import Snapshot, counts_of, decode, encode, merged

#: A worker that has written nothing for so many seconds is considered dead: its counts stay, its levels are dropped.
DEAD_SECONDS = 10.0
_TIME = struct.Struct("d")


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """The place of one worker among those that share the folder."""

    folder: Path
    number: int


class WorkerMetrics:
    """The files, for one worker. All processes of the machine must share the ``clock``."""

    def __init__(self, slot: WorkerSlot, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = slot.folder / str(slot.number)
        self._folder = slot.folder
        self._clock = clock
        earlier = _read(self._own)
        #: The counts of the workers that had this number before.
        self._inherited = encode(counts_of(earlier[1])) if earlier is not None else encode({})

    def publish(self, live: Snapshot) -> None:
        """Write this worker's file. Raises OSError."""
        self._write(self._with_inherited(live))

    def total(self, live: Snapshot) -> Snapshot:
        """The metrics of all workers. Writes this worker's file first, so that the next one to answer includes it."""
        own = self._with_inherited(live)
        # A full disk must not stop metrics, too; the next `publish` reports it.
        with contextlib.suppress(OSError):
            self._write(own)
        return merged(chain((own,), self._others()))

    def _with_inherited(self, live: Snapshot) -> Snapshot:
        return merged(iter((live, decode(self._inherited))))

    def _write(self, own: Snapshot) -> None:
        draft = self._own.with_suffix(".draft")
        draft.write_bytes(_TIME.pack(self._clock()) + encode(own))
        draft.replace(self._own)

    def _others(self) -> Iterator[Snapshot]:
        for path in sorted(self._folder.glob("*")):
            if path == self._own or path.suffix or (file := _read(path)) is None:
                continue
            written, snapshot = file
            yield snapshot if self._clock() - written < DEAD_SECONDS else counts_of(snapshot)


def _read(path: Path) -> tuple[float, Snapshot] | None:
    """When the file was written, and its content; None if it cannot be read."""
    try:
        content = path.read_bytes()
        return _TIME.unpack_from(content)[0], decode(content[_TIME.size :])
    except (OSError, ValueError, struct.error):
        return None
