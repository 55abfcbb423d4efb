"""The newcomer's configuration as it ships: real audio and real transcripts without any vendor's key."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import openai
import pytest
import yaml

from tests.conftest import Server, launch
from tests.front.shape import error_of

EXAMPLE = Path(__file__).parents[2] / "config.example.yaml"
SENTENCE = "the quick brown fox jumped over the lazy dogs"
WORDS = set(SENTENCE.split())
#: Of the 8 distinct words 6 to 8 came back where it was measured.
HEARD = 5

pytest.importorskip("espeakng_loader")
pytest.importorskip("pocketsphinx")


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = launch(yaml.safe_load(EXAMPLE.read_text()), folder=tmp_path_factory.mktemp("local"))
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture(scope="module")
def sdk(local: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=local.url + "/v1", api_key="sk-1234", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def spoken(sdk: openai.OpenAI) -> bytes:
    return sdk.audio.speech.create(model="tts", voice="alloy", input=SENTENCE, response_format="wav").content


def seconds(audio: bytes, format: str) -> float:
    if format == "pcm":
        return len(audio) / 2 / 24_000
    with av.open(io.BytesIO(audio)) as container:
        return sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))


def test_it_starts_with_a_warning_of_its_weak_key(local: Server) -> None:
    assert "weak" in local.log()


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_every_format_is_playable_and_as_long_as_the_sentence(sdk: openai.OpenAI, spoken: bytes, format: str) -> None:
    reply = sdk.audio.speech.with_raw_response.create(
        model="tts",
        voice="alloy",
        input=SENTENCE,
        response_format=format,  # type: ignore[arg-type]
    )
    assert reply.headers["content-type"] == {"mp3": "audio/mpeg"}.get(format, f"audio/{format}")
    assert seconds(reply.content, format) == pytest.approx(seconds(spoken, "wav"), rel=0.1)


def test_an_input_without_words_is_spoken_or_silence(sdk: openai.OpenAI) -> None:
    """Voice agents send such fragments. The engine speaks some of them, such as an emoji."""
    for text in ("...", " - ", "\u3002", "<>", '"', "\u2026!?", "\u266a", "&", "\U0001f60a"):
        reply = sdk.audio.speech.with_raw_response.create(model="tts", voice="alloy", input=text, response_format="pcm")
        assert reply.status_code == 200, text
        is_silence = "silence" in reply.headers.get("x-proxy-warnings", "")
        assert is_silence == (not any(reply.content)), text


def test_speech_as_events(sdk: openai.OpenAI, local: Server) -> None:
    body = {"model": "tts", "voice": "nova", "input": SENTENCE, "stream_format": "sse", "response_format": "pcm"}
    text = httpx.post(local.url + "/v1/audio/speech", json=body, headers={"Authorization": "Bearer sk-1234"}).text
    frames = text.removesuffix("\n\n").split("\n\n")
    assert frames[-1] == "data: [DONE]"
    kinds = [json.loads(frame.removeprefix("data: "))["type"] for frame in frames[:-1]]
    assert set(kinds[:-1]) == {"speech.audio.delta"}
    assert kinds[-1] == "speech.audio.done"


def test_the_sentence_comes_back(sdk: openai.OpenAI, spoken: bytes) -> None:
    heard = sdk.audio.transcriptions.create(model="whisper", file=("a.wav", spoken))
    assert len(WORDS & set(heard.text.split())) >= HEARD


def test_every_transcript_format(sdk: openai.OpenAI, spoken: bytes) -> None:
    def ask(format: str) -> str:
        reply = sdk.audio.transcriptions.with_raw_response.create(
            model="whisper",
            file=("a.wav", spoken),
            response_format=format,  # type: ignore[arg-type]
            timestamp_granularities=["word", "segment"],
        )
        return reply.text

    verbose = json.loads(ask("verbose_json"))
    assert verbose["language"] == "english"
    assert [word["word"] for word in verbose["words"]] == verbose["text"].split()
    assert verbose["segments"][-1]["end"] <= verbose["duration"] == pytest.approx(seconds(spoken, "wav"), rel=0.1)
    assert ask("srt").startswith("1\n00:00:0")
    assert ask("vtt").startswith("WEBVTT\n\n00:00:0")
    assert ask("text").endswith("\n")
    with pytest.raises(openai.BadRequestError, match="diarized_json"):
        ask("diarized_json")


def test_a_streamed_transcript(sdk: openai.OpenAI, spoken: bytes) -> None:
    events = list(sdk.audio.transcriptions.create(model="whisper", file=("a.wav", spoken), stream=True))
    assert events[-1].type == "transcript.text.done"
    deltas = [event.delta for event in events[:-1] if event.type == "transcript.text.delta"]
    assert "".join(deltas) == events[-1].text


def test_another_language_is_a_clear_400(sdk: openai.OpenAI, spoken: bytes) -> None:
    with pytest.raises(openai.BadRequestError, match="language 'de' is not supported") as caught:
        sdk.audio.transcriptions.create(model="whisper", file=("a.wav", spoken), language="de")
    assert caught.value.param == "language"


HOSTILE = {
    "ffconcat": b"ffconcat version 1.0\nfile /etc/passwd\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 9 RTP/AVP 0\n",
    "m3u8": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/x.ts\n",
    "truncated": b"RIFF\xff\xff\xff\xffWAVEfmt ",
    "noise": bytes(range(256)) * 40,
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_uploads_are_refused_and_the_server_lives(local: Server, spoken: bytes, kind: str) -> None:
    def send(audio: bytes) -> httpx.Response:
        return httpx.post(
            local.url + "/v1/audio/transcriptions",
            data={"model": "whisper"},
            files={"file": ("innocent.wav", audio)},
            headers={"Authorization": "Bearer sk-1234"},
            timeout=60,
        )

    error = error_of(send(HOSTILE[kind]), 400, "invalid_audio")
    assert error["param"] == "file"
    assert "passwd" not in json.dumps(error)
    assert send(spoken).status_code == 200


@pytest.mark.parametrize("voice", ["../voices/add", "/etc/passwd", "mb/mb-en1", "no-such-voice"])
def test_hostile_voices_are_refused(local: Server, voice: str) -> None:
    reply = httpx.post(
        local.url + "/v1/audio/speech",
        json={"model": "tts", "voice": voice, "input": "Hello"},
        headers={"Authorization": "Bearer sk-1234"},
    )
    assert error_of(reply, 400)["param"] == "voice"
