"""The fake is believed by OpenAI's own package and by a plain client: the base of every other test here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.fakes import answers, upstream
from tests.fakes.samples import SPEECH, SPEECH_TYPES
from tests.fakes.upstream import KEY, Upstream, stream


@pytest.fixture(name="fake")
def running_fake() -> Iterator[Upstream]:
    with upstream.running() as fake:
        yield fake


@pytest.fixture
def sdk(fake: Upstream) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=fake.url, api_key=KEY, max_retries=0) as client:
        yield client


@pytest.mark.parametrize("wanted", sorted(SPEECH))
def test_speech_in_each_format(fake: Upstream, sdk: openai.OpenAI, wanted: str) -> None:
    reply = sdk.audio.speech.create(model="tts-1", input="Hi", voice="alloy", response_format=wanted)  # type: ignore[arg-type]
    assert reply.read() == SPEECH[wanted]
    assert reply.response.headers["content-type"] == SPEECH_TYPES[wanted]
    assert "content-length" not in reply.response.headers
    assert fake.last.json == {"input": "Hi", "model": "tts-1", "voice": "alloy", "response_format": wanted}


def test_transcription_events(fake: Upstream, sdk: openai.OpenAI) -> None:
    with sdk.audio.transcriptions.create(file=b"RIFF", model="gpt-4o-transcribe", stream=True) as events:
        kinds = [event.type for event in events]
    assert kinds == ["transcript.text.delta"] * 9 + ["transcript.text.done"]
    assert fake.last.file.sha256 == hashlib.sha256(b"RIFF").hexdigest()
    assert [part.name for part in fake.last.parts] == ["model", "stream", "file"]
    assert fake.last.complete


def test_bodies_are_compact_and_in_order(sdk: openai.OpenAI) -> None:
    reply = sdk.audio.transcriptions.with_raw_response.create(
        file=b"RIFF", model="whisper-1", response_format="verbose_json", timestamp_granularities=["word"]
    )
    assert list(json.loads(reply.text)) == ["task", "language", "duration", "text", "words", "usage"]
    assert reply.text.startswith('{"task":"transcribe","language":"english"')


@pytest.mark.parametrize("status", sorted(answers.ERRORS))
def test_errors(fake: Upstream, sdk: openai.OpenAI, status: int) -> None:
    fake.behave("tts-1", answer=answers.ERRORS[status])
    with pytest.raises(openai.APIStatusError) as caught:
        sdk.audio.speech.create(model="tts-1", input="Hi", voice="alloy")
    assert caught.value.status_code == status


def test_a_gate_holds_the_next_chunk(fake: Upstream) -> None:
    gate = fake.gate()
    fake.behave("*", answer=stream(b"one", b"two"), gate=gate)
    gate.release()
    with httpx.stream("POST", fake.url + "/audio/speech", json={"model": "tts-1"}) as reply:
        arriving = reply.iter_raw()
        assert next(arriving) == b"one"
        assert fake.last.chunks_sent == 1
        gate.release()
        assert next(arriving) == b"two"
    assert fake.last.answered.wait(5)
    assert not fake.last.closed_early.is_set()


def test_a_client_that_leaves_is_seen(fake: Upstream) -> None:
    fake.behave("*", answer=stream(b"one", b"two", b"three"), stop_after=2, stop="hang")
    with httpx.stream("POST", fake.url + "/audio/speech", json={"model": "tts-1"}) as reply:
        assert next(reply.iter_raw()) == b"one"
    fake.last.wait_closed()
    assert fake.last.chunks_sent == 2


@pytest.mark.parametrize("stop", ["close", "reset"])
@pytest.mark.parametrize("after", [-1, 0, 1])
def test_dying(fake: Upstream, stop: str, after: int) -> None:
    fake.behave("*", answer=stream(b"one", b"two"), stop_after=after, stop=stop)
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
        httpx.post(fake.url + "/audio/speech", json={"model": "tts-1"})


def test_an_answer_before_the_body_was_read(fake: Upstream) -> None:
    fake.behave("*", answer=answers.ERRORS[413], read_body="headers")
    reply = httpx.post(fake.url + "/audio/transcriptions", files={"file": b"x" * 1000}, data={"model": "whisper-1"})
    assert reply.status_code == 413
    assert fake.connections == 1


def test_connections_are_counted(fake: Upstream) -> None:
    with httpx.Client() as client:
        for _ in range(3):
            client.get(fake.url + "/models", headers={"authorization": f"Bearer {KEY}"}).raise_for_status()
    assert (fake.connections, len(fake.requests)) == (1, 3)
    assert {request.connection for request in fake.requests} == {1}
