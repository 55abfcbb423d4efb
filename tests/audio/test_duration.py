"""Seconds counted from the frames that pass, against the length that was encoded."""

from __future__ import annotations

import io
import random

import av
import pytest

from proxy.audio.duration import counter

RATE = 24_000


def encoded(format: str, seconds: float, **options: str) -> bytes:
    """A tone with some noise."""
    muxer, codec, rate = {
        "mp3": ("mp3", "libmp3lame", RATE),
        "aac": ("adts", "aac", RATE),
        "opus": ("ogg", "libopus", 48_000),
        "flac": ("flac", "flac", RATE),
        "wav": ("wav", "pcm_s16le", RATE),
    }[format]
    chance, buffer = random.Random(1), io.BytesIO()
    with av.open(buffer, "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono", options=options)
        samples = int(seconds * rate)
        for start in range(0, samples, 1024):
            size = min(1024, samples - start)
            frame = av.AudioFrame(format="s16", layout="mono", samples=size)
            frame.sample_rate, frame.pts = rate, start
            data = b"".join(chance.randrange(-2000, 2000).to_bytes(2, "little", signed=True) for _ in range(size))
            frame.planes[0].update(data + bytes(frame.planes[0].buffer_size - len(data)))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def counted(format: str, data: bytes, sizes: list[int]) -> float | None:
    chance, sound, place = random.Random(2), counter(format, RATE), 0
    assert sound is not None
    while place < len(data):
        size = chance.choice(sizes)
        sound.feed(data[place : place + size])
        place += size
    return sound.seconds


@pytest.mark.parametrize("sizes", [[8192], [1, 2, 3, 13, 700], [1 << 20]])
@pytest.mark.parametrize("seconds", [0.5, 3.1])
@pytest.mark.parametrize("format", ["mp3", "aac", "opus", "flac", "wav"])
def test_every_format_in_pieces_of_any_size(format: str, seconds: float, sizes: list[int]) -> None:
    # Encoders fill their last frames, and mp3's begins with frames of its own.
    assert counted(format, encoded(format, seconds), sizes) == pytest.approx(seconds, abs=0.15)


def test_a_bit_rate_that_varies() -> None:
    assert counted("mp3", encoded("mp3", 4.0, compression_level="0", q="5"), [999]) == pytest.approx(4.0, abs=0.15)


def test_pcm_is_exact() -> None:
    assert counted("pcm", bytes(48_001), [7]) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("format", ["mp3", "aac", "opus", "flac", "wav"])
def test_nonsense_counts_as_little_and_breaks_nothing(format: str) -> None:
    chance = random.Random(3)
    for junk in (bytes(50_000), b"\xff" * 50_000, chance.randbytes(50_000), b"RIFF", b"OggS", b"fLaC" + bytes(60)):
        found = counted(format, junk, [1, 100, 4096])
        assert found is None or found >= 0


def test_a_format_that_is_not_counted() -> None:
    assert counter("webm", RATE) is None
    assert counter("", RATE) is None


@pytest.mark.parametrize("format", ["mp3", "aac"])
def test_what_is_something_else_is_left_alone(format: str) -> None:
    """Looking for a frame at each byte that may begin one would cost more than the call."""
    strange = counter(format, 24_000)
    assert strange is not None
    for _ in range(3):
        strange.feed(b"\xff\x00" * 4096)
        assert strange.seconds is None
