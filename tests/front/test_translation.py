"""POST /v1/audio/translations."""

from __future__ import annotations

import httpx
import openai
import pytest

from tests.fakes import answers
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream
from tests.front.shape import asked, error_of

PATH = "/v1/audio/translations"
FILE = {"file": ("speech.wav", wav())}


@pytest.mark.parametrize("wanted", ["json", "text", "srt", "verbose_json", "vtt"])
@pytest.mark.parametrize("model", ["translator", "whisper"])
def test_every_response_format_byte_for_byte(upstream: Upstream, http: httpx.Client, model: str, wanted: str) -> None:
    """A transcription group serves translations where the vendor can."""
    reply = http.post(PATH, data={"model": model, "response_format": wanted}, files=FILE)
    assert reply.status_code == 200, reply.text
    assert reply.content == b"".join(answers.translation({"response_format": [wanted]}).chunks)
    plain = wanted in {"text", "srt", "vtt"}
    assert reply.headers["content-type"] == ("text/plain; charset=utf-8" if plain else "application/json")
    assert upstream.last.target == PATH


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_objects_of_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    create = sdk.audio.translations.create
    assert create(file=("a.wav", wav()), model="translator", prompt="Hi", temperature=0.2).text == answers.TEXT
    assert asked(upstream.last.fields) == {"model": ["whisper-1"], "prompt": ["Hi"], "temperature": ["0.2"]}
    assert create(file=wav(), model="translator", response_format="verbose_json").language == "english"
    assert create(file=wav(), model="translator", response_format="vtt") == answers.VTT


def test_a_speech_model_is_the_wrong_mode(upstream: Upstream, http: httpx.Client) -> None:
    error = error_of(http.post(PATH, data={"model": "tts"}, files=FILE), 400)
    assert error["param"] == "model"
    assert not upstream.requests


def test_a_missing_file_is_400_with_param(upstream: Upstream, http: httpx.Client) -> None:
    assert error_of(http.post(PATH, data={"model": "translator"}, files={"x": ("", b"")}), 400)["param"] == "file"


def test_a_translation_model_does_not_transcribe(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post("/v1/audio/transcriptions", data={"model": "translator"}, files=FILE)
    assert error_of(reply, 400)["param"] == "model"
