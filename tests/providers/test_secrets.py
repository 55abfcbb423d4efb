"""Keys and addresses that a vendor repeats, wherever it does."""

from __future__ import annotations

import json

import pytest

from proxy.attempts.attempt import passed_headers
from proxy.http.messages import URL, Headers, Request, Response
from proxy.providers.wire import errors
from proxy.providers.wire.headers import upstream_id
from tests.fakes import messages

KEY = "sk-secret-0123456789"
HOST = "vendor.internal"


@pytest.mark.parametrize("field", ["message", "type", "code", "param"])
def test_an_error_does_not_tell_them(field: str) -> None:
    text = json.dumps({"error": {"message": "m"} | {field: f"bad {KEY} at https://{HOST}/v1"}})
    escaped = text.replace("/", "\\/").replace("sk-", "\\u0073k-").replace("vendor", "\\u0076endor")
    for body in (text, escaped):
        error = errors.to_error(errors.of_response(messages.response(400), body.encode()), secrets=(KEY, HOST))
        told = json.dumps(error.body()) + error.detail
        assert "bad [redacted] at https://[redacted]/v1" in told
        assert KEY not in told
        assert HOST not in told


def response(value: str) -> Response:
    headers = Headers.of({"authorization": f"Bearer {KEY}", "x-team": "blue-sky-7"})
    asked = Request("POST", URL(f"https://{HOST}/v1"), headers)
    return messages.response(200, headers={"x-request-id": value}, request=asked)


@pytest.mark.parametrize("value", [KEY, f"Bearer {KEY}", f"1:{KEY}:2", "blue-sky-7"])
def test_an_id_that_holds_the_key_is_none(value: str) -> None:
    answered = response(value)
    assert upstream_id(answered) == ""
    answered.headers = Headers.of({"openai-version": value, "x-ratelimit-limit-requests": "60"})
    assert passed_headers(answered) == [(b"x-ratelimit-limit-requests", b"60")]


@pytest.mark.parametrize("value", ["req_0123", "application/json", "a", HOST])
def test_any_other_id_is_one(value: str) -> None:
    assert upstream_id(response(value)) == value


def test_an_answer_to_nobody_has_an_id_too() -> None:
    assert upstream_id(messages.response(200, headers={"x-request-id": "req_1"})) == "req_1"
