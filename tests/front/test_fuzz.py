"""Whatever comes in at the entrances: no 5xx, OpenAI's error shape, a living server, no file left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import MASTER_KEY, Server, launch, standard_config
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of
from tests.front.wire import FORM, JSON, file_part, form, text_part

SPEAK = "/v1/audio/speech"
LISTEN = "/v1/audio/transcriptions"

bounded = settings(
    max_examples=150,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("spool")


@pytest.fixture(scope="module")
def server(fake: Upstream, spool: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    fake.reset()
    running = launch(standard_config(fake.url, spool_dir=str(spool)), tmp_path_factory.mktemp("fuzzed"))
    yield running
    assert running.stop() == 0, running.log()
    assert "Traceback" not in running.log()


@pytest.fixture(scope="module")
def line(server: Server) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as client:
        yield client


def fine(reply: httpx.Response) -> None:
    assert reply.status_code < 500, reply.text
    if reply.status_code != 200:
        error_of(reply)


# -- JSON --------------------------------------------------------------------------------------------------------------

text = st.text(max_size=40)
scalar = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
known = st.sampled_from(["tts", "gpt-tts", "selfhosted", "narrator", "whisper", "strict"])
speech = st.fixed_dictionaries(
    {},
    optional={
        "model": known | known | value,
        "input": text | value,
        "voice": st.sampled_from(["alloy", {"id": "voice_1"}]) | value,
        "response_format": st.sampled_from(["mp3", "opus", "aac", "flac", "wav", "pcm"]) | value,
        "speed": st.floats(0.25, 4) | value,
        "stream_format": st.sampled_from(["sse", "audio"]) | value,
        "instructions": text | value,
        "user": value,
        "metadata": value,
        "fallbacks": value,
        "guardrails": value,
        "tags": value,
    },
)
document = st.builds(lambda first, more: more | first, speech, st.dictionaries(text, value, max_size=3)) | value


@bounded
@given(document)
@example({"model": "tts", "input": "\ud800", "voice": "alloy"})
@example({"model": "selfhosted", "input": "\x00", "voice": "alloy", "speed": 10**400})
@example({"model": "selfhosted", "input": "x", "voice": "alloy", "": {"": []}})
def test_json_bodies(line: httpx.Client, body: Any) -> None:
    fine(line.post(SPEAK, content=json.dumps(body), headers=JSON))


WHOLE = json.dumps({"model": "tts", "input": "Hello", "voice": "alloy", "response_format": "wav"}).encode()
mutation = st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=4)


def mutated(body: bytes, changes: list[tuple[int, bytes, int]]) -> bytes:
    for place, inserted, dropped in changes:
        at = place % (len(body) + 1)
        body = body[:at] + inserted + body[at + dropped :]
    return body


@bounded
@given(mutation)
def test_broken_json(line: httpx.Client, changes: list[tuple[int, bytes, int]]) -> None:
    fine(line.post(SPEAK, content=mutated(WHOLE, changes), headers=JSON))


# -- multipart ---------------------------------------------------------------------------------------------------------

name = st.sampled_from(
    [
        "model",
        "language",
        "prompt",
        "response_format",
        "temperature",
        "stream",
        "include[]",
        "timestamp_granularities[]",
        "chunking_strategy",
        "chunking_strategy[type]",
        "chunking_strategy[]",
        "known_speaker_names[]",
        "metadata[a]",
        "tags",
        "x[",
        "]",
        "",
        "a[b][c]",
    ]
)
plain = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters='"\r\n'), max_size=20)
answer = st.sampled_from(["json", "text", "verbose_json", "true", "false", "auto", "0.5", "en", "word", "logprobs"])
field = st.builds(text_part, name | plain, answer | plain)
model = st.builds(
    text_part, st.just("model"), st.sampled_from(["whisper", "gpt-4o-transcribe", "diarize", "tiny", "tts"])
)
upload = st.builds(file_part, st.sampled_from([wav()[:400], b"", b"x"]), plain)
parts = st.lists(model | upload | field, max_size=8)


@bounded
@given(parts)
def test_multipart_bodies(line: httpx.Client, spool: Path, body: list[tuple[str, bytes]]) -> None:
    fine(line.post(LISTEN, content=form(*body), headers=FORM))
    assert os.listdir(spool) == []


FORM_WHOLE = form(text_part("model", "whisper"), file_part(wav()[:600]), text_part("language", "en"))


@bounded
@given(mutation, st.sampled_from([LISTEN, "/v1/audio/translations"]))
def test_broken_multipart(line: httpx.Client, spool: Path, changes: list[tuple[int, bytes, int]], path: str) -> None:
    fine(line.post(path, content=mutated(FORM_WHOLE, changes), headers=FORM))
    assert os.listdir(spool) == []


token = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)


@settings(bounded, max_examples=60)
@given(st.sampled_from(["multipart/form-data; boundary=", "multipart/", "", "application/json;"]), token)
def test_content_types(line: httpx.Client, start: str, rest: str) -> None:
    fine(line.post(LISTEN, content=FORM_WHOLE, headers={"content-type": (start + rest).strip()}))
    fine(line.post(SPEAK, content=WHOLE, headers={"content-type": (start + rest).strip()}))


@settings(bounded, max_examples=60)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126, blacklist_characters="#?"), max_size=40))
def test_paths(line: httpx.Client, rest: str) -> None:
    fine(line.get(httpx.URL(str(line.base_url)).copy_with(raw_path=b"/v1/models/" + rest.encode())))


def test_it_still_serves(line: httpx.Client, spool: Path) -> None:
    reply = line.post(LISTEN, content=FORM_WHOLE, headers=FORM)
    assert reply.status_code == 200
    assert os.listdir(spool) == []
