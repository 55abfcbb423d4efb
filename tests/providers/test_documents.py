"""Documents of OpenAI's shape from servers that are not OpenAI: the one parser decides about each oddity."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.domain.transcript import Transcript
from proxy.errors import UpstreamInvalid
from proxy.providers.wire.transcripts import read


def segment(**fields: Any) -> dict[str, Any]:
    return {"start": 0.0, "end": 1.0, "text": "Hello.", **fields}


def parsed(is_openai: bool, *, diarized: bool = False, **fields: Any) -> Transcript:
    return read(json.dumps({"text": "Hello.", **fields}).encode(), diarized=diarized, is_openai=is_openai)[0]


@pytest.fixture(params=[True, False], ids=["openai", "vendor"])
def is_openai(request: pytest.FixtureRequest) -> bool:
    found: bool = request.param
    return found


def test_an_end_before_the_start_is_the_start(is_openai: bool) -> None:
    document = parsed(
        is_openai, segments=[segment(start=2.0, end=1.0)], words=[{"word": "Hello", "start": 3, "end": 2}]
    )
    assert (document.segments[0].start, document.segments[0].end) == (2.0, 2.0)
    assert (document.words[0].start, document.words[0].end) == (3.0, 3.0)


@pytest.mark.parametrize("time", [True, False, "soon", -1, 1e9, [], {}])
def test_a_time_that_is_none_makes_the_document_invalid(is_openai: bool, time: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        parsed(is_openai, segments=[segment(start=time)])
    with pytest.raises(UpstreamInvalid):
        parsed(is_openai, words=[{"word": "Hello", "start": 0, "end": time}])


def test_a_time_in_quotes_is_a_time(is_openai: bool) -> None:
    assert parsed(is_openai, segments=[segment(end="1.5")]).segments[0].end == 1.5


@pytest.mark.parametrize("label", ["speaker", "speaker_id"])
def test_a_speaker_may_be_named_in_two_ways(is_openai: bool, label: str) -> None:
    document = parsed(is_openai, diarized=True, segments=[segment(**{label: "agent"})])
    assert document.segments[0].speaker == ("agent" if is_openai else "A")


@pytest.mark.parametrize(
    ("label", "speaker"), [(0, "A"), (7, "A"), (True, None), (3.5, None), ([], None), (None, None)]
)
def test_a_speaker_that_is_not_text_gets_a_letter_or_none(is_openai: bool, label: Any, speaker: str | None) -> None:
    assert parsed(is_openai, diarized=True, segments=[segment(speaker=label)]).segments[0].speaker == speaker


@pytest.mark.parametrize(
    ("tokens", "kept"), [([1, 2], (1, 2)), ([], ()), ([1, "2"], ()), ([1, True], ()), ("12", ()), (None, ())]
)
def test_tokens_are_all_whole_numbers_or_left_out(is_openai: bool, tokens: Any, kept: tuple[int, ...]) -> None:
    assert parsed(is_openai, segments=[segment(tokens=tokens)]).segments[0].tokens == kept


@pytest.mark.parametrize(
    ("languages", "kept"),
    [([{"code": "en"}, {"code": "de"}], ("en", "de")), ([{"code": 1}], None), (["en"], None), ("en", None), ([], None)],
)
def test_languages_are_codes_or_left_out(is_openai: bool, languages: Any, kept: tuple[str, ...] | None) -> None:
    assert parsed(is_openai, languages=languages).languages == kept


@pytest.mark.parametrize(
    ("logprobs", "kept"), [([{"token": "a"}], ({"token": "a"},)), ([1], None), ({}, None), ([], ()), (None, None)]
)
def test_logprobs_are_objects_or_left_out(is_openai: bool, logprobs: Any, kept: tuple[Any, ...] | None) -> None:
    assert parsed(is_openai, logprobs=logprobs).logprobs == kept


def test_numbers_of_the_wrong_type_are_left_out(is_openai: bool) -> None:
    odd = parsed(is_openai, segments=[segment(avg_logprob=True, temperature="hot", seek=None, no_speech_prob=1e300)])
    found = odd.segments[0]
    assert (found.avg_logprob, found.temperature, found.seek, found.no_speech_prob) == (None, 0.0, 0, None)


@pytest.mark.parametrize(("duration", "kept"), [(1.5, 1.5), ("1.5", 1.5), (True, None), ("long", None), (-1, None)])
def test_a_duration_may_stand_in_quotes(is_openai: bool, duration: Any, kept: float | None) -> None:
    assert parsed(is_openai, duration=duration).duration == kept


def test_the_usage_tells_a_duration_that_the_document_does_not(is_openai: bool) -> None:
    usage = {"type": "duration", "seconds": 3}
    assert parsed(is_openai, usage=usage).duration == 3
    assert parsed(is_openai, usage=usage, duration=2.5).duration == 2.5


def test_the_usage_of_openai_stays_as_it_is() -> None:
    usage = {"type": "tokens", "input_tokens": 5, "new": 1}
    assert parsed(True, usage=usage).usage == usage
    assert parsed(True, duration=2.5).usage is None
    assert parsed(False, duration=2.5).usage == {"type": "duration", "seconds": 3}
