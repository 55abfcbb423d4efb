from __future__ import annotations

import subprocess
import sys

import pytest

from proxy.audio import formats
from tests.audio import sounds

MP3 = b"\xff\xf3\x84\xc4"


@pytest.mark.parametrize(
    ("first_bytes", "expected"),
    [
        (b"ID3\x04\0\0\0\0\0\0", "mp3"),
        (MP3, "mp3"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\0\0\0\0" + MP3, "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"\xff\xf9\x50\x80", "aac"),
        (b"OggS" + bytes(24) + b"OpusHead", "opus"),
        (b"OggS" + bytes(2), "opus"),
        (b"OggS" + bytes(24) + b"\x01vorbis", "ogg"),
        (b"fLaC\0\0\0\x22", "flac"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", None),
        (b"\0\0\0\x20ftypM4A ", "mp4"),
        (b"\x1a\x45\xdf\xa3\x9f", "webm"),
        (b"FORM\0\0\0\0AIFFCOMM", "aiff"),
        (b'{"error": {"message": "no"}}', "json"),
        (b'\xef\xbb\xbf\n  [{"x": 1}]', "json"),
        (b"<!DOCTYPE html><html>", "html"),
        (b"", None),
        (b"\xff", None),
        (b"{\x01\x12\0[\0\0\0", None),
        (b"\xff\xff\xff\xff\xfe\xff\xff\xff", None),
        (b"ffconcat version 1.0\nfile 'x'\n", None),
        (b"#EXTM3U\n", None),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", None),
    ],
)
def test_sniff(first_bytes: bytes, expected: str | None) -> None:
    assert formats.sniff(first_bytes) == expected


@pytest.mark.parametrize("name", sounds.FILES)
def test_sniff_knows_every_file_that_encoders_write(name: str) -> None:
    found = formats.sniff(sounds.file(name, sounds.pcm(0.2)))
    assert found is not None
    assert found in name.replace("m4a", "mp4")


def test_pcm_that_begins_softly_is_nothing_else() -> None:
    soft = range(-512, 512)
    found = {formats.sniff(first.to_bytes(2, "little", signed=True) * 3 + bytes(64)) for first in soft}
    assert found == {None}


def test_content_types_are_those_of_the_six_speech_formats() -> None:
    assert [formats.content_type(name) for name in ("mp3", "opus", "aac", "flac", "wav", "pcm")] == [
        *("audio/mpeg", "audio/opus", "audio/aac", "audio/flac", "audio/wav", "audio/pcm")
    ]
    with pytest.raises(KeyError):
        formats.content_type("ogg")


@pytest.mark.parametrize("module", ["audio.formats", "render.transcripts", "audio.codec", "audio.pool", "audio.probe"])
def test_the_proxy_itself_never_loads_ffmpeg(module: str) -> None:
    code = f"import sys, proxy.{module}; print('av' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
