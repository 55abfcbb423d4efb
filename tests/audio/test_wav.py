"""How long a wav file is, by its bytes and whatever its headers claim; streams of several files."""

from __future__ import annotations

import struct

import pytest

from proxy.audio import wav
from tests.audio import sounds

RATE, SECONDS = 8000, 3
SAMPLES = bytes(2 * RATE * SECONDS)
LIST = b"LIST" + struct.pack("<I", 20) + b"INFOISFT" + struct.pack("<I", 8) + b"Lavf.x\0\0"


def file(kind: bytes, claimed: int, *, ds64: int | None = None, before: bytes = b"", behind: bytes = b"") -> bytes:
    order = ">" if kind == b"RIFX" else "<"
    long_sizes = b"" if ds64 is None else struct.pack("<4sIQQQI", b"ds64", 28, ds64, ds64, ds64, 0)
    form = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)
    data = struct.pack(f"{order}4sI", b"data", claimed)
    return kind + b"\xff" * 4 + b"WAVE" + long_sizes + before + form + data + SAMPLES + behind


def seconds(content: bytes) -> float | None:
    return wav.seconds(lambda size, offset: content[offset : offset + size], len(content))


@pytest.mark.parametrize("claimed", [0, 9, 1000, len(SAMPLES), 10**6, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", [b"RIFF", b"RIFX"])
def test_a_wrong_size(kind: bytes, claimed: int) -> None:
    assert seconds(file(kind, claimed)) == SECONDS


@pytest.mark.parametrize("ds64", [None, 0, 9, len(SAMPLES), 1 << 33, (1 << 63) - 1, (1 << 64) - 1])
@pytest.mark.parametrize("kind", [b"RF64", b"BW64"])
def test_a_wrong_size_of_64_bits(kind: bytes, ds64: int | None) -> None:
    assert seconds(file(kind, 0xFFFFFFFF, ds64=ds64)) == SECONDS


def test_other_chunks_are_no_sound() -> None:
    bext = b"bext" + struct.pack("<I", 100_000) + bytes(100_000)
    assert seconds(file(b"RIFF", len(SAMPLES), before=LIST + bext, behind=LIST * 10)) == SECONDS
    assert seconds(file(b"BW64", 0xFFFFFFFF, ds64=len(SAMPLES), before=bext, behind=b"axml" + LIST)) == SECONDS
    assert seconds(file(b"RIFF", len(SAMPLES), behind=b"id3 " + LIST)) == SECONDS


@pytest.mark.parametrize("name", ["wav of floats", "wav of mulaw"])
def test_other_samples(name: str) -> None:
    assert seconds(sounds.file(name, sounds.pcm(2))) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0AVI " + SAMPLES,
        b"RIFF\0\0\0\0WAVE" + b"data" + SAMPLES,
        b"RIFF\0\0\0\0WAVE" + (b"JUNK" + bytes(4)) * 10_000 + file(b"RIFF", 0)[12:],
        file(b"RIFF", 0)[: -len(SAMPLES)],
        file(b"RIFF", 0).replace(struct.pack("<HHI", 1, 1, RATE), struct.pack("<HHI", 0x55, 1, RATE)),
        file(b"RIFF", 0).replace(struct.pack("<HHI", 1, 1, RATE), struct.pack("<HHI", 1, 2, RATE)),
    ],
)
def test_what_is_not_uncompressed_is_for_a_decoder(content: bytes) -> None:
    assert seconds(content) is None


# -- several files in a row --------------------------------------------------------------------------------------------

TONE = sounds.pcm(0.05)
FIRST = sounds.wav(TONE)


def samples_of(content: bytes, size: int) -> bytes:
    header = wav.parse(content)
    assert header is not None
    samples = wav.Samples(header)
    rest = content[header.offset :]
    return b"".join(samples.feed(rest[at : at + size]) for at in range(0, len(rest), size)) + samples.end()


@pytest.mark.parametrize("size", [1, 7, 999, 100_000])
@pytest.mark.parametrize(
    ("content", "times"),
    [
        (FIRST, 1),
        (FIRST * 3, 3),
        ((FIRST + LIST) * 3, 3),
        (sounds.wav(TONE, size=0) * 3, 3),
        (sounds.wav(TONE, size=0xFFFFFFFF) * 2 + FIRST * 2, 4),
        (sounds.wav(TONE, size=10), 1),
        (sounds.wav(b"") + FIRST, 1),
        (FIRST + FIRST[:30], 1),
    ],
)
def test_the_samples_of_files_in_a_row(content: bytes, times: int, size: int) -> None:
    assert samples_of(content, size) == TONE * times


@pytest.mark.parametrize("end", [b"R", b"RIFF", b"RIFF\0\0", b"RIFF\0\0\0\0WAV"])
@pytest.mark.parametrize("size", [1, 999])
def test_samples_may_look_like_the_beginning_of_a_file(end: bytes, size: int) -> None:
    content = sounds.wav(TONE + b"RIFFRIFF" + end, size=0)
    assert samples_of(content, size) == TONE + b"RIFFRIFF" + end


def test_files_in_a_row_must_be_of_one_kind() -> None:
    for other in (sounds.wav(TONE, rate=16_000), sounds.wav(TONE * 2, channels=2), sounds.file("wav of mulaw", TONE)):
        with pytest.raises(ValueError, match="midway"):
            samples_of(FIRST + other, 999)
    with pytest.raises(ValueError, match="too long"):
        samples_of(FIRST + FIRST[:12] + b"JUNK" + bytes(4) * 10_000, 999)
