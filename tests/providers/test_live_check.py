"""bench/live_check.py against a fake: what it finds right, and what it finds wrong."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.fakes.vendor import VendorServer
from tests.providers.contract import Recorded, Reply, SpeechCase, TranscriptionCase, every_case

SCRIPT = Path(__file__).parents[2] / "bench" / "live_check.py"
SPEECH, TRANSCRIPTION = "deepgram/aura-2", "deepgram/nova-3"
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("live_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@contextmanager
def vendor(*, says: str | None = None, refuses: bool = True) -> Iterator[VendorServer]:
    """One vendor that speaks and transcribes; ``says`` replaces the words that it hears."""
    cases = {type(case): case for case in every_case().cases if case.model in (SPEECH, TRANSCRIPTION)}
    speech, transcription = cases[SpeechCase], cases[TranscriptionCase]
    speaks, hears = speech.exchanges[0], transcription.exchanges[0]

    def speak(request: Recorded) -> Reply:
        if refuses and "no-such-voice-0" in request.target:
            return Reply.json({"err_code": "INVALID", "err_msg": "No such model"}, status=400)
        assert callable(speaks.reply)
        return speaks.reply(request)

    def hear(request: Recorded) -> Reply:
        if refuses and b"This is no audio" in request.body:
            return Reply.json({"err_code": "Bad Request", "err_msg": "failed to process audio"}, status=400)
        reply: Any = hears.reply(request) if callable(hears.reply) else hears.reply
        return reply if says is None else Reply(_spoken(reply.document, says), headers=reply.headers)

    both = (replace(speaks, reply=speak), replace(hears, reply=hear, main=True))
    with closing(VendorServer(replace(speech, exchanges=both))) as server:
        yield server


def _spoken(document: Any, text: str) -> bytes:
    """The same answer with other words."""
    alternative = document["results"]["channels"][0]["alternatives"][0]
    alternative = {**alternative, "transcript": text}
    words = [
        {"word": word, "punctuated_word": word, "start": i / 4, "end": i / 4 + 0.2}
        for i, word in enumerate(text.split())
    ]
    alternative["words"] = words
    alternative.pop("paragraphs", None)
    channel = {**document["results"]["channels"][0], "alternatives": [alternative]}
    return json.dumps({**document, "results": {"channels": [channel]}}).encode()


@pytest.fixture
def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run_(*arguments: str, key: str | None = "key-of-nobody-7d3f") -> tuple[int, str]:
        monkeypatch.delenv("DEEPGRAM_API_KEY", raising=False)
        if key is not None:
            monkeypatch.setenv("DEEPGRAM_API_KEY", key)
        status: int = script.main(list(arguments))
        return status, capsys.readouterr().out

    return run_


def test_all_is_well(script: ModuleType, run: Run) -> None:
    with vendor(says=script.SENTENCE) as server:
        status, out = run(TRANSCRIPTION, SPEECH, "--api-base", server.url)
        assert [request.header("authorization") for request in server.requests] == ["Token key-of-nobody-7d3f"] * 7
    assert status == 0, out
    rows = [line for line in out.splitlines() if line.startswith("deepgram/")]
    assert [" ok " in row for row in rows] == [True] * 7, out
    assert ["speech mp3" in rows[0], "speech wav" in rows[1], "json" in rows[3], "srt" in rows[5]] == [True] * 4
    assert "USD" in out


def test_other_words_differ(run: Run) -> None:
    with vendor(says="Something else was said, and nobody knows what.") as server:
        status, out = run(SPEECH, TRANSCRIPTION, "--api-base", server.url)
    assert status == 1
    assert out.count("DIFFERS: other words") == 3


def test_what_is_not_refused_differs(script: ModuleType, run: Run) -> None:
    with vendor(says=script.SENTENCE, refuses=False) as server:
        status, out = run(SPEECH, TRANSCRIPTION, "--api-base", server.url)
    assert status == 1
    assert out.count("DIFFERS: it was not refused") == 2


def test_a_model_without_a_key_is_left_out(run: Run) -> None:
    status, out = run(SPEECH, key=None)
    assert status == 0
    assert "skipped" in out
    assert "DEEPGRAM_API_KEY" in out


def test_a_transcription_with_nothing_to_hear(run: Run) -> None:
    status, out = run(TRANSCRIPTION, "--api-base", "http://127.0.0.1:1")
    assert status == 1
    assert "nothing to transcribe" in out


@pytest.mark.parametrize("arguments", [[], ["--speech"], ["openai/whatever"]])
def test_nothing_is_asked_of_models_that_were_not_named(script: ModuleType, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        script.main(arguments)
    assert ended.value.code == 2
