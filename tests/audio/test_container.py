"""What an upload is by its bytes, whatever precedes them and whatever it is called."""

from __future__ import annotations

import hashlib
import struct

import pytest

from proxy.audio.container import container_of
from tests.audio import sounds
from tests.fakes.samples import SPEECH

NOISE = hashlib.shake_128(b"noise").digest(40_000)
NAMES = {"ogg opus": "ogg", "ogg vorbis": "ogg", "m4a": "m4a", "mp4 in fragments": "mp4"}


def found(content: bytes) -> str | None:
    return container_of(lambda size, offset: content[offset : offset + size])


def id3(size: int, *, footer: bytes = b"") -> bytes:
    flags = b"\x10" if footer else b"\0"
    return b"ID3\x04\0" + flags + bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(size) + footer


def mp4(brand: bytes) -> bytes:
    return struct.pack(">I", 24) + b"ftyp" + brand + bytes(4) + b"isom" + brand + bytes(100)


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return {name: sounds.file(name, sounds.pcm(0.5)) for name in sounds.FILES}


@pytest.mark.parametrize("name", sounds.FILES)
def test_every_file_that_encoders_write(files: dict[str, bytes], name: str) -> None:
    assert found(files[name]) == NAMES.get(name, name.split()[0])


@pytest.mark.parametrize("name", ["mp3", "opus", "aac", "flac", "wav"])
def test_every_speech_format(name: str) -> None:
    assert found(SPEECH[name]) == {"opus": "ogg"}.get(name, name)


@pytest.mark.parametrize(
    "junk",
    [
        b"\n",
        b"\r\n\r\n",
        b"\xef\xbb\xbf",
        bytes(100),
        b"1f40\r\n",
        b"--boundary\r\nContent-Type: audio/mpeg\r\n\r\n",
        b"<br />\n<b>Warning</b>: fopen() in <b>/srv/x.php</b> on line 3<br />\n",
        b"data:audio/mpeg;base64,",
    ],
)
@pytest.mark.parametrize("name", [name for name in sounds.FILES if "fragments" not in name])
def test_junk_before_the_audio_is_seen_through(files: dict[str, bytes], name: str, junk: bytes) -> None:
    assert found(junk + files[name]) == found(files[name])


@pytest.mark.parametrize("name", ["mp3 without a header", "aac", "flac", "wav of floats", "m4a", "ogg opus"])
@pytest.mark.parametrize("size", [0, 200, 100_000])
def test_a_tag_before_the_audio_is_seen_through(files: dict[str, bytes], name: str, size: int) -> None:
    audio = files[name]
    assert found(id3(size) + audio) == found(audio)
    assert found(id3(size) + id3(10) + audio) == found(audio)
    assert found(b"\r\n" + id3(size) + audio) == found(audio)
    assert found(id3(size) + bytes(500) + audio) == found(audio)
    assert found(id3(size, footer=b"3DI\x04\0\x10\0\0\0\0") + audio) == found(audio)
    assert found(id3(size) + b"junk" + audio) == found(audio)


def test_a_tag_alone_is_mp3() -> None:
    assert [found(b"ID3\x03\0"), found(id3(50_000)), found(id3(50) + NOISE)] == ["mp3"] * 3


def test_many_tags_are_not_followed_to_their_end() -> None:
    assert found((b"junk" + id3(0)) * 100_000) == "mp3"


def test_a_stream_that_was_joined_in_the_middle_of_a_frame(files: dict[str, bytes]) -> None:
    for name, kind in (("mp3 without a header", "mp3"), ("aac", "aac")):
        assert found(files[name][301:]) == kind


@pytest.mark.parametrize(
    ("first_bytes", "expected"),
    [
        (mp4(b"M4A "), "m4a"),
        (mp4(b"M4B "), "m4a"),
        (mp4(b"isom"), "mp4"),
        (mp4(b"mp42"), "mp4"),
        (mp4(b"dash"), "mp4"),
        (mp4(b"qt  "), "mp4"),
        (mp4(b"3gp4"), "3gp"),
        (mp4(b"3gp6"), "3gp"),
        (mp4(b"3g2a"), "3gp"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"BW64\xff\xff\xff\xffWAVEds64", "wav"),
        (b"RIFX\0\0\0\x24WAVEfmt ", "wav"),
        (b"RIFF\0\0\0\0AVI LIST", "avi"),
        (b"#!AMR\n<", "amr"),
        (b"#!AMR-WB\n<", "amr"),
        (b"caff\0\x01\0\0desc", "caf"),
        (b"FORM\0\0\0\x40AIFCFVER", "aiff"),
        (b".snd\0\0\0\x18", "au"),
        (b"ADIF\x10", "aac"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\0\xaa\0\x62\xce\x6c", "asf"),
        (b"FLV\x01\x04", "flv"),
        (b"\x00\x00\x01\xba\x44", "mpeg"),
        ((b"\x47\x40\0\x10" + bytes(184)) * 4, "ts"),
        ((b"\x56\xe0\x20" + bytes(32)) * 4, "latm"),
        (b"\x02#!SILK_V3", "silk"),
        (b"wvpk\0\0", "wavpack"),
        (b"\x0b\x77\x51\x2a\x1e\x40\x43\xdf", "ac3"),
        (b"\x0b\x77\x02\xff\x3f\x86\xff\x80", "ac3"),
        (b"\x0b\x77\x51\x2a\x1e\xf0\x43\xdf", None),
        (b"\x7f\xfe\x80\x01\xfc\x3c", "dts"),
        (b"TTA1\x01\0", "tta"),
        (b"Creative Voice File\x1a\x1a\0", "voc"),
        (b"DSD \x1c\0\0\0", "dsf"),
        (b".RMF\0\0\0\x12", "realmedia"),
        (b"%PDF-1.7\n", "pdf"),
        (b"PK\x03\x04", "zip"),
        (b'{"error": {"message": "no"}}', "json"),
        (b"<!DOCTYPE html><html></html>", "html"),
        ("Grüße, das ist nur ein Text.".encode() * 900, "text"),
        (b"#EXTM3U\nhttp://127.0.0.1/a.mp3\n", "text"),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_containers(first_bytes: bytes, expected: str | None) -> None:
    assert found(first_bytes) == expected


@pytest.mark.parametrize(
    "samples",
    [
        bytes(8000),
        b"\xff" * 8000,
        b"\xff\xfb\x7b\xff" * 4000,
        b"\xff\xf1\x50\x7f" * 4000,
        sounds.pcm(1),
        bytes(byte ^ 0xFF for byte in sounds.pcm(0.5)),
        NOISE,
    ],
)
def test_headerless_samples_are_unknown(samples: bytes) -> None:
    assert found(samples) is None
    assert found(samples[1:]) is None
