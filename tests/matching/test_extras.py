"""Fields of a vendor's own, where the declaration names none because the server is one's own."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.matching import BoundDeployment, SpeechPlan, TranscriptionPlan, match_speech, match_transcription
from proxy.providers.registry import bind
from tests.providers.attempts import Held


def line(mode: Mode) -> BoundDeployment:
    deployment = Deployment(
        id="d", group="m", vendor="openai_compatible", model="any", api_base="http://127.0.0.1:9/v1", mode=mode
    )
    return BoundDeployment(deployment, bind(deployment, {}))


@pytest.mark.parametrize(
    "value",
    [
        {"webhook_url": "http://x"},
        {"a": [{"b": {"Api-Key": "x"}}]},
        [[{"callback": 1}]],
        {"headers": {"x": "y"}},
        ["http://x"],
    ],
)
def test_what_no_request_may_set_does_not_hide_in_an_object(value: Any) -> None:
    request = SpeechRequest("m", "Hi.", "alloy", extra={"options": value, "seed": 1})
    plan = match_speech(request, line(Mode.SPEECH))
    assert isinstance(plan, SpeechPlan)
    assert plan.request.extra == {"seed": 1}
    assert plan.warnings == ["options has no effect on 'm'"]


@pytest.mark.parametrize(("name", "value"), [("options", {"a": [{"seed": 1}]}), ("max_new_tokens", 100)])
def test_anything_else_passes(name: str, value: Any) -> None:
    plan = match_speech(SpeechRequest("m", "Hi.", "alloy", extra={name: value}), line(Mode.SPEECH))
    assert isinstance(plan, SpeechPlan)
    assert (plan.request.extra, plan.warnings) == ({name: value}, [])


def test_nor_in_the_name_of_a_field() -> None:
    extra = (("options[webhook_url]", "http://x"), ("options[seed]", "1"))
    plan = match_transcription(TranscriptionRequest("m", Held(b"RIFF"), extra=extra), line(Mode.TRANSCRIPTION))
    assert isinstance(plan, TranscriptionPlan)
    assert plan.request.extra == (("options[seed]", "1"),)
    assert plan.warnings == ["options[webhook_url] has no effect on 'm'"]
