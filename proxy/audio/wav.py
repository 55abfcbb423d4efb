"""RIFF/WAVE headers of streams, whose size is unknown and cannot be filled in later."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

_UNKNOWN_SIZE: Final = 0xFFFFFFFF
#: Programs that stream write a size of this or more as a placeholder.
_PLACEHOLDER: Final = 0x7FFFFF00
_PCM: Final = 1
#: What the samples are follows in a longer format chunk.
_EXTENSIBLE: Final = 0xFFFE
_FORMAT_BYTES: Final = 16
_SUBFORMAT: Final = 24
_RATES: Final = range(4_000, 192_001)


def header(rate: int) -> bytes:
    """44 bytes for s16le mono of unknown length. Both sizes are 0xFFFFFFFF, as in OpenAI's streams."""
    unknown = struct.pack("<I", _UNKNOWN_SIZE)
    form = struct.pack("<IHHIIHH", _FORMAT_BYTES, _PCM, 1, rate, rate * 2, 2, 16)
    return b"RIFF" + unknown + b"WAVEfmt " + form + b"data" + unknown


@dataclass(frozen=True, slots=True)
class PcmHeader:
    """A parsed header. ``offset`` is that of the first sample; ``size`` is in bytes, None if unknown."""

    rate: int
    channels: int
    offset: int
    size: int | None
    #: Every player reads it: it is plain RIFF and does not say that there are no samples.
    is_plain: bool = field(default=True, compare=False)


def parse(head: bytes) -> PcmHeader | None:
    """The header of a file that begins with `head`; None while it is incomplete. ValueError if it is not s16le PCM."""
    position = 12
    form: tuple[int, int] | None = None
    is_plain = head.startswith(b"RIFF")
    while len(head) >= position + 8:
        name, size = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"data":
            if form is None:
                raise ValueError("data before fmt")
            return PcmHeader(*form, position, size if 0 < size < _PLACEHOLDER else None, is_plain and size > 0)
        if name == b"fmt ":
            if len(head) < position + max(size, _FORMAT_BYTES):
                return None
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, position)
            if tag == _EXTENSIBLE and size >= _SUBFORMAT + 2:
                is_plain = False
                (tag,) = struct.unpack_from("<H", head, position + _SUBFORMAT)
            if tag != _PCM or bits != 16 or channels not in (1, 2) or rate not in _RATES:
                raise ValueError("not s16le of one or two channels")
            form = rate, channels
        position += size + size % 2
    return None
