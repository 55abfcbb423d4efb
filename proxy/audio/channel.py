"""The worker's side of `pool`: receives jobs on standard input, which is a socket, one at a time.

A worker never has a key. Before the first job it limits itself: address space, core dumps, file sizes, descriptors.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from proxy.audio import wire
from proxy.audio.limits import Limits

_DEV_NULL: Final = 1
_STDERR: Final = 2


class ChannelClosed(Exception):
    """The proxy closed the socket."""


class JobRefused(Exception):
    """The job cannot be done. `WorkerPool.run` passes the text to `fault`."""


class Channel:
    """The worker's end of the socket: sends and receives frames, and the descriptor that comes with a job."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unpacker = wire.Unpacker()
        self._descriptors: list[int] = []
        self._data = bytearray()

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame from the proxy. Raises ChannelClosed at the end."""
        while (frame := self._unpacker.next()) is None:
            data, descriptors, _, _ = socket.recv_fds(self._sock, wire.MAX_PAYLOAD, 1)
            self._descriptors += descriptors
            if not data:
                raise ChannelClosed
            self._unpacker.feed(data)
        return frame

    def descriptor(self) -> int:
        """The upload's descriptor. A job without one gets a placeholder, so that it cannot open another file."""
        return self._descriptors.pop() if self._descriptors else os.dup(_DEV_NULL)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send one frame, after all data written so far."""
        self._sock.sendall(self._drain() + wire.pack(kind, payload))

    def write(self, data: bytes) -> None:
        """Buffer output. It is sent before the next frame of another kind, or when a frame is full."""
        self._data += data
        if len(self._data) >= wire.MAX_PAYLOAD:
            self._sock.sendall(self._drain())

    def write_piece(self, data: bytes) -> None:
        """Send at most 64 KiB of output now; it arrives as one piece."""
        self.send(wire.DATA, data)

    def input(self) -> Iterator[bytes]:
        """The job's input, piece by piece. Each piece is requested when it is needed."""
        while True:
            self.send(wire.WANT)
            kind, payload = self.receive()
            if kind != wire.INPUT:
                return
            yield payload

    def _drain(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        step = wire.MAX_PAYLOAD
        return b"".join(wire.pack(wire.DATA, data[start : start + step]) for start in range(0, len(data), step))


Job: TypeAlias = Callable[[dict[str, Any], Channel, Limits], None]


def serve(do: Job, *, descriptors: int) -> None:
    """Do jobs, with at most ``descriptors`` open files, until the proxy closes the socket.

    `do` raises JobRefused if the job itself is at fault. Any other exception ends the process.
    """
    limits = Limits(**json.loads(sys.argv[1]))
    channel = Channel(socket.socket(fileno=0))
    _restrict(limits, descriptors)
    with contextlib.suppress(ChannelClosed, BrokenPipeError, ConnectionResetError):
        channel.send(wire.READY)
        while True:
            _, job = channel.receive()
            _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + limits.cpu_seconds)
            try:
                do(json.loads(job), channel, limits)
            except JobRefused as refusal:
                channel.send(wire.FAILED, str(refusal).encode())
            else:
                channel.send(wire.DONE)


def _restrict(limits: Limits, descriptors: int) -> None:
    os.set_blocking(_STDERR, False)  # a full pipe must not block the worker
    os.closerange(_STDERR + 1, 256)
    _limit(resource.RLIMIT_AS, limits.memory_bytes, hard=True)
    _limit(resource.RLIMIT_CORE, 0, hard=True)
    _limit(resource.RLIMIT_FSIZE, 0, hard=True)
    _limit(resource.RLIMIT_NOFILE, descriptors, hard=True)


def _limit(kind: int, soft: int, *, hard: bool = False) -> None:
    """Lower one limit, if the platform supports it."""
    _, ceiling = resource.getrlimit(kind)
    soft = soft if ceiling == resource.RLIM_INFINITY else min(soft, ceiling)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses some
        resource.setrlimit(kind, (soft, soft if hard else ceiling))
