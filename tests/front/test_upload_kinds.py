"""Uploads are what their bytes are: what goes on to the vendor, what is refused before it is asked, who gets it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.audio import sounds
from tests.conftest import MASTER_KEY, Server, group, launch
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of
from tests.front.wire import FORM, Wire, file_part, form, text_part

PATH = "/v1/audio/transcriptions"
LISTENS = "audio_transcription"
AMR = b"#!AMR\n" + (b"\x3c" + bytes(31)) * 50


def like(name: str, base_model: str, url: str) -> dict[str, Any]:
    """A server of one's own with the limits and formats of a model."""
    entry = group(name, "openai/whisper-own", url, LISTENS)
    entry["model_info"]["base_model"] = base_model
    return entry


@pytest.fixture(scope="module")
def server(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = fake.url
    config = {
        "model_list": [
            group("own", "openai/whisper-own", url, LISTENS),
            group("groq", "groq/whisper-large-v3", url),
            group("two", "groq/whisper-large-v3-turbo", url, order=1),
            group("two", "openai/whisper-own", url, LISTENS, order=2),
            # Of OpenAI's own server, which no test may reach.
            group("openai", "openai/whisper-1", None, timeout=1),
            group("gpt-4o", "openai/gpt-4o-transcribe", None, timeout=1),
            group("long", "openai/gpt-4o-transcribe", None, timeout=1, order=1),
            group("long", "openai/whisper-own", url, LISTENS, order=2),
            group("with-fallback", "openai/gpt-4o-transcribe", None, timeout=1),
            like("like-whisper", "whisper-1", url),
            like("like-4o", "openai/gpt-4o-transcribe", url),
        ],
        "router_settings": {"fallbacks": [{"with-fallback": ["own"]}]},
        "general_settings": {"master_key": MASTER_KEY},
    }
    running = launch(config, tmp_path_factory.mktemp("kinds"))
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture
def wire(server: Server, upstream: Upstream) -> Iterator[Wire]:
    with Wire(server.port) as connection:
        yield connection


def hear(server: Server, model: str, content: bytes, name: str = "speech.wav", **fields: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    files = {"file": (name, content)}
    return httpx.post(f"{server.url}{PATH}", data={"model": model} | fields, files=files, headers=headers, timeout=30)


# -- labels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["own", "groq"])
@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('filename="audio"', "audio.wav"),
        ('filename="blob"', "audio.wav"),
        ('filename="a.mp3?token=1"', "audio.wav"),
        ('filename="x.part"', "audio.wav"),
        ('filename="C:\\fakepath\\a.mp3"', "a.wav"),
        ("filename*=UTF-8''gr%C3%B6%C3%9Fe.mp3", "größe.wav"),
    ],
)
def test_a_part_without_a_type_and_a_true_name(
    wire: Wire, upstream: Upstream, disposition: str, name: str, model: str
) -> None:
    part = (f'Content-Disposition: form-data; name="file"; {disposition}', wav())
    reply = wire.post(PATH, form(part, text_part("model", model)), FORM)
    assert reply.status_code == 200, reply.text
    assert (upstream.last.file.filename, upstream.last.file.content_type) == (name, "audio/wav")


@pytest.mark.parametrize(
    ("name", "content_type"), [("speech.mpga", "audio/mp3"), ("Sprache ä.mp3", "audio/mpeg; rate=24000")]
)
def test_a_true_label_is_not_touched(wire: Wire, upstream: Upstream, name: str, content_type: str) -> None:
    body = form(file_part(SPEECH["mp3"], name, content_type), text_part("model", "own"))
    assert wire.post(PATH, body, FORM).status_code == 200
    assert (upstream.last.file.filename, upstream.last.file.content_type) == (name, content_type)


def test_a_large_file_on_disk_is_recognized_behind_its_tag(server: Server, upstream: Upstream) -> None:
    picture = b"ID3\x04\0\0\0\x60\0\0" + bytes(0x60 << 14)
    reply = hear(server, "own", picture + SPEECH["aac"] * 40, "song.mp3")
    assert reply.status_code == 200, reply.text
    assert (upstream.last.file.filename, upstream.last.file.content_type) == ("song.aac", "audio/aac")


