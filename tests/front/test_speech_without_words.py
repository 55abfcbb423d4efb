"""Voice agents send fragments of text that no vendor speaks; and fields that mean nothing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.conftest import MASTER_KEY, Server, group, launch
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.samples import SPEECH, SPEECH_TYPES
from tests.fakes.upstream import Upstream, stream
from tests.front.shape import error_of
from tests.front.test_long_and_fast_speech import seconds

FRAGMENTS = ("…", "-", "!", "?!", "   ", "\n", "😊", "“”", "。", "—", "*", "()", "👋🏽", "\u200d", "...\n")
REFUSALS = (
    answers.error(400, "transcript empty or contains only punctuation"),
    answers.error(400, "Text must contain at least one character from the allowed languages."),
    answers.error(422, "Input text is empty."),
    stream(content_type="audio/mpeg"),
    Answer(answers.EVENT_STREAM, answers.speech_events([])),
)


@pytest.fixture(scope="module")
def server(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    config = {
        "model_list": [
            group("own", "openai/own", fake.url, "audio_speech", input_cost_per_character=0.5),
            group("realtime", "openai/gpt-realtime-2.1-mini", fake.url, "audio_speech"),
        ],
        "general_settings": {"master_key": MASTER_KEY, "drain_delay": 0},
    }
    running = launch(config, tmp_path_factory.mktemp("silence"))
    yield running
    assert running.stop() == 0, running.log()


def say(http: httpx.Client, text: str, **fields: Any) -> httpx.Response:
    return http.post("/v1/audio/speech", json={"model": "own", "input": text, "voice": "alloy"} | fields)


@pytest.mark.parametrize("refusal", range(len(REFUSALS)))
def test_what_the_vendor_refuses_is_silence(upstream: Upstream, http: httpx.Client, refusal: int) -> None:
    upstream.behave("own", answer=REFUSALS[refusal])
    formats = itertools.cycle(SPEECH_TYPES)
    for text in FRAGMENTS:
        wanted = next(formats)
        reply = say(http, text, response_format=wanted)
        assert (reply.status_code, reply.headers["content-type"]) == (200, SPEECH_TYPES[wanted]), (text, reply.text)
        assert 0.05 < seconds(reply.content, wanted) < 0.5
        assert "silence" in reply.headers["x-proxy-warnings"]
        assert float(reply.headers.get("x-proxy-response-cost", 0)) == 0
    reply = say(http, "…", stream_format="sse")
    assert "speech.audio.delta" in reply.text
    assert "speech.audio.done" in reply.text
    assert say(http, "Hello").status_code >= 400, "words are not silenced"


def test_what_the_vendor_takes_is_the_vendors(upstream: Upstream, http: httpx.Client) -> None:
    for text in FRAGMENTS:
        reply = say(http, text)
        assert (reply.content, upstream.last.json["input"]) == (SPEECH["mp3"], text)


def test_another_refusal_stays_one(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("own", answer=answers.error(400, "The voice is not available.", param="voice"))
    error_of(say(http, "…"), 400)
    upstream.behave("own", answer=answers.ERRORS[429])
    error_of(say(http, "…"), 429)


def test_a_vendor_that_is_known_to_refuse_is_not_asked(upstream: Upstream, http: httpx.Client) -> None:
    for text in FRAGMENTS:
        reply = say(http, text, model="realtime", response_format="wav")
        assert reply.status_code == 200, reply.text
        assert 0.05 < seconds(reply.content, "wav") < 0.5
    assert not upstream.requests


def test_no_text_at_all_is_an_error(upstream: Upstream, http: httpx.Client) -> None:
    error_of(say(http, ""), 400)
    assert not upstream.requests


def test_fields_of_transcriptions_are_named_in_warnings(upstream: Upstream, http: httpx.Client) -> None:
    reply = say(http, "Hello", stream=True, language="en", temperature=0)
    assert reply.headers["x-proxy-warnings"] == "language has no effect on 'own'; stream has no effect on 'own'"
    assert not {"stream", "language"} & set(upstream.last.json)
    assert "x-proxy-warnings" not in say(http, "Hello", stream=False).headers


def test_a_list_of_formats_names_each_once(http: httpx.Client) -> None:
    message = error_of(say(http, "Hello", model="realtime", response_format="wma"), 400)["message"]
    names = message.rpartition(": ")[2].rstrip(".").split(", ")
    assert sorted(names) == sorted(SPEECH_TYPES)
