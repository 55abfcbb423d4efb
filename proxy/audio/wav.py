"""RIFF/WAVE headers: of streams, whose size is unknown and cannot be filled in later, and of files."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from proxy.audio.container import Read

_UNKNOWN_SIZE: Final = 0xFFFFFFFF
#: Programs that stream write a size of this or more as a placeholder.
_PLACEHOLDER: Final = 0x7FFFFF00
_PCM: Final = 1
_FORMAT_BYTES: Final = 16
_RATES: Final = range(4_000, 192_001)
#: Format tags of samples that all have the same size: PCM, floats, A-law, µ-law, and their extensible form.
_SAMPLES: Final = (1, 3, 6, 7, 0xFFFE)
#: The byte order of each kind of file. RF64 and BW64 have their 64-bit sizes in a chunk of its own.
_ORDERS: Final = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">"}
_MAX_CHUNKS: Final = 64


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


def parse(head: bytes) -> PcmHeader | None:
    """The header of a file that begins with `head`; None while it is incomplete. ValueError if it is not s16le PCM."""
    position = 12
    form: tuple[int, int] | None = None
    while len(head) >= position + 8:
        name, size = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"data":
            if form is None:
                raise ValueError("data before fmt")
            return PcmHeader(*form, position, size if 0 < size < _PLACEHOLDER else None)
        if name == b"fmt ":
            if len(head) < position + _FORMAT_BYTES:
                return None
            tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", head, position)
            if tag != _PCM or bits != 16 or channels not in (1, 2) or rate not in _RATES:
                raise ValueError("not s16le of one or two channels")
            form = rate, channels
        position += size + size % 2
    return None


def seconds(read: Read, size: int) -> float | None:
    """How long a file of uncompressed samples is, by its bytes; None if it holds something else, or nothing."""
    head = read(12, 0)
    order = _ORDERS.get(head[:4])
    if order is None or head[8:] != b"WAVE":
        return None
    place, byte_rate, long_size = 12, 0, None
    for _ in range(_MAX_CHUNKS):
        chunk = read(24, place)
        if len(chunk) < 8:
            return None
        name, length = struct.unpack_from(f"{order}4sI", chunk)
        if name == b"data":
            claimed = long_size if long_size is not None and length == _UNKNOWN_SIZE else length
            return _data_bytes(read, place + 8, size, claimed) / byte_rate or None if byte_rate else None
        if name == b"fmt " and len(chunk) == 24:
            tag, channels, rate, _, block, bits = struct.unpack_from(f"{order}HHIIHH", chunk, 8)
            if tag not in _SAMPLES or block != channels * bits // 8:
                return None
            byte_rate = rate * block
        elif name == b"ds64" and len(chunk) == 24:
            (long_size,) = struct.unpack_from("<Q", chunk, 16)
        place += 8 + length + length % 2
    return None


def _data_bytes(read: Read, start: int, size: int, claimed: int) -> int:
    """The bytes of samples. A size that is not followed by the end or by another chunk is wrong."""
    rest = max(0, size - start)
    if not 0 < claimed < rest:
        return rest
    following = read(4, start + claimed + claimed % 2)
    return claimed if len(following) < 4 or following.strip(b" _").isalnum() else rest
