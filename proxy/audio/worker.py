"""The program of the workers that decode and encode audio with FFmpeg. `pool` starts it; `channel` limits it.

A worker has no open file except the upload. While a job runs, the descriptor limit is used up, so it can open nothing.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from av.error import FFmpegError

from proxy.audio import media
from proxy.audio.channel import Channel, JobRefused, serve
from proxy.audio.limits import Limits

#: The socket, /dev/null, the pipe to which Python writes tracebacks, and the upload.
_DESCRIPTORS: Final = 4


class InputStream:
    """The chunks that the proxy sends, as a file without random access."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        """At most `size` bytes, as soon as there are any; b"" at the end."""
        if not self._rest:
            self._rest = next(self._chunks, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


class UploadFile:
    """A file with its own position: the descriptor's offset is shared with the proxy, which may use it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        self._position = 0

    def read(self, size: int) -> bytes:
        """At most `size` bytes from the current position."""
        data = os.pread(self._descriptor, size, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Returns the new position."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """The current position."""
        return self._position


def _whole(chunks: Iterator[bytes], limits: Limits) -> io.BytesIO:
    whole = io.BytesIO()
    for chunk in chunks:
        whole.write(chunk)
        if whole.tell() > limits.held_bytes:
            raise JobRefused(f"The audio has more than {limits.held_bytes} bytes.")
    whole.seek(0)
    return whole


def _upload(job: dict[str, Any], channel: Channel, descriptor: int) -> media.Readable:
    if job["by_descriptor"]:
        return UploadFile(descriptor)
    return io.BytesIO(b"".join(channel.input()))


def _probe(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    info = media.measure(_upload(job, channel, descriptor), job["container"], limits)
    channel.write(json.dumps(info).encode())


def _decode(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    target = media.encoder("pcm", job["rate"], channel.write)
    for frame in media.decode(_upload(job, channel, descriptor), job["container"], limits):
        target.feed(frame)
    target.finish()


def _target(job: dict[str, Any], channel: Channel) -> media.FrameSink:
    encoder = media.encoder(job["target"], job["rate"], channel.write)
    return encoder if job["tempo"] == 1.0 else media.Stretcher(job["tempo"], job["rate"], encoder)


def _transcode(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    target = _target(job, channel)
    # In mp4, what is needed to read the samples often follows them.
    is_live = job["container"] != "mp4"
    source = InputStream(channel.input()) if is_live else _whole(channel.input(), limits)
    for frame in media.decode(source, job["container"], limits, live=is_live):
        target.feed(frame)
    target.finish()


def _encode(job: dict[str, Any], channel: Channel, descriptor: int, limits: Limits) -> None:
    target = _target(job, channel)
    reader = media.PcmReader(job["source_rate"], job["source_channels"])
    for data in channel.input():
        if (frame := reader.feed(data)) is not None:
            target.feed(frame)
    target.finish()


_JOBS: Final[dict[str, Callable[[dict[str, Any], Channel, int, Limits], None]]] = {
    "probe": _probe,
    "decode": _decode,
    "transcode": _transcode,
    "encode": _encode,
}


def _do(job: dict[str, Any], channel: Channel, limits: Limits) -> None:
    """Do one job. Invalid audio is refused, with any error of FFmpeg; any other failure ends the process."""
    if "decoded_seconds" in job:
        limits = dataclasses.replace(limits, decoded_seconds=job["decoded_seconds"])
    descriptor = channel.descriptor()
    try:
        _JOBS[job["op"]](job, channel, descriptor, limits)
    except FFmpegError as error:
        raise JobRefused("The file cannot be read as audio; it may be damaged or incomplete.") from error
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    media.warm_up()
    serve(_do, descriptors=_DESCRIPTORS)
