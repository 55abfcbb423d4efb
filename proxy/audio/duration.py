"""Measures how long audio is while it passes, from its frame headers, without decoding or storing it.

Unreadable bytes are not counted. Counting never delays or stops the audio.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

#: kbit/s by index: MPEG 1 in layers III and II, then MPEG 2 and 2.5, which have lower rates.
_LAYER_3: Final = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_LAYER_2: Final = (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
_LOW: Final = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_RATES: Final = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_AAC_RATES: Final = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
)  # fmt: skip
_OPUS_RATE: Final = 48_000
#: After so many mp3 frames in a row with the same bit rate, the rest is assumed to have it, too.
_SAME_RATE_FRAMES: Final = 4
_WAV_HEAD: Final = 4096


class DurationCounter(Protocol):
    """Receives all of the audio, in pieces of any size."""

    @property
    def seconds(self) -> float | None: ...

    def feed(self, data: bytes) -> None: ...


class Pcm:
    """s16le, mono."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._size = 0

    @property
    def seconds(self) -> float:
        return self._size / (2 * self._rate)

    def feed(self, data: bytes) -> None:
        self._size += len(data)


class Wav:
    """Uses the byte rate, because the length in the header is often a placeholder."""

    def __init__(self) -> None:
        self._head = b""
        self._size = 0
        self._data: tuple[int, int] | None = None

    @property
    def seconds(self) -> float | None:
        if self._data is None:
            return None
        offset, byte_rate = self._data
        return max(0, self._size - offset) / byte_rate

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._data is None and len(self._head) < _WAV_HEAD:
            self._head = (self._head + data)[:_WAV_HEAD]
            self._data = _wav_data(self._head)


def _wav_data(head: bytes) -> tuple[int, int] | None:
    """The offset of the samples, and bytes per second."""
    place, byte_rate = 12, 0
    while place + 8 <= len(head):
        name, size = head[place : place + 4], int.from_bytes(head[place + 4 : place + 8], "little")
        if name == b"data":
            return (place + 8, byte_rate) if byte_rate else None
        if name == b"fmt " and place + 20 <= len(head):
            byte_rate = int.from_bytes(head[place + 16 : place + 20], "little")
        place += 8 + size + size % 2
    return None


#: How often the expected frame may be missing, in all and before the first frame. After that, the stream is assumed to
#: be something else.
_MISSES = 16
_MISSES_FIRST = 2


class _Frames(ABC):
    """Walks from frame to frame. ``HEAD``: bytes of a frame that are needed to know its size and seconds."""

    HEAD = 4

    def __init__(self) -> None:
        #: Bytes up to the next frame, and the part of its header that has arrived.
        self._skip = 0
        self._rest = b""
        self._total = 0.0
        self._misses = 0

    @property
    def seconds(self) -> float | None:
        return self._total if self._total and self._misses < _MISSES else None

    def feed(self, data: bytes) -> None:
        if self._misses >= _MISSES:
            return
        if self._skip >= len(data) + len(self._rest):
            self._skip -= len(data)
            return
        data, self._rest = self._rest + data, b""
        place, end = self._skip, len(data) - self.HEAD
        while place <= end:
            found = self.frame(data, place)
            if found is None:
                self._misses += 1
                if self._misses >= (_MISSES if self._total else _MISSES_FIRST):
                    self._misses = _MISSES
                    return
                sync = data.find(0xFF, place + 1)
                place = sync if sync >= 0 else len(data)
            else:
                place += found[0]
                self._total += found[1]
        self._rest = data[place:]
        self._skip = max(0, place - len(data))

    @abstractmethod
    def frame(self, data: bytes, place: int) -> tuple[int, float] | None:
        """Bytes and seconds of the frame that begins there; None if there is no frame."""


class Aac(_Frames):
    """AAC in ADTS: 1,024 samples per frame."""

    HEAD = 6

    def frame(self, data: bytes, place: int) -> tuple[int, float] | None:
        return adts_frame(data, place)


