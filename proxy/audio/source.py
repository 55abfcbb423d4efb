"""An upload: a descriptor of an unlinked file, or bytes; never a path or a name."""

from __future__ import annotations

import os
from typing import Final, TypeAlias

from proxy.audio import formats
from proxy.errors import InvalidAudio

#: An open descriptor, whose offset is neither used nor changed, or the content itself if it is small.
Source: TypeAlias = int | bytes | bytearray | memoryview

#: The formats, as `formats.sniff` calls them, that can be decoded.
READABLE: Final = ("aac", "aiff", "amr", "caf", "flac", "mp3", "mp4", "mpeg", "ogg", "opus", "wav", "webm")
_ID3_HEADER: Final = 10


def read_at(source: Source, size: int, offset: int) -> bytes:
    """At most `size` bytes from `offset`."""
    if isinstance(source, int):
        return os.pread(source, size, offset)
    return bytes(memoryview(source).cast("B")[offset : offset + size])


def container(source: Source) -> str:
    """The container, from the first bytes and never from a name or content type. Raises InvalidAudio if unknown."""
    head = read_at(source, formats.SNIFF_BYTES, 0)
    if not head:
        raise InvalidAudio("The file is empty.")
    name = formats.sniff(head)
    if head.startswith(b"ID3") and len(head) >= _ID3_HEADER:
        name = formats.sniff(read_at(source, formats.SNIFF_BYTES, _behind_id3(head))) or name
    if name not in READABLE:
        raise InvalidAudio(f"The file is not audio in a supported format: {', '.join(READABLE)}.")
    return name


def _behind_id3(head: bytes) -> int:
    """The offset behind an ID3v2 tag, whose size is stored in four bytes of seven bits."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER + size
