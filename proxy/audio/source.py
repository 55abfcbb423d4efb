"""An upload as its owner hands it over: a descriptor of an unlinked file, or bytes; never a path or a name."""

from __future__ import annotations

import os
from typing import Final, TypeAlias

from proxy.audio import formats
from proxy.errors import InvalidAudio

#: An open descriptor (its offset is neither used nor moved), or the content itself where that is small.
Source: TypeAlias = int | bytes | bytearray | memoryview

#: What `formats.sniff` may answer for a file that is to be opened.
READABLE: Final = ("aac", "aiff", "amr", "caf", "flac", "mp3", "mp4", "mpeg", "ogg", "opus", "wav", "webm")
_ID3_HEADER: Final = 10


def read_at(source: Source, size: int, offset: int) -> bytes:
    """At most `size` bytes from `offset` on."""
    if isinstance(source, int):
        return os.pread(source, size, offset)
    return bytes(memoryview(source).cast("B")[offset : offset + size])


def container(source: Source) -> str:
    """The container by the file's first bytes, never by its name or content type; InvalidAudio for anything unknown."""
    head = read_at(source, formats.SNIFF_BYTES, 0)
    if not head:
        raise InvalidAudio("The file is empty.")
    found = formats.sniff(head)
    if head.startswith(b"ID3") and len(head) >= _ID3_HEADER:
        found = formats.sniff(read_at(source, formats.SNIFF_BYTES, _behind_id3(head))) or found
    if found not in READABLE:
        raise InvalidAudio(f"The file is not audio in a format that is read here: {', '.join(READABLE)}.")
    return found


def _behind_id3(head: bytes) -> int:
    """Offset of what follows an ID3v2 tag: its size is four bytes of seven bits."""
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return _ID3_HEADER + size
