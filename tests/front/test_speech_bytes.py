"""Speech whose vendor sends another format than the requested one, or no audio at all, whatever it calls that."""

from __future__ import annotations

import array
import base64
import io
import itertools
import json
import random
import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import av
import httpx
import pytest

from tests.audio import sounds
from tests.conftest import Server
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.samples import SPEECH, SPEECH_TYPES
from tests.fakes.upstream import Upstream, stream
from tests.front.shape import error_of
from tests.providers.sound import whole_sound

SECONDS = 1.0
ASKED = ("mp3", "opus", "aac", "flac", "wav", "pcm")
MUXERS = {"mp3": "mp3", "opus": "ogg", "aac": "aac", "flac": "flac", "wav": "wav"}
LABELS = ("application/octet-stream", "audio/mpeg", "audio/pcm", "Audio/WAV", "text/event-stream", "text/plain")
HELLO = {"model": "selfhosted", "input": "Hello", "voice": "alloy"}


# -- what vendors may send ---------------------------------------------------------------------------------------------


def _riff(form: bytes, samples: bytes, *, before: bytes = b"", size: int | None = None) -> bytes:
    told = len(samples) if size is None else size
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + before + b"data" + struct.pack("<I", told) + samples
    return b"RIFF" + struct.pack("<I", len(body) if size is None else size) + body


def _form(rate: int, channels: int, bits: int, tag: int = 1) -> bytes:
    block = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits)


