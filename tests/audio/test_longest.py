"""The bound of a length that a few bytes give: never below the truth, and near it where headers say so."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest

from proxy.audio.container import container_of
from proxy.audio.longest import longest
from tests.audio import sounds

SECONDS = 8
READ_BYTES = 80_000


def bound_of(content: bytes) -> float | None:
    read = 0

    def read_at(size: int, offset: int) -> bytes:
        nonlocal read
        piece = content[offset : offset + size]
        read += len(piece)
        return piece

    container = container_of(read_at)
    read = 0
    seconds = longest(read_at, len(content), container)
    assert read < READ_BYTES
    return seconds


@pytest.mark.parametrize("name", sounds.FILES)
def test_no_file_is_longer_than_its_bound(name: str) -> None:
    seconds = bound_of(sounds.file(name, sounds.pcm(SECONDS)))
    assert seconds is None or seconds >= SECONDS * 0.99


@pytest.mark.parametrize("name", ["flac", "ogg opus", "m4a", "wav of floats", "wav of mulaw"])
def test_headers_tell_the_length(name: str) -> None:
    assert bound_of(sounds.file(name, sounds.pcm(SECONDS))) == pytest.approx(SECONDS, rel=0.05)


def test_the_bound_of_a_webm_is_less_than_a_minute_too_long() -> None:
    seconds = bound_of(sounds.file("webm without a duration", sounds.pcm(SECONDS)))
    assert seconds is not None
    assert SECONDS <= seconds < SECONDS + 60


@pytest.mark.parametrize("name", ["mp4 in fragments", "aac", "aiff", "caf", "ogg vorbis"])
def test_others_have_to_be_measured(name: str) -> None:
    assert bound_of(sounds.file(name, sounds.pcm(1))) is None


def big_endian(wav: bytes) -> bytes:
    """RIFX."""
    fields = struct.unpack("<IHHIIHH", wav[16:36])
    return b"RIFX" + wav[4:16] + struct.pack(">IHHIIHH", *fields) + wav[36:]


def with_chunk_before(wav: bytes, size: int) -> bytes:
    return wav[:12] + b"bext" + struct.pack("<I", size) + bytes(size) + wav[12:]


@pytest.mark.parametrize(
    "change",
    [
        lambda wav: b"RF64\xff\xff\xff\xff" + wav[8:],
        lambda wav: b"BW64\xff\xff\xff\xff" + wav[8:],
        big_endian,
        lambda wav: with_chunk_before(wav, 602),
    ],
)
def test_every_kind_of_wav(change: Callable[[bytes], bytes]) -> None:
    assert bound_of(change(sounds.wav(sounds.pcm(SECONDS)))) == pytest.approx(SECONDS, rel=0.05)


@pytest.mark.parametrize(
    "content",
    [
        b"RIFF\0\0\0\0WAVE",
        b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(16),
        with_chunk_before(sounds.wav(b""), 1 << 16),
        b"OggS\0" + bytes(23) + b"OpusHead",
        b"fLaC\0\0\0\x22" + bytes(40),
        struct.pack(">I", 16) + b"ftypM4A " + bytes(4),
        struct.pack(">I", 16) + b"ftypM4A " + bytes(4) + bytes(8),
        (struct.pack(">I", 16) + b"ftypM4A " + bytes(4)) * 1000,
        struct.pack(">I", 16) + b"ftypM4A " + bytes(4) + struct.pack(">I", 8) + b"moov",
        b"\x1a\x45\xdf\xa3" + bytes(100),
        b"\x1a\x45\xdf\xa3\x2a\xd7\xb1\x83\x0f\x42\x40" + b"\x1f\x43\xb6\x75" + bytes(40),
    ],
)
def test_headers_that_say_nothing_leave_it_to_a_measurement(content: bytes) -> None:
    assert bound_of(content) is None
