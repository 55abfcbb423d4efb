"""Errors and their fields, and how often a call is tried."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from proxy import ProxyError, aspeech, speech
from proxy.errors import (
    BadRequest,
    ModelNotFound,
    Overloaded,
    Unauthorized,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from proxy.sdk.session import MAX_PAUSE, pause
from tests.conftest import NOWHERE
from tests.fakes import answers
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import KEY, Recorded, Upstream


def refused(**options: Any) -> ProxyError:
    with pytest.raises(ProxyError) as caught:
        speech(**{"model": "tts-1", "input": "Hello", "voice": "alloy", "max_retries": 0} | options)
    return caught.value


# -- what the vendor says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind", "fields"),
    [
        (400, UpstreamRejected, (400, "invalid_request_error", "voice", "unsupported_value")),
        (401, UpstreamCredentials, (502, "server_error", None, "upstream_credentials")),
        (404, UpstreamNotFound, (404, "invalid_request_error", None, "model_not_found")),
        (429, UpstreamRateLimited, (429, "requests", None, "rate_limit_exceeded")),
        (500, UpstreamUnavailable, (500, "server_error", None, "upstream_error")),
        (503, UpstreamUnavailable, (503, "server_error", None, "server_is_overloaded")),
    ],
)
def test_status_type_param_and_code(openai: Upstream, status: int, kind: type, fields: tuple[Any, ...]) -> None:
    openai.behave("tts-1", answer=answers.ERRORS[status])
    error = refused()
    assert type(error) is kind
    assert (error.status, error.type, error.param, error.code) == fields
    assert str(error) == error.message


def test_async_errors_are_the_same(openai: Upstream) -> None:
    openai.behave("tts-1", answer=answers.ERRORS[400])
    with pytest.raises(UpstreamRejected) as caught:
        asyncio.run(aspeech("tts-1", "Hello", "alloy"))
    assert caught.value.param == "voice"


def test_no_server(openai: Upstream) -> None:
    error = refused(api_base=NOWHERE)
    assert isinstance(error, UpstreamUnreachable)
    assert error.status == 502


def test_time_limit(openai: Upstream) -> None:
    openai.behave("tts-1", stop_after=-1, stop="hang")
    assert isinstance(refused(timeout=0.2), UpstreamTimeout)


def test_speech_that_breaks_off_is_no_answer(openai: Upstream) -> None:
    openai.behave("tts-1", stop_after=2)
    assert isinstance(refused(), UpstreamInvalid)


# -- what is refused before a request ----------------------------------------------------------------------------------


def test_a_missing_key_names_its_variable(upstream: Upstream) -> None:
    error = refused()
    assert isinstance(error, Unauthorized)
    assert (error.status, error.param, error.code) == (401, "api_key", "invalid_api_key")
    assert "OPENAI_API_KEY" in error.message


@pytest.mark.parametrize(
    ("options", "param", "code"),
    [
        ({"voice": None}, "voice", "missing_required_parameter"),
        ({"input": ""}, "input", "missing_required_parameter"),
        ({"input": b"Hello"}, "input", "invalid_type"),
        ({"input": "x" * 50_001}, "input", "string_above_max_length"),
        ({"model": ""}, "model", "missing_required_parameter"),
        ({"model": "whisper-1"}, "model", None),
        ({"model": "local/nothing"}, "model", "model_not_found"),
        ({"model": "cartesia/sonic-3"}, "model", "model_not_found"),
        ({"speed": 9}, "speed", "unsupported_value"),
        ({"speed": "fast"}, "speed", "invalid_type"),
        ({"speed": float("nan")}, "speed", "invalid_type"),
        ({"response_format": "midi"}, "response_format", "unsupported_value"),
        ({"stream_format": "x"}, "stream_format", "invalid_value"),
        ({"api_base": "ftp://x"}, "api_base", "invalid_value"),
        ({"api_key": "sk-1\r\nx: y"}, "api_key", "invalid_value"),
        ({"organization": "a\nb"}, "organization", "invalid_value"),
        ({"timeout": 0}, "timeout", "invalid_value"),
        ({"max_retries": -1}, "max_retries", "invalid_value"),
        ({"extra_headers": {}}, "extra_headers", "unknown_parameter"),
        ({"optional_params": {"num_retries": 3}}, "num_retries", "unknown_parameter"),
        ({"pitch": object()}, "pitch", "invalid_type"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], param: str, code: str | None
) -> None:
    """The ranges are those of OpenAI's own server, which this test must not reach."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    error = refused(**options)
    assert isinstance(error, BadRequest)
    assert (error.param, error.code) == (param, code)


