"""RIFF/WAVE: headers of streams, whose size is unknown and cannot be filled in later; files, and streams of files."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Final

from proxy.audio.container import Read

_UNKNOWN_SIZE: Final = 0xFFFFFFFF
#: Programs that stream write a size of this or more as a placeholder.
_PLACEHOLDER: Final = 0x7FFFFF00
_PCM: Final = 1
#: What the samples are follows in a longer format chunk.
_EXTENSIBLE: Final = 0xFFFE
_FORMAT_BYTES: Final = 16
_SUBFORMAT: Final = 24
_RATES: Final = range(4_000, 192_001)
#: Format tags of samples that all have the same size: PCM, floats, A-law, µ-law, and their extensible form.
_SAMPLES: Final = (1, 3, 6, 7, 0xFFFE)
#: The byte order of each kind of file. RF64 and BW64 have their 64-bit sizes in a chunk of its own.
_ORDERS: Final = {b"RIFF": "<", b"RF64": "<", b"BW64": "<", b"RIFX": ">"}
_MAX_CHUNKS: Final = 64
#: Longer headers are not parsed here.
MAX_HEADER: Final = 8192
#: The beginning of a file, or of one that begins at the end of the data.
_FILE: Final = re.compile(rb"RIFF.{4}WAVE|(?:RIFF.{4}W(?:AV?)?|RIFF.{0,4}|RIF?|R)\Z", re.DOTALL)
_FILE_BYTES: Final = 12


def header(rate: int) -> bytes:
    """44 bytes for s16le mono of unknown length. Both sizes are 0xFFFFFFFF, as in OpenAI's streams."""
    unknown = struct.pack("<I", _UNKNOWN_SIZE)
    form = struct.pack("<IHHIIHH", _FORMAT_BYTES, _PCM, 1, rate, rate * 2, 2, 16)
    return b"RIFF" + unknown + b"WAVEfmt " + form + b"data" + unknown


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header. ``offset`` is that of the first sample; ``size`` is in bytes, None if unknown."""

    rate: int
    channels: int
    offset: int
    size: int | None
    #: The samples are s16le of one or two channels.
    is_s16: bool = True
    #: Every player reads it: it is plain RIFF and does not say that there are no samples.
    is_plain: bool = field(default=True, compare=False)
    #: The format chunk, as far as every kind of file has it.
    form: bytes = field(default=b"", compare=False)


def parse(head: bytes) -> Header | None:
    """The header of a file that begins with `head`; None while it is incomplete. ValueError if it is none."""
    if len(head) >= 4 and _ORDERS.get(head[:4]) != "<":
        raise ValueError("not a little-endian wav file")
    position = 12
    form, is_plain, is_s16 = b"", head.startswith(b"RIFF"), False
    while len(head) >= position + 8:
        name, size = struct.unpack_from("<4sI", head, position)
        position += 8
        if name == b"data":
            if not form:
                raise ValueError("data before fmt")
            _, channels, rate = struct.unpack_from("<HHI", form)
            known = size if 0 < size < _PLACEHOLDER else None
            return Header(rate, channels, position, known, is_s16, is_plain and size > 0, form)
        if name == b"fmt ":
            if len(head) < position + max(size, _FORMAT_BYTES):
                return None
            form = head[position : position + _FORMAT_BYTES]
            tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", form)
            if tag == _EXTENSIBLE and size >= _SUBFORMAT + 2:
                is_plain = False
                (tag,) = struct.unpack_from("<H", head, position + _SUBFORMAT)
            is_s16 = (tag, bits) == (_PCM, 16) and channels in (1, 2) and rate in _RATES
        position += size + size % 2
    return None


def endless(head: bytes) -> bytes:
    """The same header, for samples of unknown length. ``head`` ends with it."""
    unknown = struct.pack("<I", _UNKNOWN_SIZE)
    return b"RIFF" + unknown + head[8:-4] + unknown


def is_one_file(behind: bytes) -> bool:
    """Whether what follows the samples is metadata: no other file, and no more samples than the header says."""
    return len(behind) < 4 or (_is_name(behind[:4]) and _FILE.search(behind) is None)


def _is_name(name: bytes) -> bool:
    """Of a chunk."""
    return name.strip(b" _").isalnum()


class Samples:
    """Takes the samples out of a stream: of one file, or of several of the same kind in a row.

    Servers that speak a text sentence by sentence may send a whole file for each. As in files, a size that is not
    followed by the end or by another chunk is wrong.
    """

    def __init__(self, header: Header) -> None:
        """``header`` is that of the first file, and does not come again."""
        self._header = header
        #: Bytes of samples; None: up to the next file.
        self._left = header.size
        #: Bytes of other chunks.
        self._skip = 0
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """Raises ValueError if a file of another kind follows."""
        data, self._rest = self._rest + data, b""
        samples = b""
        while data:
            if self._skip:
                data, self._skip = data[self._skip :], max(0, self._skip - len(data))
            elif self._left:
                samples += data[: self._left]
                data, self._left = data[self._left :], max(0, self._left - len(data))
            elif self._left is None:
                file = _FILE.search(data)
                place = len(data) if file is None else file.start()
                samples += data[:place]
                data = data[place:]
                if len(data) < _FILE_BYTES:
                    break
                self._left = 0
            elif len(data) < _FILE_BYTES or (behind := self._next_chunk(data)) is None:
                break
            else:
                data = behind
        self._rest = data
        return samples

    def end(self) -> bytes:
        """What seemed to be the beginning of a file."""
        return self._rest if self._left is None else b""

    def _next_chunk(self, data: bytes) -> bytes | None:
        """What follows a header; None while that is incomplete."""
        name, size = struct.unpack_from("<4sI", data)
        if _FILE.match(data):
            header = parse(data)
            if header is None:
                if len(data) > MAX_HEADER:
                    raise ValueError("the header is too long")
                return None
            if header.form != self._header.form:
                raise ValueError("the samples change midway")
            self._left = header.size
            return data[header.offset :]
        if _is_name(name):
            self._skip = 8 + size + size % 2
        else:
            self._left = None
        return data


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
    return claimed if len(following) < 4 or _is_name(following) else rest
