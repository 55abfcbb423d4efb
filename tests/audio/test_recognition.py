from __future__ import annotations

import random
from collections import Counter

import pytest

from proxy.audio import recognition
from proxy.audio.formats import SPEECH_FORMATS
from proxy.audio.recognition import DOCUMENT, EVENTS, UNKNOWN, recognized
from tests.audio import sounds
from tests.providers.sound import whole_sound


def found(data: bytes, expected: str, size: int) -> tuple[str, int]:
    """What is recognized if the data arrives in pieces, and after how many bytes."""
    for end in range(size, len(data) + size, size):
        if (result := recognized(data[:end], expected, is_whole=end >= len(data))) is not None:
            return result, min(end, len(data))
    raise AssertionError("undecided at the end")


@pytest.mark.parametrize("size", [1, 7, 100, 5000])
@pytest.mark.parametrize("expected", ["mp3", "aac", "wav", "pcm"])
def test_every_format_whatever_is_expected(expected: str, size: int) -> None:
    for name in sounds.FILES:
        result, _ = found(sounds.file(name, sounds.pcm(0.3)), expected, size)
        assert result in name.replace("m4a", "mp4")
    for name in SPEECH_FORMATS:
        assert found(whole_sound(name), expected, size)[0] == (UNKNOWN if name == "pcm" else name)


@pytest.mark.parametrize("size", [1, 500])
def test_pcm_is_nothing_else(size: int) -> None:
    """Random samples, and such as begin like a frame of mp3 or aac, like text, or like a file."""
    chance = random.Random(3)
    begins = [
        b"",
        b"\xff",
        b"\xff\xfb\x90",
        b"\xff\xf1\x50",
        b"{",
        b"<",
        b"data",
        b"ID3",
        b"Rr",
        b"\0\0\0\x18",
        b"\xef\xbb",
    ]
    results = Counter(
        found(begins[number % len(begins)] + chance.randbytes(2500), "pcm", size)[0] for number in range(2000)
    )
    assert results == {UNKNOWN: 2000}


def test_what_was_expected_is_known_by_its_first_bytes() -> None:
    mp3 = sounds.file("mp3 without a header", sounds.pcm(0.3))
    assert found(mp3, "mp3", 1) == ("mp3", 4)
    assert found(sounds.file("aac", sounds.pcm(0.3)), "aac", 1) == ("aac", 4)
    assert found(bytes(4000), "pcm", 1)[1] <= 4
    assert found(sounds.pcm(1)[2000:], "pcm", 1)[1] <= 8


def test_never_more_than_the_limit_is_needed() -> None:
    tag = b"ID3\x04\0\0\0\x7f\x7f\x7f" + bytes(100_000)
    wav = b"RIFF\xff\xff\xff\xffWAVELIST\xff\xff\0\0" + bytes(100_000)
    for data in (tag, wav, b" " * 100_000):
        assert found(data, "pcm", 1000)[1] <= recognition.MAX_BYTES + 1000


@pytest.mark.parametrize("expected", ["mp3", "pcm"])
@pytest.mark.parametrize("size", [1, 500])
@pytest.mark.parametrize(
    ("text", "result"),
    [
        (b'{"error":{"message":"x"}}', DOCUMENT),
        (b"\xef\xbb\xbf\r\n { }", DOCUMENT),
        (b'[{"loc": []}]', DOCUMENT),
        (b"<html>", DOCUMENT),
        (b"Bad Gateway\n", DOCUMENT),
        ('{"detail": "Schlüssel ungültig"}'.encode(), DOCUMENT),
        (b'data: {"type":"x"}\n\n', EVENTS),
        (b"data:[DONE]\n\n", EVENTS),
        (b": ping\n\n", EVENTS),
        (b"\n\nevent: error\ndata: {}\n\n", EVENTS),
        (b"retry: 100\n\n", EVENTS),
    ],
)
def test_text_is_no_audio(text: bytes, result: str, size: int, expected: str) -> None:
    assert found(text, expected, size)[0] == result
    assert found(text + b" " * 100, expected, size)[0] == result
    assert recognized(text, expected, may_be_text=False) == UNKNOWN
