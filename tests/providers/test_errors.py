"""What an adapter does by default, and how a vendor's error becomes one of ours."""

from __future__ import annotations

import json

import pytest

from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import (
    BadRequest,
    NotInstalled,
    Overloaded,
    ProxyError,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.providers.base import Adapter, Capabilities
from proxy.providers.vendors.local import MODELS, LocalAdapter
from proxy.providers.wire import errors
from proxy.providers.wire.errors import MAX_LOG_LENGTH, MAX_MESSAGE_LENGTH, ErrorDetails
from tests.fakes import messages
from tests.providers.attempts import Held

SECRET = "sk-secret-0123456789"


def test_an_adapter_without_anything_of_its_own() -> None:
    adapter = Adapter(Capabilities(modes=frozenset(Mode)), secrets=(SECRET,))
    request = SpeechRequest("group", "Hello.")
    assert adapter.voices() is None
    assert adapter.opening(request) is None
    assert not adapter.over_socket
    with pytest.raises(BadRequest, match="'group' does not generate speech"):
        adapter.speech(request)
    with pytest.raises(BadRequest, match="'group' does not transcribe"):
        adapter.transcription(TranscriptionRequest("group", Held(b"")))
    body = json.dumps({"error": {"message": f"bad {SECRET}", "code": "x"}}).encode()
    assert adapter.error(messages.response(400), body).message == "bad [redacted]"
    assert isinstance(adapter.event_error(body), UpstreamUnavailable)


@pytest.mark.parametrize(
    ("status", "kind", "shown"),
    [
        (302, UpstreamInvalid, 502),
        (400, UpstreamRejected, 400),
        (401, UpstreamCredentials, 502),
        (402, UpstreamRateLimited, 429),
        (403, UpstreamCredentials, 502),
        (404, UpstreamNotFound, 404),
        (407, UpstreamCredentials, 502),
        (408, UpstreamTimeout, 504),
        (410, UpstreamNotFound, 410),
        (413, UpstreamRejected, 413),
        (422, UpstreamRejected, 400),
        (429, UpstreamRateLimited, 429),
        (500, UpstreamUnavailable, 500),
        (502, UpstreamUnavailable, 502),
        (503, UpstreamUnavailable, 503),
        (529, UpstreamUnavailable, 502),
    ],
)
def test_each_status_has_one_meaning(status: int, kind: type[ProxyError], shown: int) -> None:
    details = ErrorDetails(status)
    error = errors.to_error(details)
    assert (type(error), error.status) == (kind, shown)
    assert details.is_rejection == (kind is UpstreamRejected)


def test_the_effective_status_goes_before_the_vendors_own() -> None:
    details = ErrorDetails(401, "used up", code="insufficient_quota", effective_status=429)
    error = errors.to_error(details)
    assert (type(error), error.status, error.code) == (UpstreamRateLimited, 429, "insufficient_quota")
    assert error.detail == "upstream status 401, type None, code insufficient_quota"


def test_what_is_known_is_kept() -> None:
    error = errors.to_error(ErrorDetails(400, "No.", "some_type", "voice", 7, 3.5))
    assert (error.message, error.type, error.param, error.code) == ("No.", "some_type", "voice", 7)
    assert error.retry_after == 3.5


def test_nothing_of_a_secret_is_left_where_a_text_is_cut() -> None:
    filler = "x" * (MAX_MESSAGE_LENGTH - 5)
    error = errors.to_error(ErrorDetails(400, filler + SECRET, log="y" * (MAX_LOG_LENGTH - 5) + SECRET), (SECRET,))
    assert "sk-s" not in error.message + error.detail
    assert len(error.message) == MAX_MESSAGE_LENGTH


@pytest.mark.parametrize(
    ("engine", "kind", "status"),
    [
        (Overloaded("Full.", retry_after=2), UpstreamRateLimited, 503),
        (NotInstalled("Install it."), NotInstalled, 501),
        (BadRequest("No.", param="input"), UpstreamRejected, 400),
        (ProxyError("Broken."), UpstreamUnavailable, 500),
    ],
)
def test_the_errors_of_a_local_engine(engine: ProxyError, kind: type[ProxyError], status: int) -> None:
    adapter = LocalAdapter(None, base="", key=None, declared=MODELS["espeak-ng"])
    response = messages.response(engine.status, extensions={"error": engine})
    error = adapter.error(response, b"")
    assert (type(error), error.status, error.message) == (kind, status, engine.message)
    assert (error.param, error.retry_after) == (engine.param, engine.retry_after)