def test_our_own_speech_can_be_transcribed(server: Server, upstream: Upstream) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=MASTER_KEY, max_retries=0)
    for format, name in (("opus", "speech.ogg"), ("flac", "speech.flac"), ("mp3", "speech.mp3"), ("wav", "speech.wav")):
        client.audio.transcriptions.create(model="groq", file=(f"speech.{format}", SPEECH[format]))
        assert upstream.last.file.filename == name
    with pytest.raises(openai.BadRequestError, match="AAC") as caught:
        client.audio.transcriptions.create(model="groq", file=("speech.aac", SPEECH["aac"]))
    assert (caught.value.param, caught.value.code) == ("file", "unsupported_value")


# -- containers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "name", "named"),
    [
        (AMR, "voice.mp3", "AMR"),
        (SPEECH["aac"], "speech.m4a", "AAC"),
        (b"caff\0\x01\0\0desc" + bytes(60), "memo.caf", "CAF"),
        (b"\0\0\0\x18ftyp3gp5" + bytes(400), "memo.3gp", "3GP"),
        (bytes(range(256)) * 9, "call.ulaw", "µ-law"),
        (b"\x0b\x77\x51\x2a\x1e\x40" * 300, "film.mp3", "AC-3"),
    ],
)
@pytest.mark.parametrize("model", ["openai", "gpt-4o", "groq", "like-whisper", "like-4o"])
def test_what_the_vendor_does_not_take_is_refused_before_it_is_asked(
    server: Server, upstream: Upstream, model: str, content: bytes, name: str, named: str
) -> None:
    error = error_of(hear(server, model, content, name), 400)
    assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", "file", "unsupported_value")
    assert named in error["message"]
    assert "flac, m4a, mp3, mp4, mpeg, mpga, ogg, wav, webm" in error["message"]
    assert not upstream.requests


def test_a_document_is_no_audio(server: Server, upstream: Upstream) -> None:
    for content in (b'{"error": "not found"}', b"<html><body>Sign in</body></html>", b"%PDF-1.7\n" + bytes(99)):
        error = error_of(hear(server, "groq", content, "speech.mp3"), 400)
        assert (error["param"], error["code"]) == ("file", "invalid_audio")
    assert not upstream.requests
    assert hear(server, "own", b'{"error": "not found"}').status_code == 200, "a server of one's own decides itself"


def test_routing_picks_a_deployment_that_takes_the_container(server: Server, upstream: Upstream) -> None:
    assert hear(server, "two", wav()).status_code == 200
    assert upstream.last.fields["model"] == ["whisper-large-v3-turbo"]
    assert hear(server, "two", AMR, "voice.amr").status_code == 200
    assert upstream.last.fields["model"] == ["whisper-own"]
    assert len(upstream.requests) == 2


# -- lengths -----------------------------------------------------------------------------------------------------------


def without_total(flac: bytes) -> bytes:
    """As a stream has it: the header does not say how many samples follow."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


FLAC = sounds.flac_silence(1600)


@pytest.mark.parametrize("content", [FLAC, without_total(FLAC)], ids=["told", "not told"])
def test_a_file_that_is_too_long_is_refused_or_rerouted_however_few_bytes_it_has(
    server: Server, upstream: Upstream, content: bytes
) -> None:
    assert len(content) < 100_000
    for model in ("gpt-4o", "like-4o"):
        error = error_of(hear(server, model, content), 400)
        assert (error["param"], error["code"]) == ("file", "audio_too_long")
        assert "1600" in error["message"]
        assert "1400" in error["message"]
    assert not upstream.requests
    for model in ("long", "with-fallback"):
        assert hear(server, model, content).status_code == 200
        assert upstream.last.fields["model"] == ["whisper-own"]


def test_the_python_functions_know_labels_containers_and_lengths(upstream: Upstream) -> None:
    from proxy import transcription
    from proxy.errors import BadRequest

    transcription("openai/whisper-own", ("blob", wav()), api_base=upstream.url, api_key=KEY)
    assert (upstream.last.file.filename, upstream.last.file.content_type) == ("audio.wav", "audio/wav")
    upstream.reset()
    refused: list[tuple[bytes, Any]] = [(AMR, "unsupported_value"), (FLAC, "audio_too_long")]
    for content, code in refused:
        with pytest.raises(BadRequest) as caught:
            transcription("openai/gpt-4o-transcribe", content, api_key=KEY)
        assert (caught.value.param, caught.value.code) == ("file", code)
