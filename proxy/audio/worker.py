"""The worker process: reads jobs from its standard input (a socket), one at a time, and never holds a key.

Before the first job it gives up what it does not need: address space, core dumps, writing files, and opening any:
while a job runs, its table of descriptors is full. Run as ``python -m proxy.audio.worker LIMITS`` by `pool`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import math
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, Final

from proxy.audio import media, wire
from proxy.audio.limits import Limits

#: Socket, /dev/null, the pipe for a last traceback, and the upload.
_DESCRIPTORS: Final = 4
_NULL: Final = 1


class Gone(Exception):
    """The proxy closed the socket."""


class Channel:
    """The worker's end of the socket: blocking frames, with a descriptor beside a job."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._unpacker = wire.Unpacker()
        self._descriptors: list[int] = []
        self._data = bytearray()

    def receive(self) -> tuple[bytes, bytes]:
        """The next frame from the proxy; Gone at the end."""
        while (frame := self._unpacker.next()) is None:
            data, descriptors, _, _ = socket.recv_fds(self._sock, wire.MAX_PAYLOAD, 1)
            self._descriptors += descriptors
            if not data:
                raise Gone
            self._unpacker.feed(data)
        return frame

    def descriptor(self) -> int:
        """The upload's descriptor; for a job without one a filler, so that no other file can be opened meanwhile."""
        return self._descriptors.pop() if self._descriptors else os.dup(_NULL)

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send one frame, after all data written so far."""
        self._sock.sendall(self._drain() + wire.pack(kind, payload))

    def write(self, data: bytes) -> None:
        """Gather output; it leaves before the next WANT, or when there is a good deal of it."""
        self._data += data
        if len(self._data) >= wire.MAX_PAYLOAD:
            self._sock.sendall(self._drain())

    def want(self) -> bytes:
        """Ask for input: a chunk, or nothing at its end."""
        self.send(wire.WANT)
        kind, payload = self.receive()
        return payload if kind == wire.INPUT else b""

    def _drain(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        step = wire.MAX_PAYLOAD
        return b"".join(wire.pack(wire.DATA, data[start : start + step]) for start in range(0, len(data), step))


class InputStream:
    """The chunks that the proxy sends, as a file that cannot be sought."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._rest = b""
        self._ended = False

    def read(self, size: int) -> bytes:
        """At most `size` bytes, as soon as there are any; nothing at the end."""
        if not self._rest and not self._ended:
            self._rest = self._channel.want()
            self._ended = not self._rest
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class UploadFile:
    """A file at a position of its own: the descriptor's offset is shared with the proxy, which may use it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._position = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes from the position on."""
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position


def _upload(job: dict[str, Any], channel: Channel, descriptor: int) -> media.Readable:
    if job["by_descriptor"]:
        return UploadFile(descriptor)
    return io.BytesIO(b"".join(iter(channel.want, b"")))


def _probe(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    info = media.measure(_upload(job, channel, descriptor), job["container"], limits)
    channel.write(json.dumps(info).encode())


def _decode(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    target = media.encoder("pcm", job["rate"], channel.write)
    for frame in media.decode(_upload(job, channel, descriptor), job["container"], limits):
        target.feed(frame)
    target.finish()


def _transcode(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    target = media.encoder(job["target"], job["rate"], channel.write)
    for frame in media.decode(InputStream(channel), job["container"], limits, live=True):
        target.feed(frame)
    target.finish()


def _encode(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    target = media.encoder(job["target"], job["rate"], channel.write)
    reader = media.PcmReader(job["source_rate"], job["source_channels"])
    for data in iter(channel.want, b""):
        if (frame := reader.feed(data)) is not None:
            target.feed(frame)
    target.finish()


_JOBS: Final[dict[str, Callable[[dict[str, Any], Channel, int, Limits], None]]] = {
    "probe": _probe,
    "decode": _decode,
    "transcode": _transcode,
    "encode": _encode,
}


def _serve(job: dict[str, Any], channel: Channel, limits: Limits) -> None:
    """One job, from JOB to DONE or FAILED. What is not the audio's fault ends the process."""
    _limit(resource.RLIMIT_CPU, math.ceil(time.process_time()) + limits.cpu_seconds)
    if "decoded_seconds" in job:
        limits = dataclasses.replace(limits, decoded_seconds=job["decoded_seconds"])
    descriptor = channel.descriptor()
    try:
        _JOBS[job["op"]](job, channel, descriptor, limits)
    except media.Refused as refusal:
        channel.send(wire.FAILED, str(refusal).encode())
    else:
        channel.send(wire.DONE)
    finally:
        os.close(descriptor)


def _limit(kind: int, soft: int, *, hard: bool = False) -> None:
    """Lower one limit, as far as the platform has it."""
    _, ceiling = resource.getrlimit(kind)
    soft = soft if ceiling == resource.RLIM_INFINITY else min(soft, ceiling)
    with contextlib.suppress(OSError, ValueError):  # macOS refuses some
        resource.setrlimit(kind, (soft, soft if hard else ceiling))


def _restrict(limits: Limits) -> None:
    os.set_blocking(2, False)  # a full pipe of complaints must not stop the work
    os.closerange(3, 256)
    _limit(resource.RLIMIT_AS, limits.memory_bytes, hard=True)
    _limit(resource.RLIMIT_CORE, 0, hard=True)
    _limit(resource.RLIMIT_FSIZE, 0, hard=True)
    _limit(resource.RLIMIT_NOFILE, _DESCRIPTORS, hard=True)


def main() -> None:
    """Serve jobs until the proxy closes the socket."""
    limits = Limits(**json.loads(sys.argv[1]))
    channel = Channel(socket.socket(fileno=0))
    media.warm_up()
    _restrict(limits)
    with contextlib.suppress(Gone, BrokenPipeError, ConnectionResetError):
        channel.send(wire.READY)
        while True:
            _, job = channel.receive()
            _serve(json.loads(job), channel, limits)


if __name__ == "__main__":
    main()
