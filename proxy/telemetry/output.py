"""Standard output and standard error whose readers cannot stop the server, however slow they are."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TextIO
from weakref import WeakSet

import structlog

#: Characters that wait for a reader; further text is dropped. A line of the log has about 1,000.
MAX_WAITING = 4_000_000
#: Seconds between two writes, so that a busy log does not cost a thread switch per line.
PAUSE = 0.05
#: Seconds that the last lines have at the end of the process.
LAST_SECONDS = 2.0
#: A write of so many bytes to a pipe is not mixed with those of other processes.
_PIPE_BYTES = select.PIPE_BUF


@contextlib.contextmanager
def without_waiting() -> Iterator[None]:
    """Whatever this process and its forks print or log meanwhile goes through an `Output`."""
    earlier = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Output(earlier[0]), Output(earlier[1])
    try:
        yield
    finally:
        drain()
        sys.stdout, sys.stderr = earlier


def drain() -> None:
    """Wait until everything is written, but not long."""
    limit = time.monotonic() + LAST_SECONDS
    while not all(output.is_written for output in _outputs) and time.monotonic() < limit:
        time.sleep(PAUSE / 2)


def dropped_lines() -> int:
    """Lines and other pieces of text that were dropped because nobody read the output of this process."""
    return sum(output.dropped for output in _outputs)


class Output(io.TextIOBase):
    """A text stream that never blocks and never fails: a thread writes what is queued, and a full queue drops text.

    After a fork, the child has a thread and an empty queue of its own.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """``stream`` is None if the process was started without one."""
        self._stream = stream
        self._reset()
        _outputs.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._texts: list[str] = []
        self._waiting = 0
        self.dropped = 0
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        with self._lock:
            if self._waiting + len(text) > MAX_WAITING:
                self.dropped += 1
                return len(text)
            self._texts.append(text)
            self._waiting += len(text)
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()
        return len(text)

    @property
    def is_written(self) -> bool:
        return not self._waiting

    def flush(self) -> None:
        """Never waits."""

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("fileno")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return "utf-8"

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="output", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        reported = 0
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                texts, self._texts = self._texts, []
            for group in _grouped(texts):
                lost = self._write("".join(group).encode("utf-8", "backslashreplace"))
                with self._lock:
                    self._waiting -= sum(map(len, group))
                    if lost:
                        self.dropped += len(group)
                        reported += len(group)
            if self.dropped > reported:
                count, reported = self.dropped - reported, self.dropped
                structlog.get_logger().warning("output was dropped because nobody read it", lines=count)
            time.sleep(PAUSE)

    def _write(self, content: bytes) -> bool:
        """Whether it was lost: the reader is gone, or the disk is full. There is no place left to say so."""
        try:
            descriptor = self.fileno()
            while content:
                try:
                    content = content[os.write(descriptor, content) :]
                except BlockingIOError:
                    select.select((), (descriptor,), ())
        except (OSError, ValueError):
            return True
        return False


def _grouped(texts: Iterable[str]) -> Iterator[list[str]]:
    """What fits into one write; a longer text is alone."""
    group: list[str] = []
    size = 0
    for text in texts:
        length = len(text.encode("utf-8", "backslashreplace"))
        if group and size + length > _PIPE_BYTES:
            yield group
            group, size = [], 0
        group.append(text)
        size += length
    if group:
        yield group


_outputs: WeakSet[Output] = WeakSet()


def _after_fork() -> None:
    for output in _outputs:
        output._reset()


os.register_at_fork(after_in_child=_after_fork)