def _widened(samples: bytes, bits: int) -> bytes:
    shift = bits - 16
    return b"".join((value << shift).to_bytes(bits // 8, "little", signed=True) for value in array.array("h", samples))


def _twice(samples: bytes) -> bytes:
    return b"".join(samples[at : at + 2] * 2 for at in range(0, len(samples), 2))


_GUID = b"\x01\0\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71"
_LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf62.12.100\0"


@cache
def wavs() -> dict[str, bytes]:
    samples, high = sounds.pcm(SECONDS), sounds.pcm(SECONDS, 48_000)
    extensible = _form(24_000, 1, 16, 0xFFFE) + struct.pack("<HHI", 22, 16, 4) + _GUID
    return {
        "wav of 48 kHz": _riff(_form(48_000, 1, 16), high),
        "wav of 44.1 kHz, streamed": _riff(_form(44_100, 1, 16), sounds.pcm(SECONDS, 44_100), size=0xFFFFFFFF),
        "wav of 16 kHz without sizes": _riff(_form(16_000, 1, 16), sounds.pcm(SECONDS, 16_000), size=0),
        "wav of two channels": _riff(_form(24_000, 2, 16), _twice(samples)),
        "wav of 24 bits": _riff(_form(24_000, 1, 24), _widened(samples, 24)),
        "wav of 32 bits": _riff(_form(24_000, 1, 32), _widened(samples, 32)),
        "wav of floats": sounds.file("wav of floats", samples),
        "wav of mulaw": sounds.file("wav of mulaw", samples),
        "wav of the extensible kind": _riff(extensible, samples),
        "wav of the extensible kind at 48 kHz": _riff(_form(48_000, 1, 16, 0xFFFE) + extensible[16:], high),
        "wav with a list before its samples": _riff(_form(48_000, 1, 16), high, before=_LIST * 20),
        "wav that says it is empty": _riff(_form(24_000, 1, 16), samples, size=0),
    }


@cache
def sent(name: str) -> bytes:
    if name in wavs():
        return wavs()[name]
    if name in sounds.FILES:
        return sounds.file(name, sounds.pcm(SECONDS))
    if name == "aac behind an ID3 tag":
        return b"ID3\x04\0\0\0\0\0\x0a" + bytes(10) + sounds.file("aac", sounds.pcm(SECONDS))
    return whole_sound(name)


SENT = sorted({*ASKED, *sounds.FILES, *wavs(), "aac behind an ID3 tag"} - {"pcm"})


def cuts(data: bytes, first: int, size: int = 4096) -> list[bytes]:
    return [*(data[at : at + 1] for at in range(first)), *answers.cut(data[first:], size)]


def as_events(chunks: Sequence[bytes]) -> list[bytes]:
    return answers.speech_events(chunks)


# -- what callers get --------------------------------------------------------------------------------------------------


def expect_tone(audio: bytes, asked: str, seconds: float) -> None:
    """The wavering tone of `sounds.pcm`, in that format: noise crosses zero many times as often."""
    if asked == "pcm":
        samples = array.array("h", audio)
        rate = 24_000
    else:
        samples, rate = array.array("h"), 0
        with av.open(io.BytesIO(audio)) as container:
            assert container.format.name == MUXERS[asked]
            if asked == "wav":
                context = container.streams.audio[0].codec_context
                assert (context.name, context.sample_rate, context.layout.nb_channels) == ("pcm_s16le", 24_000, 1)
            resampler = av.AudioResampler(format="s16", layout="mono")
            for frame in container.decode(audio=0):
                rate = frame.sample_rate
                frame.pts = None
                for ready in resampler.resample(frame):
                    samples.frombytes(bytes(memoryview(ready.planes[0])[: ready.samples * 2]))
    assert len(samples) / rate == pytest.approx(seconds, abs=0.16)
    signs = [sample > 0 for sample in samples if abs(sample) > 300]
    crossings = sum(not before and after for before, after in itertools.pairwise(signs))
    assert crossings / seconds == pytest.approx(440, rel=0.1)


def length_of(name: str) -> float:
    return 1.2 if name in ASKED and name not in sounds.FILES else SECONDS


def say(http: httpx.Client, **fields: Any) -> httpx.Response:
    return http.post("/v1/audio/speech", json=HELLO | fields)


def audio_of(events: str) -> bytes:
    found = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
    assert [event["type"] for event in found if "audio" not in event] == ["speech.audio.done"]
    assert events.rstrip().endswith("data: [DONE]")
    return b"".join(base64.b64decode(event["audio"]) for event in found if "audio" in event)


@pytest.mark.parametrize("name", SENT)
def test_what_was_asked_for_is_what_comes(upstream: Upstream, http: httpx.Client, name: str) -> None:
    """Every format from every other one, as audio and as events, under changing labels and however it is cut."""
    labels = itertools.cycle(LABELS)
    for number, asked in enumerate(ASKED):
        chunks = cuts(sent(name), first=(1, 3, 70)[number % 3])
        events = as_events(cuts(sent(name), first=0, size=(4, 70, 999)[number % 3]))
        for answer in (stream(*chunks, content_type=next(labels)), Answer(answers.EVENT_STREAM, events)):
            upstream.behave("kokoro", answer=answer)
            reply = say(http, response_format=asked)
            assert (reply.status_code, reply.headers["content-type"]) == (200, SPEECH_TYPES[asked]), reply.text[:300]
            expect_tone(reply.content, asked, length_of(name))
            reply = say(http, response_format=asked, stream_format="sse")
            assert reply.headers["content-type"] == answers.EVENT_STREAM
            expect_tone(audio_of(reply.text), asked, length_of(name))


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("first", [0, 1, 2, 3, 5, 11])
def test_what_is_right_passes_untouched(upstream: Upstream, http: httpx.Client, asked: str, first: int) -> None:
    upstream.behave("kokoro", answer=stream(*cuts(SPEECH[asked], first), content_type="application/octet-stream"))
    assert say(http, response_format=asked).content == SPEECH[asked]
    events = as_events(cuts(SPEECH[asked], first))
    upstream.behave("kokoro", answer=Answer("application/octet-stream", events))
    assert say(http, response_format=asked, stream_format="sse").content == b"".join(events)


@pytest.mark.parametrize(
    "label", ["audio/pcm;rate=48000", "audio/L16; rate=44100; channels=2", 'audio/x-raw;rate="16000"']
)
@pytest.mark.parametrize("asked", ["pcm", "wav", "mp3"])
def test_headerless_samples_are_as_the_label_says(
    upstream: Upstream, http: httpx.Client, label: str, asked: str
) -> None:
    rate = next(rate for rate in (48_000, 44_100, 16_000) if str(rate) in label)
    samples = sounds.pcm(SECONDS, rate)
    samples = _twice(samples) if "channels=2" in label else samples
    upstream.behave("kokoro", answer=stream(*cuts(samples, 1), content_type=label))
    expect_tone(say(http, response_format=asked).content, asked, SECONDS)


@pytest.mark.parametrize("kind", ["s16", "floats", "a wrong size"])
def test_wav_files_in_a_row_are_one_sound(upstream: Upstream, http: httpx.Client, kind: str) -> None:
    """As from servers that speak sentence by sentence; and a size that is not the end."""
    samples, high = sounds.pcm(SECONDS), sounds.pcm(SECONDS, 48_000)
    data = {
        "s16": b"".join(_riff(_form(48_000, 1, 16), piece) for piece in answers.cut(high, 9600)),
        "floats": b"".join(sounds.file("wav of floats", piece) for piece in answers.cut(samples, 24_000)),
        "a wrong size": _riff(_form(24_000, 1, 16), samples, size=100),
    }[kind]
    for asked in ("pcm", "mp3") if kind == "a wrong size" else ("wav", "pcm", "mp3"):
        upstream.behave("kokoro", answer=stream(*cuts(data, 70), content_type="audio/wav"))
        expect_tone(say(http, response_format=asked).content, asked, SECONDS)


@pytest.mark.parametrize("size", [None, 0, 0xFFFFFFFF])
def test_each_event_may_hold_a_wav_file(upstream: Upstream, http: httpx.Client, size: int | None) -> None:
    files = [_riff(_form(24_000, 1, 16), piece, size=size) for piece in answers.cut(sounds.pcm(SECONDS), 9600)]
    upstream.behave("kokoro", answer=Answer(answers.EVENT_STREAM, as_events(files)))
    for asked in ("wav", "pcm", "mp3") if size is None else ("pcm", "mp3"):
        expect_tone(say(http, response_format=asked).content, asked, SECONDS)
        reply = say(http, response_format=asked, stream_format="sse")
        expect_tone(audio_of(reply.text), asked, SECONDS)


def test_samples_that_look_like_something_else_stay_samples(upstream: Upstream, http: httpx.Client) -> None:
    chance = random.Random(7)
    begins = (
        b"\xff\xfb\x90\x64",
        b"\xff\xf1\x50\x80",
        b"{\0",
        b"ID3\xff",
        b"RIFF",
        b"Og",
        b"<a",
        b"\0\0\0\x20ft",
        b"data",
        b"fLaC",
        b"OggS",
        b"RIFX",
        b"caff",
        b"#!AMR",
        b"\x1a\x45\xdf\xa3",
        b"\0\0\0\x1cftyp\x80\x01",
        b"ID3\x04\0\0\0\0\0\0",
    )
    for begin in begins:
        samples = begin + chance.randbytes(9000)
        for first in (1, 0):
            upstream.behave("kokoro", answer=stream(*cuts(samples, first, 500), content_type="audio/pcm"))
            assert say(http, response_format="pcm").content == samples


# -- no audio at all ---------------------------------------------------------------------------------------------------

_ERROR = b'{"error": {"message": "out of memory", "type": "server_error"}}'
_DONE = answers.event({"type": "speech.audio.done", "usage": None})
NO_AUDIO = {
    "an error as json": _ERROR,
    "json in utf-8 with a mark": b"\xef\xbb\xbf" + _ERROR,
    "a validation error": b'{"detail":[{"loc":["body","voice"],"msg":"bad"}]}',
    "an html page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "words": b"Internal Server Error",
    "words in Chinese": "内部服务器错误".encode(),
    "a short word": b"null",
    "an event with an error": b"data: " + _ERROR + b"\n\n",
    "an event called error": b'event: error\ndata: {"message": "out of memory", "type": "error"}\n\n',
    "events without audio": _DONE + answers.DONE,
    "only comments": b": ping\n\n: ping\n\n",
    "only the end": answers.DONE,
    "empty audio": answers.event({"type": "speech.audio.delta", "audio": ""}) + _DONE + answers.DONE,
    "nothing": b"",
}


@pytest.mark.parametrize("label", ["audio/mpeg", "application/octet-stream", "text/event-stream", "application/json"])
@pytest.mark.parametrize("what", NO_AUDIO)
def test_no_audio_is_a_failure(upstream: Upstream, http: httpx.Client, what: str, label: str) -> None:
    for asked, stream_format, first in itertools.product(("mp3", "pcm", "wav"), (None, "sse"), (0, 1)):
        chunks = cuts(NO_AUDIO[what], min(first, len(NO_AUDIO[what])))
        upstream.behave("kokoro", answer=stream(*chunks, content_type=label))
        reply = say(http, response_format=asked, stream_format=stream_format)
        assert reply.status_code >= 500, (asked, stream_format, reply.content[:100])
        error_of(reply)


def test_another_deployment_speaks_instead(upstream: Upstream, serve: Any) -> None:
    from tests.conftest import MASTER_KEY, group

    groups = [
        group("first", "openai/bad", upstream.url, "audio_speech"),
        group("second", "openai/good", upstream.url, "audio_speech"),
    ]
    settings = {"fallbacks": [{"first": ["second"]}], "num_retries": 0}
    config = {"model_list": groups, "general_settings": {"master_key": MASTER_KEY}, "router_settings": settings}
    server: Server = serve(config)
    with httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MASTER_KEY}"}) as http:
        for body, label in itertools.product(NO_AUDIO.values(), ("audio/mpeg", "text/event-stream")):
            upstream.behave("bad", answer=stream(body, content_type=label))
            for stream_format in ("audio", "sse"):
                reply = say(http, model="first", stream_format=stream_format)
                assert reply.status_code == 200, (body, reply.text)
                assert SPEECH["mp3"] == (audio_of(reply.text) if stream_format == "sse" else reply.content)
