"""What the engine processes have in common: frames over the socket on standard input, one job at a time, few rights.

The other end is `proxy.audio.pool`, the frames are those of `proxy.audio.wire`. A child never holds a key.
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
from typing import Any, Final

from proxy.audio import wire
from proxy.audio.limits import Limits

_DESCRIPTORS: Final = 64

Job = Callable[[dict[str, Any], "Channel"], None]


class Gone(Exception):
    """The proxy closed the socket."""


class Refused(Exception):
    """The job cannot be done. ``kind`` is a name that `proxy.engines.processes` knows; the text is fit for a client."""

    def __init__(self, kind: str, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.param = param

    def payload(self) -> bytes:
        return json.dumps({"kind": self.kind, "message": str(self), "param": self.param}).encode()


class Channel:
    """The child's end of the socket: blocking, whole frames. Each ``write`` of at most 64 KiB arrives as one piece."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unpacker = wire.Unpacker()

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame from the proxy; Gone at the end."""
        while (frame := self._unpacker.next()) is None:
            data = self._sock.recv(wire.MAX_PAYLOAD)
            if not data:
                raise Gone
            self._unpacker.feed(data)
        return frame

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        self._sock.sendall(wire.pack(kind, payload))

    def write(self, data: bytes) -> None:
        self.send(wire.DATA, data)

    def input(self) -> Iterator[bytes]:
        """The job's input, piece by piece, each asked for when it is needed."""
        while True:
            self.send(wire.WANT)
            kind, payload = self.receive()
            if kind != wire.INPUT:
                return
            yield payload


def serve(jobs: dict[str, Job]) -> None:
    """Do jobs, chosen by their ``op``, until the proxy closes the socket. What no job refuses ends the process."""
    limits = Limits(**json.loads(sys.argv[1]))
    channel = Channel(socket.socket(fileno=0))
    _restrict(limits)
    with contextlib.suppress(Gone, BrokenPipeError, ConnectionResetError):
        channel.send(wire.READY)
        while True:
            _, payload = channel.receive()
            _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + limits.cpu_seconds)
            job = json.loads(payload)
            try:
                jobs[job["op"]](job, channel)
            except Refused as refusal:
                channel.send(wire.FAILED, refusal.payload())
            else:
                channel.send(wire.DONE)


def _restrict(limits: Limits) -> None:
    os.set_blocking(2, False)  # a full pipe of complaints must not stop the work
    _limit(resource.RLIMIT_AS, limits.memory_bytes, hard=True)
    _limit(resource.RLIMIT_CORE, 0, hard=True)
    _limit(resource.RLIMIT_FSIZE, 0, hard=True)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS, hard=True)


def _limit(kind: int, soft: int, *, hard: bool = False) -> None:
    """Lower one limit, as far as the platform has it."""
    _, ceiling = resource.getrlimit(kind)
    soft = soft if ceiling == resource.RLIM_INFINITY else min(soft, ceiling)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses some
        resource.setrlimit(kind, (soft, soft if hard else ceiling))