def test_the_variable_s_key_is_taken_as_a_given_one(openai: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    assert speech("tts-1", "Hello", "alloy").content == SPEECH["mp3"]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1\r\nx: y")
    for base in (openai.url, ""):
        monkeypatch.setenv("OPENAI_BASE_URL", base)
        assert refused().param == "api_key"
    monkeypatch.setenv("OPENAI_API_KEY", " ")
    assert isinstance(refused(), Unauthorized)


def test_a_key_shows_in_no_message(openai: Upstream) -> None:
    error = refused(api_key="sk-sécret", api_base=openai.url)
    assert (error.param, error.status) == ("api_key", 400)
    assert "cret" not in f"{error!r} {error.detail} {error.__cause__!r}"


# -- attempts ----------------------------------------------------------------------------------------------------------


class Failing:
    """An upstream that fails a number of times before it answers well."""

    def __init__(self, times: int, answer: answers.Answer) -> None:
        self._left = times
        self._answer = answer

    def __call__(self, request: Recorded) -> answers.Answer:
        self._left -= 1
        return self._answer if self._left >= 0 else answers.speech(request.json)


def soon(status: int) -> answers.Answer:
    return answers.error(status, "Not now.", headers={"retry-after-ms": "5"})


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("stream", [False, True])
def test_failures_that_may_pass_are_tried_again(openai: Upstream, status: int, stream: bool) -> None:
    openai.behave("tts-1", answer=Failing(2, soon(status)))
    with speech("tts-1", "Hello", "alloy", max_retries=2, stream=stream) as answer:
        assert answer.read() == SPEECH["mp3"]
    assert len(openai.requests) == 3


def test_the_last_error_is_raised(openai: Upstream) -> None:
    openai.behave("tts-1", answer=Failing(9, soon(503)))
    assert refused(max_retries=1).status == 503
    assert len(openai.requests) == 2


def test_the_usual_number_of_attempts_is_three(openai: Upstream) -> None:
    openai.behave("tts-1", answer=Failing(9, soon(503)))
    refused(max_retries=None)
    assert len(openai.requests) == 3


def test_speech_that_broke_off_is_asked_for_again(openai: Upstream) -> None:
    openai.behave("tts-1", stop_after=2)
    assert isinstance(refused(max_retries=1), UpstreamInvalid)
    assert len(openai.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_another_attempt_would_meet_again_is_not_tried_again(openai: Upstream, status: int) -> None:
    openai.behave("tts-1", answer=answers.ERRORS[status])
    refused(max_retries=5)
    assert len(openai.requests) == 1


def test_an_empty_purse_and_a_long_rest_are_not_waited_for(openai: Upstream) -> None:
    openai.behave("tts-1", answer=answers.error(429, "No money.", code="insufficient_quota"))
    refused(max_retries=5)
    openai.behave("tts-1", answer=answers.error(429, "Later.", headers={"retry-after": "3600"}))
    assert refused(max_retries=5).retry_after == 3600
    assert len(openai.requests) == 2


def test_pauses_grow_vary_and_honour_what_the_vendor_says() -> None:
    random.seed(1)
    pauses = [[pause(UpstreamTimeout("x"), retries) or 0 for _ in range(50)] for retries in range(8)]
    assert all(len(set(group)) > 40 for group in pauses)
    assert [max(group) for group in pauses] == sorted(max(group) for group in pauses[:5]) + [
        max(group) for group in pauses[5:]
    ]
    assert max(max(group) for group in pauses) <= 8
    told = [pause(Overloaded("x", retry_after=3), retries) or 0 for retries in range(8)]
    assert min(told) >= 3
    assert max(told) <= 3.3
    assert pause(Overloaded("x", retry_after=MAX_PAUSE + 1), 0) is None
    assert pause(BadRequest("x"), 0) is None


@pytest.mark.parametrize("model", ["vertex_ai/", "local/", "openai/"])
def test_a_vendor_without_a_model_is_never_served_by_openai(openai: Upstream, model: str) -> None:
    with pytest.raises(ModelNotFound, match="does not name a model"):
        speech(model=model, voice="alloy", input="Hello")
    assert not openai.requests
