"""What is decided about a speech request and a deployment, by what the vendor declares."""

from __future__ import annotations

from typing import Any, cast

import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest
from proxy.matching import BoundDeployment, Rejection, SpeechPlan, match_speech
from proxy.providers.base import Adapter, Capabilities
from proxy.providers.voices import Voice, Voices

VOICES = Voices(catalogue=(Voice("anna", "Anna"), Voice("ben", "Ben")), openai={"alloy": "anna"})


def bound(*, settings: dict[str, Any] | None = None, **declared: Any) -> BoundDeployment:
    class Vendor:
        capabilities = Capabilities(modes=frozenset({Mode.SPEECH}), **declared)

    fields = {"id": "d", "group": "tts", "vendor": "acme", "model": "m", "mode": Mode.SPEECH, **(settings or {})}
    return BoundDeployment(Deployment(**fields), cast(Adapter, Vendor()))


def planned(request: SpeechRequest, deployment: BoundDeployment) -> SpeechPlan:
    plan = match_speech(request, deployment)
    assert isinstance(plan, SpeechPlan), plan
    return plan


def request(**fields: Any) -> SpeechRequest:
    return SpeechRequest(**{"model": "tts", "input": "Hello.", "voice": "alloy", **fields})


@pytest.mark.parametrize("extra", [{}, {"seed": 1}])
def test_a_request_that_fits_goes_on_as_it_is(extra: dict[str, Any]) -> None:
    asked = request(stream_format="sse", extra=extra)
    plan = planned(asked, bound())
    assert plan.request is asked
    assert (plan.response_format, plan.tempo, plan.piece_characters, list(plan.warnings)) == ("mp3", 1.0, None, [])


@pytest.mark.parametrize(
    ("native", "wanted", "upstream"),
    [
        (("mp3", "pcm"), "mp3", "mp3"),
        (("mp3", "pcm"), "opus", "pcm"),
        (("wav",), "mp3", "wav"),
        (("mp3",), "pcm", "mp3"),
        (("own",), "mp3", "own"),
        (None, "mp3", "mp3"),
    ],
)
def test_the_vendor_is_asked_for_what_it_makes(native: tuple[str, ...] | None, wanted: str, upstream: str) -> None:
    plan = planned(request(response_format=wanted, stream_format="sse"), bound(formats=native))
    assert (plan.request.response_format, plan.response_format) == (upstream, wanted)
    assert plan.request.stream_format == ("sse" if upstream == wanted else None), "events cannot be converted"


def test_events_are_not_asked_of_a_vendor_that_has_none() -> None:
    assert planned(request(stream_format="sse"), bound(sse=False)).request.stream_format is None


@pytest.mark.parametrize(
    ("supported", "speed", "upstream", "tempo"),
    [((0.5, 2.0), 1.5, 1.5, 1.0), ((0.5, 2.0), 4.0, 2.0, 2.0), ((1, 1), 2.0, None, 2.0), (None, 3.0, 3.0, 1.0)],
)
def test_what_a_vendor_lacks_of_a_speed_is_left_to_stretching(
    supported: tuple[float, float] | None, speed: float, upstream: float | None, tempo: float
) -> None:
    plan = planned(request(speed=speed), bound(speed=supported, formats=("mp3", "pcm")))
    assert (plan.request.speed, plan.tempo) == (upstream, tempo)
    assert plan.request.response_format == ("pcm" if tempo != 1.0 else "mp3"), "what is stretched should lose nothing"


def test_a_long_input_is_split_if_the_vendor_allows_it() -> None:
    long = request(input="Hello there. " * 10)
    assert planned(long, bound(max_characters=100, splits=True)).piece_characters == 100
    assert planned(request(), bound(max_characters=100, splits=True)).piece_characters is None
    rejection = match_speech(long, bound(max_characters=100))
    assert isinstance(rejection, Rejection)
    assert rejection.error.code == "string_above_max_length"


@pytest.mark.parametrize(
    ("voice", "settings", "upstream"),
    [
        ("alloy", {}, "anna"),
        ("Ben", {}, "ben"),
        ("nova", {"voices": {"nova": "ben"}}, "ben"),
        (None, {"voice": "anna"}, "anna"),
        ("clone", {"allow_any_voice": True}, "clone"),
        ("clone", {"voice": "ben", "group": "other"}, "ben"),
    ],
)
def test_the_voice_is_the_vendors(voice: str | None, settings: dict[str, Any], upstream: str) -> None:
    assert planned(request(voice=voice), bound(voices=VOICES, settings=settings)).request.voice == upstream


@pytest.mark.parametrize(
    ("fields", "declared", "param"),
    [
        ({"voice": "clone"}, {"voices": VOICES}, "voice"),
        ({"voice": None}, {}, "voice"),
        ({"speed": 5.0}, {"speed": (1, 1)}, "speed"),
        ({"instructions": "x" * 20}, {"max_instructions": 10}, "instructions"),
        ({"response_format": "amr"}, {"formats": ("mp3",)}, "response_format"),
    ],
)
def test_what_cannot_be_served_is_rejected_by_name(
    fields: dict[str, Any], declared: dict[str, Any], param: str
) -> None:
    rejection = match_speech(request(**fields), bound(**declared))
    assert isinstance(rejection, Rejection)
    assert (rejection.error.status, rejection.error.param) == (400, param)


def test_what_is_ignored_is_left_out_with_a_warning() -> None:
    asked = request(instructions="Whisper.", extra={"seed": 1, "style": "sad"})
    plan = planned(asked, bound(ignores=frozenset({"instructions"}), extras=frozenset({"seed"})))
    assert (plan.request.instructions, plan.request.extra) == (None, {"seed": 1})
    assert plan.warnings == ["instructions has no effect on 'tts'", "style has no effect on 'tts'"]