def adts_frame(data: bytes, place: int) -> tuple[int, float] | None:
    """Bytes and seconds of the frame that begins there; None if there is no frame. Six bytes must have arrived."""
    rate = data[place + 2] >> 2 & 15
    if data[place] != 0xFF or data[place + 1] & 0xF6 != 0xF0 or rate >= len(_AAC_RATES):
        return None
    size = (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5
    return (size, 1024 / _AAC_RATES[rate]) if size >= 7 else None


class Mp3(_Frames):
    """MPEG audio. If the first frames have the same bit rate, the rest is counted by it, at next to no cost."""

    #: Enough for the size of an ID3 tag; every frame is longer.
    HEAD = 10

    def __init__(self) -> None:
        super().__init__()
        self._same_rate = 0
        self._bit_rate = 0
        self._size = 0

    @property
    def seconds(self) -> float | None:
        if self._is_constant:
            return (self._total + self._size * 8 / self._bit_rate) or None
        return super().seconds

    @property
    def _is_constant(self) -> bool:
        return self._same_rate >= _SAME_RATE_FRAMES

    def feed(self, data: bytes) -> None:
        if self._is_constant:
            self._size += len(data)
        else:
            super().feed(data)

    def frame(self, data: bytes, place: int) -> tuple[int, float] | None:
        if self._is_constant:
            # The rest of the piece in which the bit rate turned out to be constant.
            self._size += len(data) - place
            return len(data) - place, 0.0
        if data[place] == 0x49 and data[place : place + 3] == b"ID3":
            return _id3(data, place), 0.0
        found = mpeg_frame(data, place)
        if found is None:
            return None
        size, seconds, bit_rate = found
        if b"Xing" in data[place : place + 64]:
            self._same_rate = -(1 << 60)  # the encoder marked it as having a variable bit rate
        self._same_rate = self._same_rate + 1 if bit_rate == self._bit_rate or self._same_rate < 0 else 1
        self._bit_rate = bit_rate
        return size, seconds


def _id3(data: bytes, place: int) -> int:
    size = 0
    for byte in data[place + 6 : place + 10]:
        size = size << 7 | byte & 0x7F
    return 10 + size


def mpeg_frame(data: bytes, place: int) -> tuple[int, float, int] | None:
    """Bytes, seconds and bits per second of the frame; None if there is no frame. Three bytes must have arrived."""
    if data[place] != 0xFF or data[place + 1] & 0xE0 != 0xE0:
        return None
    version, layer = data[place + 1] >> 3 & 3, data[place + 1] >> 1 & 3
    index, rate_index = data[place + 2] >> 4, data[place + 2] >> 2 & 3
    if version == 1 or layer not in (1, 2) or index in (0, 15) or rate_index == 3:
        return None
    rate = _MP3_RATES[version][rate_index]
    kilobits = (_LAYER_3 if layer == 1 else _LAYER_2)[index] if version == 3 else _LOW[index]
    samples = 576 if layer == 1 and version != 3 else 1152
    size = samples // 8 * kilobits * 1000 // rate + (data[place + 2] >> 1 & 1)
    return size, samples / rate, kilobits * 1000


class Opus:
    """Opus in Ogg: the last page has the number of 48 kHz samples up to its end."""

    def __init__(self) -> None:
        self._rest = b""
        self._samples = 0

    @property
    def seconds(self) -> float | None:
        return self._samples / _OPUS_RATE or None

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        place = data.rfind(b"OggS")
        while place >= 0:
            if place + 14 <= len(data):
                (position,) = struct.unpack_from("<q", data, place + 6)
                if 0 < position < 1 << 40:  # -1: no packet ends on the page
                    self._samples = position
                    break
            place = data.rfind(b"OggS", 0, place)
        self._rest = data[-13:]


class Flac:
    """The number of the last frame, times the samples per frame, which are the same in all frames but the last."""

    def __init__(self) -> None:
        self._head = b""
        self._rest = b""
        self._rate = self._block = 0
        self._frames = 0

    @property
    def seconds(self) -> float | None:
        return self._frames * self._block / self._rate if self._rate and self._frames else None

    def feed(self, data: bytes) -> None:
        if not self._rate:
            self._head += data
            if len(self._head) < 42:
                return
            data, self._head = self._head, b""
            self._block = int.from_bytes(data[10:12], "big")
            self._rate = int.from_bytes(data[18:21], "big") >> 4
        data = self._rest + data
        place = data.rfind(b"\xff\xf8")
        while place >= 0 and (number := _flac_frame(data[place : place + 16])) is None:
            place = data.rfind(b"\xff\xf8", 0, place)
        if place >= 0:
            self._frames = max(self._frames, (number or 0) + 1)
        self._rest = data[-15:]


def _flac_frame(head: bytes) -> int | None:
    """The number of the frame; None if the checksum shows that it is not a frame."""
    if len(head) < 6:
        return None
    length = 1 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length()
    number = head[4] if length == 1 else head[4] & (0x7F >> length)
    for byte in head[5 : 4 + length]:
        number = number << 6 | byte & 0x3F
    end = 4 + length
    end += {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    return number if end < len(head) and _crc8(head[:end]) == head[end] else None


def _crc8(data: bytes) -> int:
    """Polynomial 0x07, as in frame headers."""
    checksum = 0
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum << 1 ^ 0x07) & 0xFF if checksum & 0x80 else checksum << 1
    return checksum


_COUNTERS: Final[dict[str, Callable[[], DurationCounter]]] = {
    "wav": Wav,
    "mp3": Mp3,
    "aac": Aac,
    "opus": Opus,
    "flac": Flac,
}


def counter(format: str, rate: int) -> DurationCounter | None:
    """``rate`` is that of pcm. None if the format cannot be counted."""
    if format == "pcm":
        return Pcm(rate)
    counter_class = _COUNTERS.get(format)
    return counter_class() if counter_class is not None else None


class Counted:
    """Passes audio on and counts it."""

    __slots__ = ("_chunks", "_counter")

    def __init__(self, chunks: AsyncIterator[bytes], counter: DurationCounter) -> None:
        self._chunks = chunks
        self._counter = counter

    def __aiter__(self) -> Counted:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._chunks.__anext__()
        self._counter.feed(chunk)
        return chunk
