"""What is true of the bytes stays untouched; what is not is replaced by what they are."""

from __future__ import annotations

import pytest

from proxy.audio.labels import CONTAINERS, described, extensions_of, label
from tests.audio.test_container import NOISE, mp4
from tests.fakes.samples import SPEECH

AMR, CAF = b"#!AMR\n" + bytes(40), b"caff\0\x01\0\0desc" + bytes(40)
WEBM = b"\x1a\x45\xdf\xa3" + bytes(60)
FILES = {**SPEECH, "m4a": mp4(b"M4A "), "mp4": mp4(b"isom"), "webm": WEBM, "amr": AMR, "caf": CAF, "3gp": mp4(b"3gp4")}
TRUE = [
    ("mp3", "speech.mp3", "audio/mpeg"),
    ("mp3", "speech.mp3", "audio/mp3"),
    ("mp3", "speech.mpga", "audio/x-mp3"),
    ("mp3", "speech.mpeg", "Audio/MPEG"),
    ("opus", "größe 音声.ogg", "audio/ogg; codecs=opus"),
    ("opus", "a;b='c\".ogg", "application/ogg"),
    ("wav", "x.y.z.wav", "audio/x-wav"),
    ("wav", "speech.wav", "audio/wave"),
    ("wav", "speech.wav", "audio/vnd.wave"),
    ("flac", "speech.flac", "audio/x-flac"),
    ("m4a", "speech.m4a", "audio/x-m4a"),
    ("m4a", "speech.mp4", "audio/mp4"),
    ("mp4", "speech.mp4", "video/mp4"),
    ("mp4", "New Recording 7.m4a", "audio/m4a"),
    ("webm", "speech.webm", "video/webm;codecs=vp9,opus"),
    ("aac", "speech.aac", "audio/x-aac"),
    ("amr", "speech.amr", "audio/AMR"),
    ("3gp", "speech.3gp", "video/3gpp"),
]
WRONG = [
    *((name, "wav", "audio.wav", "audio/wav") for name in ("audio", "blob", "upload", "", "a.mp3?token=1", "x.part")),
    *((name, "mp3", "audio.mp3", "audio/mpeg") for name in ("", ".mp3", "mp3", "speech.mp3 ", "a.b/", "voice.tmp")),
    ("voice.opus", "opus", "voice.ogg", "audio/ogg"),
    ("file_12.oga", "opus", "file_12.ogg", "audio/ogg"),
    ("audio.wav", "m4a", "audio.m4a", "audio/mp4"),
    ("voice.ogg", "mp4", "voice.mp4", "audio/mp4"),
    ("film.mov", "mp4", "film.mp4", "audio/mp4"),
    ("book.m4b", "m4a", "book.m4a", "audio/mp4"),
    ("film.mkv", "webm", "film.webm", "audio/webm"),
    ("speech.MP3", "mp3", "speech.mp3", "audio/mpeg"),
    ("speech.WAV", "mp3", "speech.mp3", "audio/mpeg"),
    ("speech.wave", "wav", "speech.wav", "audio/wav"),
    ("../../etc/a.mp3", "mp3", "a.mp3", "audio/mpeg"),
    ("C:\\fakepath\\a.mp3", "mp3", "a.mp3", "audio/mpeg"),
    ("https://example.com/a.mp3?x=/y.ogg", "wav", "y.wav", "audio/wav"),
    ("a\r\nX-Evil: 1.mp3", "mp3", "aX-Evil: 1.mp3", "audio/mpeg"),
    ("speech.amr", "wav", "speech.wav", "audio/wav"),
    ("speech.mp3", "amr", "speech.amr", "audio/amr"),
]


def labelled(content: bytes, name: str, content_type: str) -> tuple[str, str, str | None]:
    return label(lambda size, offset: content[offset : offset + size], name, content_type)


@pytest.mark.parametrize(("format", "name", "content_type"), TRUE)
def test_what_is_true_stays(format: str, name: str, content_type: str) -> None:
    assert labelled(FILES[format], name, content_type)[:2] == (name, content_type)


@pytest.mark.parametrize("sent", ["", "application/octet-stream", "text/plain", "audio/x-unknown", "video/quicktime"])
@pytest.mark.parametrize(("name", "format", "right_name", "right_type"), WRONG)
def test_what_is_wrong_is_replaced(name: str, format: str, right_name: str, right_type: str, sent: str) -> None:
    assert labelled(FILES[format], name, sent)[:2] == (right_name, right_type)


def test_a_true_name_stays_beside_a_wrong_type_and_the_other_way_round() -> None:
    assert labelled(FILES["mp3"], "a.mpga", "audio/wav")[:2] == ("a.mpga", "audio/mpeg")
    assert labelled(FILES["mp3"], "a.wav", "audio/mp3")[:2] == ("a.mp3", "audio/mp3")


def test_a_long_name_keeps_its_end() -> None:
    name, _, _ = labelled(FILES["mp3"], "x" * 10_000 + ".mp3", "")
    assert (len(name), name[-5:]) == (255, "x.mp3")


@pytest.mark.parametrize(
    ("name", "sent", "content_type", "container"),
    [
        ("speech.wav", "audio/wav", "audio/wav", None),
        ("speech", "audio/x-thing", "audio/x-thing", None),
        ("speech.mp3", "", "audio/mpeg", None),
        ("speech", "", "application/octet-stream", None),
        ("speech", "audio/basic", "audio/basic", "mulaw"),
        ("speech.wav", "audio/basic; rate=8000", "audio/basic; rate=8000", "mulaw"),
        ("speech.ulaw", "application/octet-stream", "application/octet-stream", "mulaw"),
        ("speech", "audio/PCMA", "audio/PCMA", "alaw"),
        ("speech", "audio/L16;rate=16000;channels=1", "audio/L16;rate=16000;channels=1", "pcm"),
        ("speech.pcm", "", "application/octet-stream", "pcm"),
        ("call.gsm", "", "application/octet-stream", "gsm"),
        ("call", "audio/G722", "audio/G722", "g722"),
        ("audio.pcm16", "", "application/octet-stream", "pcm"),
        ("audio.g711_ulaw", "", "application/octet-stream", "mulaw"),
        ("audio.g711_alaw", "", "application/octet-stream", "alaw"),
    ],
)
def test_bytes_that_say_nothing_leave_the_label_as_it_is(
    name: str, sent: str, content_type: str, container: str | None
) -> None:
    assert labelled(NOISE, name, sent) == (name, content_type, container)


def test_a_headerless_label_does_not_hide_a_header() -> None:
    assert labelled(FILES["wav"], "a.ulaw", "audio/basic") == ("a.wav", "audio/wav", "wav")
    assert labelled(b".snd" + bytes(60), "a.ulaw", "audio/basic")[0::2] == ("a.au", "au")


def test_documents_keep_their_label() -> None:
    assert labelled(b'{"not": "audio, but json"}', "a.json", "application/json")[1:] == ("application/json", "json")


def test_every_container_can_be_named_in_a_message() -> None:
    assert all(described(container) and extensions_of((container,)) for container in CONTAINERS)
