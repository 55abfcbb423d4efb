"""What the workers of one port have counted, in a folder that they share: whichever is scraped answers for all.

Each worker has a number and a file of that number, which it writes anew now and then, and before it is scraped. One
that takes the place of a dead worker has its number, and counts on from where its file ends: a count never goes back.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from proxy.metrics import Snapshot, added, counted, decoded, encoded

#: Seconds after which a worker that has written nothing is taken for dead: its counts stay, its levels go.
SILENCE = 10.0
_TIME = struct.Struct("d")


@dataclass(frozen=True, slots=True)
class WorkerSlot:
    """Of one worker among those that share the folder."""

    folder: Path
    number: int


class WorkerMetrics:
    """The files, as one worker sees them. ``clock`` is one that all processes of the machine share."""

    def __init__(self, place: WorkerSlot, clock: Callable[[], float] = time.monotonic) -> None:
        self._own = place.folder / str(place.number)
        self._folder = place.folder
        self._clock = clock
        found = _read(self._own)
        #: What those before it counted.
        self._inherited = encoded(counted(found[1])) if found is not None else encoded({})

    def put_up(self, live: Snapshot) -> None:
        """Write down what this worker and those before it have counted. Raises OSError."""
        self._write(self._whole(live))

    def total(self, live: Snapshot) -> Snapshot:
        """What all workers amount to. It is written down before it is told, so that whoever tells next knows it."""
        mine = self._whole(live)
        # A full disk must not take away the metrics as well; the next `put_up` tells of it.
        with contextlib.suppress(OSError):
            self._write(mine)
        return added(chain((mine,), self._others()))

    def _whole(self, live: Snapshot) -> Snapshot:
        return added(iter((live, decoded(self._inherited))))

    def _write(self, mine: Snapshot) -> None:
        draft = self._own.with_suffix(".draft")
        draft.write_bytes(_TIME.pack(self._clock()) + encoded(mine))
        draft.replace(self._own)

    def _others(self) -> Iterator[Snapshot]:
        for path in sorted(self._folder.glob("*")):
            if path == self._own or path.suffix or (found := _read(path)) is None:
                continue
            when, snapshot = found
            yield snapshot if self._clock() - when < SILENCE else counted(snapshot)


def _read(path: Path) -> tuple[float, Snapshot] | None:
    """When it was written, and what it holds; None where there is nothing to be read."""
    try:
        content = path.read_bytes()
        return _TIME.unpack_from(content)[0], decoded(content[_TIME.size :])
    except (OSError, ValueError, struct.error):
        return None
