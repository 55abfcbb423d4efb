"""What is special to AssemblyAI: two hosts, an upload, a job that is polled and deleted."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import (
    ProxyError,
    UnsupportedValue,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamUnavailable,
)
from proxy.http.messages import Request
from proxy.providers.base import Adapter, BufferedRequest, WholeTranscript
from proxy.providers.registry import infer_mode
from proxy.providers.vendors.assemblyai import ASSEMBLYAI
from proxy.providers.voices import NAMES
from tests.fakes import messages
from tests.providers.attempts import Held
from tests.providers.contract import FIXTURES

KEY = "aai-secret-key-0123456789"
COMPLETED = json.loads((FIXTURES / "assemblyai" / "completed.json").read_text())
UPLOADED = {"upload_url": "https://cdn.assemblyai.com/upload/f756988d"}
QUEUED = {"id": "0072a82b-aa22", "status": "queued"}


def adapter(model: str, **settings: Any) -> Adapter:
    deployment = Deployment(
        id="one", group="g", vendor="assemblyai", model=model, mode=infer_mode("assemblyai", model), **settings
    )
    return ASSEMBLYAI.bind(deployment, {"ASSEMBLYAI_API_KEY": KEY})


def walked(maker: Adapter, *answers: Any, **fields: Any) -> tuple[list[BufferedRequest], WholeTranscript | None]:
    """The steps of a flow that gets these answers, and what it returns; None where it asks for more."""
    flow = maker.transcription(TranscriptionRequest(model="g", file=Held(b"RIFF"), **fields))
    steps = [next(flow)]
    for answer in answers:
        try:
            steps.append(flow.send(messages.response(200, content=json.dumps(answer))))
        except StopIteration as over:
            return _wholes(steps), over.value
    return _wholes(steps), None


def _wholes(steps: list[Any]) -> list[BufferedRequest]:
    assert all(isinstance(step, BufferedRequest) for step in steps)
    return steps


def job(model: str = "universal-3-5-pro", **fields: Any) -> tuple[dict[str, Any], list[str]]:
    """What is asked for, and what is said of it in the end."""
    steps, answer = walked(adapter(model), UPLOADED, QUEUED, COMPLETED, **fields)
    assert answer is not None
    assert answer.metadata is not None
    asked: dict[str, Any] = json.loads(messages.body_of(steps[1].request))
    assert asked.pop("audio_url") == UPLOADED["upload_url"]
    return asked, list(answer.metadata.warnings)


# -- speech ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "url"),
    [
        (None, "https://tts.us.assemblyai.com/v1/openai/audio/speech"),
        ("https://tts.eu.assemblyai.com", "https://tts.eu.assemblyai.com/v1/openai/audio/speech"),
        ("https://tts.eu.assemblyai.com/v1", "https://tts.eu.assemblyai.com/v1/openai/audio/speech"),
        ("https://tts.eu.assemblyai.com/v1/openai/", "https://tts.eu.assemblyai.com/v1/openai/audio/speech"),
    ],
)
@pytest.mark.parametrize("model", ["assemblyai-tts-1", "assemblyai-tts-de"])
def test_speech(model: str, base: str | None, url: str) -> None:
    flow = adapter(model, **({"api_base": base} if base else {})).speech(SpeechRequest("g", "Hi.", voice="alloy"))
    request = next(flow)
    assert isinstance(request, Request)
    assert str(request.url) == url
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(messages.body_of(request)) == {
        "model": model,
        "input": "Hi.",
        "voice": "alloy",
        "response_format": "mp3",
    }


@pytest.mark.parametrize(("wanted", "asked"), [("wav", "wav"), ("opus", "pcm"), ("aac", "pcm"), ("flac", "pcm")])
def test_what_the_vendor_lacks_is_made_of_pcm(wanted: str, asked: str) -> None:
    flow = adapter("assemblyai-tts-1").speech(SpeechRequest("g", "Hi.", voice="alloy", response_format=wanted))
    request = next(flow)
    assert isinstance(request, Request)
    assert json.loads(messages.body_of(request))["response_format"] == asked
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, headers={"x-tts-billed-characters": "3"}))
    assert (over.value.value.format, over.value.value.rate) == (asked, 24_000)
    assert over.value.value.metadata.usage.characters == 3


def test_openais_voices_are_mapped_by_the_vendor() -> None:
    voices = adapter("assemblyai-tts-1").capabilities.voices
    assert voices is not None
    assert {voices.find(name) for name in NAMES} == set(NAMES)
    assert voices.find("Jane") == "aai-jane"
    assert voices.find("6f9619ff-8b86-d011-b42d-00cf4fc964ff") is None


# -- the job -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("base", "root"),
    [
        (None, "https://api.assemblyai.com/v2"),
        ("https://api.eu.assemblyai.com", "https://api.eu.assemblyai.com/v2"),
        ("https://api.eu.assemblyai.com/v2/", "https://api.eu.assemblyai.com/v2"),
    ],
)
def test_upload_job_polls(base: str | None, root: str) -> None:
    maker = adapter("universal-2", **({"api_base": base} if base else {}))
    steps, answer = walked(maker, UPLOADED, QUEUED, QUEUED, COMPLETED)
    upload, asked, *polls = steps
    assert [(step.request.method, str(step.request.url)) for step in steps] == [
        ("POST", f"{root}/upload"),
        ("POST", f"{root}/transcript"),
        ("GET", f"{root}/transcript/0072a82b-aa22"),
        ("GET", f"{root}/transcript/0072a82b-aa22"),
    ]
    assert {step.request.headers["authorization"] for step in steps} == {KEY}
    assert messages.body_of(upload.request) == b"RIFF"
    assert (upload.cleanup, asked.cleanup) == (None, None)
    cleanups = [poll.cleanup for poll in polls if poll.cleanup is not None]
    assert [(cleanup.method, cleanup.url) for cleanup in cleanups] == [("DELETE", polls[0].request.url)]
    assert polls[0].cleanup is not None, "to be deleted even if the caller leaves during the first pause"
    assert answer is not None


def test_the_pauses_grow_to_a_limit() -> None:
    steps, _ = walked(adapter("universal-2"), UPLOADED, QUEUED, *[QUEUED] * 20)
    deadlines = [step.wait for step in steps[2:]]
    assert 0 < deadlines[0] < 0.5
    assert all(before <= after for before, after in pairwise(deadlines))
    assert deadlines[-1] == deadlines[-2] <= 3


@pytest.mark.parametrize(
    ("model", "speech_models"),
    [
        ("universal-3-5-pro", ["universal-3-5-pro", "universal-2"]),
        ("best", ["universal-3-5-pro", "universal-2"]),
        ("universal-2", ["universal-2"]),
        ("nano", ["universal-2"]),
        ("universal-4", ["universal-4"]),
    ],
)
def test_models(model: str, speech_models: list[str]) -> None:
    deployment = Deployment(id="one", group="g", vendor="assemblyai", model=model, mode=Mode.TRANSCRIPTION)
    steps, _ = walked(ASSEMBLYAI.bind(deployment, {}), UPLOADED)
    assert json.loads(messages.body_of(steps[1].request))["speech_models"] == speech_models


def test_another_model_than_asked_for_is_said() -> None:
    answer = COMPLETED | {"speech_model_used": "universal-2"}
    for model, said in (("universal-3-5-pro", True), ("best", False)):
        _, heard = walked(adapter(model), UPLOADED, QUEUED, answer)
        assert heard is not None
        assert heard.metadata is not None
        assert bool(heard.metadata.warnings) == said


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"language_detection": True}),
        ({"language": "de"}, {"language_code": "de"}),
        ({"language": "en"}, {"language_code": "en"}),
        ({"language": "en_au"}, {"language_code": "en_au"}),
        ({"languages": ("fr",)}, {"language_code": "fr"}),
        (
            {"languages": ("fr", "de")},
            {"language_detection": True, "language_detection_options": {"expected_languages": ["fr", "de"]}},
        ),
    ],
)
def test_languages(fields: dict[str, Any], expected: dict[str, Any]) -> None:
    asked, _ = job(**fields)
    assert {name: value for name, value in asked.items() if name.startswith("language")} == expected


def test_prompt_and_terms_of_the_newer_model() -> None:
    assert job(keywords=("Zürich",))[0]["keyterms_prompt"] == ["Zürich"]
    asked, warnings = job(prompt="A call about a lost card, long as it is.", keywords=("Visa", "PIN"), temperature=0.2)
    assert asked["prompt"] == "A call about a lost card, long as it is.\n\nContext: Visa, PIN"
    assert "keyterms_prompt" not in asked
    assert asked["temperature"] == 0.2
    assert warnings == []


def test_universal_2_takes_terms_only() -> None:
    asked, warnings = job("universal-2", prompt="Visa, ACME Rocket Sled", keywords=("PIN",))
    assert asked["keyterms_prompt"] == ["PIN", "Visa", "ACME Rocket Sled"]
    assert "prompt" not in asked
    assert warnings == []
    _, warnings = job("universal-2", prompt="This is a call about a lost card and what to do.")
    assert len(warnings) == 1
    assert len(job("universal-2", keywords=tuple(map(str, range(300))))[0]["keyterms_prompt"]) == 200


def test_extras_get_their_types() -> None:
    extra = (
        ("punctuate", "false"), ("disfluencies", "1"), ("redact_pii", "true"), ("redact_pii_policies[]", "person_name"),
        ("redact_pii_policies[]", "email_address"), ("keyterms_prompt", "Vox"), ("domain", "medical-v1"),
        ("custom_spelling", '[{"from": ["decarlo"], "to": "DeCarlo"}]'), ("speakers_expected", "2"),
    )  # fmt: skip
    asked, warnings = job(extra=extra, response_format="diarized_json")
    assert warnings == []
    expected = {
        "punctuate": False,
        "disfluencies": True,
        "redact_pii": True,
        "redact_pii_policies": ["person_name", "email_address"],
        "keyterms_prompt": ["Vox"],
        "domain": "medical-v1",
        "custom_spelling": [{"from": ["decarlo"], "to": "DeCarlo"}],
        "speakers_expected": 2,
        "speaker_labels": True,
    }
    assert expected.items() <= asked.items()
    asked, warnings = job(extra=(("speakers_expected", "2"),))
    assert "speakers_expected" not in asked
    assert "speakers_expected" in warnings[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("punctuate", "maybe"), ("speakers_expected", "two"), ("language_confidence_threshold", "nan"),
        ("custom_spelling", '{"from": 1}'), ("custom_spelling", "x"),
        ("custom_spelling", '[{"to": "a", "webhook_url": "b"}]'),
    ],
)  # fmt: skip
def test_extras_of_the_wrong_kind_are_refused_before_the_upload(name: str, value: str) -> None:
    with pytest.raises(UnsupportedValue) as refused:
        walked(adapter("best"), extra=((name, value),))
    assert refused.value.param == name


# -- answers -----------------------------------------------------------------------------------------------------------


def test_a_transcript_with_speakers() -> None:
    _, answer = walked(adapter("best"), UPLOADED, QUEUED, COMPLETED, response_format="diarized_json")
    assert answer is not None
    found = answer.transcript
    assert [(one.speaker, one.text, one.start, one.end) for one in found.segments] == [
        ("A", "Good morning, how can I help?", 0.08, 1.6),
        ("B", "I lost my card.", 2.4, 3.6),
    ]
    assert (found.language, found.duration) == ("en", 4.0)
    assert found.usage == {"type": "duration", "seconds": 4}


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/upload/1", "http://cdn.assemblyai.com/upload/1", "https://assemblyai.com.evil.example/1",
        "https://evilassemblyai.com/1", "https://me@cdn.assemblyai.com/1", "https://cdn.assemblyai.com:8443/1", "file:///etc/passwd",
        "", "https://[", 7, None, ["https://cdn.assemblyai.com/1"],
    ],
)  # fmt: skip
def test_an_upload_lies_at_the_vendors(url: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        walked(adapter("best"), {"upload_url": url})


def test_an_upload_may_lie_where_it_was_sent() -> None:
    maker = adapter("best", api_base="http://127.0.0.1:8080/v2")
    steps, _ = walked(maker, {"upload_url": "http://127.0.0.1:8080/files/1"})
    assert len(steps) == 2
    with pytest.raises(UpstreamInvalid):
        walked(maker, {"upload_url": "http://127.0.0.1:9090/files/1"})


@pytest.mark.parametrize("id", ["..", ".", "", "a/b", "a?b", "a#b", "a\x00b", "a" * 200, 5, None, "ä"])
def test_an_id_stays_in_its_place(id: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        walked(adapter("best"), UPLOADED, {"id": id, "status": "queued"})


@pytest.mark.parametrize("status", [None, "done", 3, "terminated"])
def test_a_status_that_nobody_knows(status: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        walked(adapter("best"), UPLOADED, QUEUED, {"id": "x", "status": status})


@pytest.mark.parametrize(
    ("message", "kind", "code"),
    [
        ("Transcoding failed. File does not appear to contain audio.", UpstreamRejected, "invalid_audio"),
        ("Audio duration is too short.", UpstreamRejected, "invalid_audio"),
        ("Server error, developers have been alerted about this file.", UpstreamUnavailable, "upstream_error"),
        ("Something else.", UpstreamUnavailable, "upstream_error"),
        ("Your current account balance is negative.", UpstreamRateLimited, "insufficient_quota"),
        (None, UpstreamUnavailable, "upstream_error"),
    ],
)  # fmt: skip
def test_a_job_that_failed(message: str | None, kind: type[ProxyError], code: str) -> None:
    with pytest.raises(ProxyError) as failed:
        walked(adapter("best"), UPLOADED, QUEUED, {"id": "x", "status": "error", "error": message})
    assert type(failed.value) is kind
    assert failed.value.code == code


def test_a_job_that_failed_does_not_tell_where_the_audio_lies() -> None:
    told = f"Download error: unable to reach {UPLOADED['upload_url']} at api.assemblyai.com with {KEY}."
    with pytest.raises(UpstreamUnavailable) as failed:
        walked(adapter("best"), UPLOADED, QUEUED, {"id": "x", "status": "error", "error": told})
    assert failed.value.message == "Download error: unable to reach [redacted] at [redacted] with [redacted]."


def test_a_job_whose_caller_left_is_deleted_all_the_same() -> None:
    """What its making answers is all that tells its id."""
    steps, _ = walked(adapter("best"), UPLOADED, QUEUED)
    assert [step.creates for step in steps] == [False, True, False]
    assert steps[2].cleanup is not None


def test_silence_is_a_transcript_without_words() -> None:
    silent = {
        "id": "x",
        "status": "error",
        "error": "language_detection cannot be performed on files with no spoken audio.",
        "audio_duration": 3,
    }
    _, answer = walked(adapter("best"), UPLOADED, QUEUED, silent)
    assert answer is not None
    assert (answer.transcript.text, answer.transcript.duration) == ("", 3.0)


def test_errors_of_the_envelope() -> None:
    maker = adapter("assemblyai-tts-1")
    body = json.dumps({"code": "rate_limited", "message": f"Not for {KEY}.", "retry_after_seconds": 3.5}).encode()
    error = maker.error(messages.response(429), body)
    assert (type(error), error.retry_after) == (UpstreamRateLimited, 3.5)
    assert KEY not in error.message
    body = json.dumps({"error": {"code": "model_not_found", "message": "No.", "retry_after_seconds": "soon"}}).encode()
    error = maker.error(messages.response(400), body)
    assert (type(error), error.status, error.retry_after) == (UpstreamNotFound, 404, None)
    for lie in (b"", b"[]", b"null", b'{"error": "text"}', b"\xff", b'{"retry_after_seconds": -1}'):
        assert maker.error(messages.response(500), lie).retry_after is None
