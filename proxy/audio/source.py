"""An upload: a descriptor of an unlinked file, or bytes; never a path or a name."""

from __future__ import annotations

import os
from functools import partial
from typing import Final, TypeAlias

from proxy.audio.container import container_of
from proxy.errors import InvalidAudio

#: An open descriptor, whose offset is neither used nor changed, or the content itself if it is small.
Source: TypeAlias = int | bytes | bytearray | memoryview

#: What can be decoded: the containers of uploads, and ``opus``, as `formats.sniff` calls that of answers.
READABLE: Final = (
    "3gp", "aac", "aiff", "amr", "caf", "flac", "m4a", "mp3", "mp4", "mpeg", "ogg", "opus", "wav", "webm",
)  # fmt: skip
#: Of these, those of uploads.
READABLE_CONTAINERS: Final = tuple(name for name in READABLE if name != "opus")


def read_at(source: Source, size: int, offset: int) -> bytes:
    """At most `size` bytes from `offset`."""
    if isinstance(source, int):
        return os.pread(source, size, offset)
    return bytes(memoryview(source).cast("B")[offset : offset + size])


def container(source: Source) -> str:
    """The container, from the bytes. Raises InvalidAudio if it is none that can be decoded."""
    if not read_at(source, 1, 0):
        raise InvalidAudio("The file is empty.")
    name = container_of(partial(read_at, source))
    if name not in READABLE:
        raise InvalidAudio(f"The file is not audio in a supported format: {', '.join(READABLE)}.")
    return name
