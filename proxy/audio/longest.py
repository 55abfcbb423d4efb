"""How long an upload can be at most, from a few bytes of it: most need not be measured to know that a limit holds.

Headers are believed here. One that claims too little only costs the vendor's own refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from proxy.audio import wav
from proxy.audio.container import Read

_HEAD: Final = 4096
_TAIL: Final = 65_536
_MAX_BOXES: Final = 32
#: The lowest bit rate of MPEG audio is 8 kbit/s.
_MP3_BYTES_PER_SECOND: Final = 1000
_OPUS_RATE: Final = 48_000
#: Milliseconds. A block's time is relative to its cluster's, in 16 bits with a sign.
_MAX_BLOCK_TIME: Final = 32_768
_CLUSTER: Final = b"\x1f\x43\xb6\x75"
_CLUSTER_TIME: Final = 0xE7
_MILLISECOND_SCALE: Final = b"\x2a\xd7\xb1\x83\x0f\x42\x40"


def longest(read: Read, size: int, container: str | None) -> float | None:
    """Seconds; None if only a measurement tells."""
    bound = _BOUNDS.get(container or "")
    return bound(read, size) if bound is not None else None


def _mp3(read: Read, size: int) -> float:
    return size / _MP3_BYTES_PER_SECOND


def _ogg(read: Read, size: int) -> float | None:
    """Opus only: the last page has the number of samples up to its end."""
    if b"OpusHead" not in read(64, 0):
        return None
    tail = read(_TAIL, max(0, size - _TAIL))
    place = tail.rfind(b"OggS\x00")
    position = int.from_bytes(tail[place + 6 : place + 14], "little", signed=True) if place >= 0 else 0
    return position / _OPUS_RATE if position > 0 else None


def _flac(read: Read, size: int) -> float | None:
    head = read(26, 0)
    rate, samples = int.from_bytes(head[18:21], "big") >> 4, int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF
    return samples / rate if head.startswith(b"fLaC") and rate and samples else None


def _mp4(read: Read, size: int) -> float | None:
    """The header of the movie, unless it is in fragments, which come later."""
    place, seconds = 0, None
    for _ in range(_MAX_BOXES):
        head = read(48, place)
        if len(head) < 8:
            return seconds
        length, name = int.from_bytes(head[:4], "big"), head[4:8]
        start = 16 if length == 1 else 8
        length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - place
        if name == b"moof" or length < start:
            return None
        if name == b"moov" and head[start + 4 : start + 8] == b"mvhd":
            seconds = _mvhd(read(40, place + start + 8))
        place += length
    return None


def _mvhd(box: bytes) -> float | None:
    long = box[:1] == b"\x01"
    scale = int.from_bytes(box[20:24] if long else box[12:16], "big")
    duration = int.from_bytes(box[24:32] if long else box[16:20], "big")
    return duration / scale if scale and duration else None


def _webm(read: Read, size: int) -> float | None:
    """The time of the last cluster, and what a block in it may add."""
    if _MILLISECOND_SCALE not in read(_HEAD, 0):
        return None
    tail = read(_TAIL, max(0, size - _TAIL))
    place = tail.rfind(_CLUSTER) + len(_CLUSTER)
    if place < len(_CLUSTER) or place + 20 > len(tail):
        return None
    place += 9 - tail[place].bit_length()  # the size of the cluster, in one to eight bytes
    if tail[place] != _CLUSTER_TIME:
        return None
    end = place + 2 + (tail[place + 1] & 0x7F)
    return (int.from_bytes(tail[place + 2 : end], "big") + _MAX_BLOCK_TIME) / 1000


_BOUNDS: Final[Mapping[str, Callable[[Read, int], float | None]]] = {
    "wav": wav.seconds,
    "mp3": _mp3,
    "ogg": _ogg,
    "flac": _flac,
    "m4a": _mp4,
    "mp4": _mp4,
    "3gp": _mp4,
    "webm": _webm,
}
