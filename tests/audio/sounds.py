"""Sounds and files made when a test needs them; the repository holds no binaries."""

from __future__ import annotations

import array
import io
import math
import struct
from collections.abc import AsyncIterator, Iterator
from typing import cast

import av
from av.audio.stream import AudioStream


def pcm(seconds: float, rate: int = 24_000) -> bytes:
    """A wavering tone of 440 Hz, s16le mono."""
    count = round(seconds * rate)
    return array.array(
        "h", (int(9000 * math.sin(2765 * i / rate) * (1.2 + math.sin(19 * i / rate)) / 2.2) for i in range(count))
    ).tobytes()


def pieces(data: bytes, size: int = 4800) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


async def arriving(data: bytes, size: int = 4800) -> AsyncIterator[bytes]:
    for piece in pieces(data, size):
        yield piece


def wav(samples: bytes, *, rate: int = 24_000, channels: int = 1, size: int | None = None) -> bytes:
    """`size`: what both headers claim instead of the truth."""
    told = len(samples) if size is None else size
    riff = struct.pack("<I", min(told + 36, 0xFFFFFFFF))
    form = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * 2 * channels, 2 * channels, 16)
    return b"RIFF" + riff + b"WAVEfmt " + form + b"data" + struct.pack("<I", told) + samples


class _Pipe(io.RawIOBase):
    """A file that cannot be sought, like the network connection of a recording browser."""

    def __init__(self) -> None:
        self.written = bytearray()

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.written += data
        return len(data)


#: name → (muxer, encoder, rate, can be sought, muxer options)
FILES = {
    "mp3 without a header": ("mp3", "libmp3lame", 24_000, False, {"write_xing": "0", "id3v2_version": "0"}),
    "mp3 with ID3 and Xing": ("mp3", "libmp3lame", 44_100, True, {}),
    "flac": ("flac", "flac", 44_100, True, {}),
    "ogg opus": ("ogg", "libopus", 48_000, True, {}),
    "ogg vorbis": ("ogg", "vorbis", 44_100, True, {}),
    "m4a": ("ipod", "aac", 44_100, True, {}),
    "mp4 in fragments": ("mp4", "aac", 44_100, False, {"movflags": "frag_keyframe+empty_moov"}),
    "webm without a duration": ("webm", "libopus", 48_000, False, {}),
    "aac": ("adts", "aac", 44_100, False, {}),
    "aiff": ("aiff", "pcm_s16be", 44_100, True, {}),
    "caf": ("caf", "pcm_s16be", 44_100, True, {}),
    "wav of floats": ("wav", "pcm_f32le", 44_100, True, {}),
    "wav of mulaw": ("wav", "pcm_mulaw", 8_000, True, {}),
}


def file(name: str, samples: bytes, *, channels: str = "stereo") -> bytes:
    """A file of FILES that holds `samples` (24 kHz mono s16le)."""
    muxer, encoder, rate, seekable, options = FILES[name]
    target = io.BytesIO() if seekable else _Pipe()
    with av.open(target, "w", format=muxer, options=options) as container:
        container.metadata["title"] = "Ein Ton"
        stream = cast(AudioStream, container.add_stream(encoder, rate=rate, layout=channels, options={"strict": "-2"}))
        resampler = av.AudioResampler(format=stream.format, layout=channels, rate=rate)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.sample_rate = 24_000
        frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return target.getvalue() if isinstance(target, io.BytesIO) else bytes(target.written)


def aac_silence(seconds: float) -> bytes:
    """ADTS at 8 kHz mono: one silent frame of 128 ms and a few bytes, again and again."""
    target = _Pipe()
    with av.open(target, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 8000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        for _ in range(8):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    frames = []
    data = bytes(target.written)
    while data:
        length = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
        frames.append(data[:length])
        data = data[length:]
    return frames[-2] * round(seconds * 8000 / 1024)


def flac_silence(seconds: int) -> bytes:
    """8 kHz mono in blocks of 8 seconds: some ten bytes each."""
    target = io.BytesIO()
    with av.open(target, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono", options={"frame_size": "65535"})
        frame = av.AudioFrame(format="s16", layout="mono", samples=64_000)
        frame.sample_rate = 8000
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        for _ in range(seconds // 8):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return target.getvalue()


def _box(name: bytes, *parts: bytes) -> bytes:
    content = b"".join(parts)
    return struct.pack(">I", 8 + len(content)) + name + content


def mov_that_names(path: bytes, samples: int) -> bytes:
    """A QuickTime file without media of its own: its track's samples (s16le, 24 kHz) lie in the file `path`."""
    alias = b"".join(
        (
            *(bytes(4), bytes(10), b"\0", bytes(27), bytes(12), b"\0", bytes(63), bytes(16)),
            struct.pack(">hh", -1, -1),
            bytes(16),
            struct.pack(">HH", 2, len(path) + len(path) % 2) + path + b"\0" * (len(path) % 2),
            struct.pack(">hH", -1, 0),
        )
    )
    dref = _box(b"dref", struct.pack(">II", 0, 1), _box(b"alis", alias.ljust(180, b"\0")))
    entry = _box(b"sowt", bytes(6), struct.pack(">HHHIHHHHI", 1, 0, 0, 0, 1, 16, 0, 0, 24_000 << 16))
    stbl = _box(
        b"stbl",
        _box(b"stsd", struct.pack(">II", 0, 1), entry),
        _box(b"stts", struct.pack(">IIII", 0, 1, samples, 1)),
        _box(b"stsc", struct.pack(">IIIII", 0, 1, 1, samples, 1)),
        _box(b"stsz", struct.pack(">III", 0, 2, samples)),
        _box(b"stco", struct.pack(">III", 0, 1, 0)),
    )
    minf = _box(b"minf", _box(b"smhd", bytes(8)), _box(b"dinf", dref), stbl)
    mdia = _box(
        b"mdia",
        _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, 24_000, samples, 0, 0)),
        _box(b"hdlr", bytes(4), b"mhlrsoun", bytes(12), b"\0"),
        minf,
    )
    tkhd = _box(b"tkhd", struct.pack(">IIIIII", 1, 0, 0, 1, 0, samples), bytes(60))
    mvhd = _box(b"mvhd", struct.pack(">IIIII", 0, 0, 0, 24_000, samples), bytes(80))
    return _box(b"ftyp", b"qt  ", bytes(4), b"qt  ") + _box(b"moov", mvhd, _box(b"trak", tkhd, mdia))
