"""How long a wav file is, by its bytes and whatever its headers claim."""

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
