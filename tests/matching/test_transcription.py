"""What is decided about a transcription request and a deployment, by what the vendor declares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, TranscriptionRequest
from proxy.matching import BoundDeployment, Needs, Rejection, TranscriptionPlan, length_matters, match_transcription
from proxy.providers.base import Adapter, Capabilities
from tests.audio import sounds
from tests.providers.attempts import Held

NO_NEEDS = Needs()
READING = Needs(reading=True)
TRANSLATING = Needs(translator="chat")


def bound(*, max_file_size_mb: float | None = None, **declared: Any) -> BoundDeployment:
    class Vendor:
        capabilities = Capabilities(modes=frozenset({Mode.TRANSCRIPTION}), **declared)

    deployment = Deployment(
        id="d", group="stt", vendor="acme", model="m", mode=Mode.TRANSCRIPTION, max_file_size_mb=max_file_size_mb
    )
    return BoundDeployment(deployment, cast(Adapter, Vendor()))


def request(**fields: Any) -> TranscriptionRequest:
    return TranscriptionRequest(**{"model": "stt", "file": Held(b"RIFF"), **fields})


def planned(asked: TranscriptionRequest, deployment: BoundDeployment, needs: Needs = NO_NEEDS) -> TranscriptionPlan:
    plan = match_transcription(asked, deployment, needs)
    assert isinstance(plan, TranscriptionPlan), plan
    return plan


def test_a_request_that_fits_goes_on_as_it_is_and_is_not_read() -> None:
    asked = request(stream=True, prompt="Ada")
    plan = planned(asked, bound())
    assert plan.request is asked
    assert (plan.is_read, plan.needs_times, plan.translator, plan.warnings) == (False, False, None, [])


@pytest.mark.parametrize(
    ("wanted", "stream", "needs_times"), [("srt", False, True), ("vtt", False, True), ("srt", True, False)]
)
def test_only_subtitles_need_times(wanted: str, stream: bool, needs_times: bool) -> None:
    assert planned(request(response_format=wanted, stream=stream), bound()).needs_times is needs_times


@pytest.mark.parametrize(
    ("wanted", "stream", "supported", "upstream"),
    [
        ("text", False, None, ("json", False)),
        ("srt", False, None, ("verbose_json", False)),
        ("srt", False, ("json", "diarized_json", "srt"), ("diarized_json", False)),
        ("srt", False, ("srt",), ("srt", False)),
        ("verbose_json", False, None, ("verbose_json", False)),
        ("json", True, None, ("json", True)),
        ("text", True, None, ("json", False)),
    ],
)
def test_a_transcript_that_is_read_is_asked_for_in_a_form_that_can_be_read(
    wanted: str, stream: bool, supported: tuple[str, ...] | None, upstream: tuple[str, bool]
) -> None:
    plan = planned(request(response_format=wanted, stream=stream), bound(response_formats=supported), READING)
    assert plan.is_read
    assert (plan.request.response_format, plan.request.stream) == upstream


def test_a_translation_by_a_chat_model_asks_for_what_is_spoken() -> None:
    asked = request(task="translate", prompt="Names: Ada", stream=True, response_format="srt")
    plan = planned(asked, bound(response_formats=("json", "verbose_json")), TRANSLATING)
    assert (plan.translator, plan.is_read, plan.needs_times) == ("chat", True, False)
    expected = replace(asked, task="transcribe", prompt=None, stream=False, response_format="verbose_json")
    assert plan.request == expected


@pytest.mark.parametrize(
    ("fields", "declared", "needs", "param"),
    [
        ({"file": Held(bytes(1_048_577))}, {"max_file_size_mb": 1.0}, Needs(), "file"),
        ({"seconds": 11.0}, {"max_seconds": 10}, Needs(), "file"),
        ({"language": "de"}, {"languages": ("en",)}, Needs(), "language"),
        ({"temperature": 2.0}, {"response_formats": ("json",)}, Needs(), "temperature"),
        ({"timestamp_granularities": ("line",)}, {"response_formats": ("json",)}, Needs(), "timestamp_granularities"),
        ({"response_format": "srt"}, {"response_formats": ("json",)}, Needs(), "response_format"),
        ({"response_format": "srt"}, {"response_formats": ("json",)}, TRANSLATING, "response_format"),
        ({"response_format": "odd"}, {}, TRANSLATING, "response_format"),
    ],
)
def test_what_cannot_be_served_is_rejected_by_name(
    fields: dict[str, Any], declared: dict[str, Any], needs: Needs, param: str
) -> None:
    rejection = match_transcription(request(**fields), bound(**declared), needs)
    assert isinstance(rejection, Rejection)
    assert rejection.error.status in (400, 413)
    assert rejection.error.param == param


def test_what_is_ignored_is_left_out_with_a_warning() -> None:
    asked = request(prompt="Ada", keywords=("Ada",), extra=(("seed", "1"), ("style", "x")))
    declared = bound(ignores=frozenset({"prompt", "keywords", "language"}), extras=frozenset({"seed"}))
    plan = planned(asked, declared)
    assert (plan.request.prompt, plan.request.keywords, plan.request.extra) == (None, (), (("seed", "1"),))
    assert plan.warnings == [f"{name} has no effect on 'stt'" for name in ("keywords", "prompt", "style")]


@pytest.mark.parametrize(
    ("content", "limit", "matters"),
    [
        (sounds.wav(sounds.pcm(2)), 3, False),
        (sounds.wav(sounds.pcm(2)), 1, True),
        (sounds.wav(sounds.pcm(2)), None, False),
        (sounds.aac_silence(2), 1000, True),
        (b"not audio", 1000, True),
    ],
)
def test_a_file_is_measured_if_it_may_be_too_long(content: bytes, limit: float | None, matters: bool) -> None:
    deployments = [bound(max_seconds=limit), bound()]
    assert length_matters(deployments, replace(request(), file=Held(content))) is matters
