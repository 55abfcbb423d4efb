"""What vendors' errors mean, in the shapes and words of real servers."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from proxy.errors import UpstreamNotFound, UpstreamRateLimited, UpstreamRejected, UpstreamUnavailable
from proxy.providers.wire import errors
from proxy.providers.wire.retry_after import retry_after
from proxy.providers.wire.unknown_models import says_unknown_model
from proxy.providers.wire.vendor_network import describes_network
from tests.fakes import messages


def failure(status: int, document: Any, **headers: str) -> Any:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return errors.to_error(errors.of_response(messages.response(status, headers=headers), body))


# -- the words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "Could not find real modelID",
        "could not load model: rpc error: code = Unknown desc = failed loading model",
        "`speech_model` is invalid. It must be one of best, nano.",
        "Model x is not enabled for this account",
        "model_not_found",
        "当前分组 default 下对于模型 x 无可用渠道",
        "could not find the model whisper-9",
        "Cannot find model x",
        "Invalid model: whisper-9",
        "Invalid model name passed in model=whisper-9. Call `/v1/models` to view available models for your key.",
        "litellm.BadRequestError: 400: {'error': 'Invalid model name passed in model=x'}",
        "The model `x` does not exist.",
        "The model 'x' does not exist or you do not have access to it.",
        "Model 'Systran/faster-whisper' is not installed locally. You can download the model using `POST /v1/models`",
        'model "x:latest" not found, try pulling it first',
        "Model not found",
        "No endpoints found for stepfun/step-3.5-flash:free.",
        "deepseek-r1t-chimera:free is not a valid model ID",
        "models/x is not found for API version v1beta, or is not supported for predict",
        "The provided model identifier is invalid.",
        "Model does not exist. Please check it carefully.",
        "The model `x` has been decommissioned and is no longer supported.",
        "Unknown model whisper-9",
        "Unknown TTS model 'foo'",
        "Unsupported model: x",
        "No such model/version found.",
        "AiError: No such model @cf/x or task",
        "The API deployment for this resource does not exist. If you created the deployment within …",
        "A model with model ID eleven_x does not exist",
        "Model with id 'x' could not be found",
        "Requested model 'x' is not available",
        "The model you requested does not exist",
        "'x' is not in the list of available models",
        "The model must be one of tts-1, tts-1-hd",
        "no available channel for model x under group default",
        "could not load model - all backends returned error",
        "Publisher Model `projects/p/models/x` was not found or your project does not have access to it.",
        "Model x isn\u2019t supported by this server",
        "模型不存在",
    ],
)
def test_a_model_that_the_server_does_not_have(words: str) -> None:
    assert says_unknown_model(words)
    for status in (400, 404, 422, 500):
        error = failure(status, {"detail": words})
        assert (type(error), error.status, error.code, error.param) == (
            UpstreamNotFound, 404, "model_not_found", "model",
        )  # fmt: skip
        assert error.is_inferred
        assert words[:20] in error.message or describes_network(words)


@pytest.mark.parametrize(
    "words",
    [
        "model overloaded",
        "That model is currently overloaded with other requests.",
        "The model does not support response_format",
        "this model does not support response_format verbose_json",
        "response_format 'srt' is not compatible with model 'gpt-4o-transcribe'. Use 'json' or 'text' instead.",
        "This model does not support the format you provided.",
        "Model x is currently loading",
        "The model is not ready",
        "Model not loaded",
        "Voice 'bob' not found",
        "voice not found for model tts-1",
        "could not find voice for model x",
        "Invalid voice for model x",
        "Unsupported value: 'voice' does not support 'bob'.",
        "Unsupported response_format for model x",
        "invalid audio for model x",
        "Audio file is too short",
        "File not found",
        "Not Found",
        "Resource not found",
        "failed to load model: out of memory",
        "could not load model: rpc error: code = Unavailable desc = error reading from server: EOF",
        "Language xx is not supported by the model",
        "Model x is not supported for translation",
        "Input is too long for this model",
        "The model produced invalid content",
        "Model inference failed",
        "You must provide a model parameter",
        "This model is not available in combination with diarization",
    ],
)
def test_other_refusals_are_shown_as_what_they_are(words: str) -> None:
    assert not says_unknown_model(words)
    error = failure(400, {"error": {"message": words}})
    assert (type(error), error.status, error.message, error.code) == (UpstreamRejected, 400, words, None)
    assert failure(503, {"error": {"message": words}}).message == words


@pytest.mark.parametrize("status", [401, 402, 403, 407, 408, 429])
def test_some_statuses_mean_what_they_mean_whatever_is_said(status: int) -> None:
    assert not isinstance(failure(status, {"error": {"message": "Model not found"}}), UpstreamNotFound)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "x", "type": "invalid_model", "code": "1500"},
        {"message": "x", "code": "model_not_found"},
        {"message": "x", "code": "ModelNotFound"},
        {"message": "x", "status": "model_not_found"},
    ],
)
def test_a_code_says_it_for_certain(error: dict[str, Any]) -> None:
    for document in (error, {"error": error}, {"detail": error}, {"object": "error", **error}):
        found = failure(400, document)
        assert (type(found), found.status, found.code, found.is_inferred) == (
            UpstreamNotFound, 404, "model_not_found", False,
        )  # fmt: skip


def test_a_word_of_the_vendors_own_is_kept_where_the_status_says_it() -> None:
    document = {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}
    assert failure(404, document).code == "DeploymentNotFound"
    assert failure(404, {"message": "The model `x` does not exist.", "code": 404}).code == "model_not_found"


# -- the shapes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"error": {"message": "Too short."}},
        {"error": "Too short."},
        {"message": "Too short."},
        {"msg": "Too short.", "code": 17},
        {"detail": "Too short."},
        {"detail": {"status": "bad", "message": "Too short."}},
        {"detail": {"error": {"message": "Too short."}}},
        {"detail": {"error": "Too short."}},
        {"error": {"error": {"message": "Too short."}}},
        {"message": {"detail": "Too short."}},
        {"errors": [{"message": "Too short.", "code": 5007}], "success": False, "result": {}, "messages": []},
        {"errors": ["Too short."]},
        {"error": ["Too short."]},
        {"error": True, "message": "Too short."},
        {"statusCode": 400, "message": "Too short.", "error": "Bad Request"},
        {"type": "about:blank", "title": "Bad Request", "status": 400, "detail": "Too short."},
        {"err_code": "X", "err_msg": "Too short."},
        {"error_description": "Too short."},
        ["Too short."],
        "Too short.",
        b"Too short.",
        b"  Too\r\n short.\n",
        b"<?xml version='1.0'?><Error><Code>X</Code><Message>Too short.</Message></Error>",
    ],
)
def test_the_text_is_found_wherever_it_stands(document: Any) -> None:
    error = failure(400, document)
    assert (type(error), error.message) == (UpstreamRejected, "Too short.")


@pytest.mark.parametrize(
    "document",
    [
        b"", b"null", b"{}", b"[]", b"7", b"<html><title>Sign in</title><p>No.</p></html>", b"\x00\x01\xff\xfe",
        b"[" * 60_000, b'{"error":' * 50 + b'"x"' + b"}" * 50, {"error": {"message": ["", {}]}}, {"detail": [5, None]},
        {"message": {"message": {"message": {"message": {"message": {"message": "deep"}}}}}},
    ],
)  # fmt: skip
def test_without_a_text_the_status_is_told(document: Any) -> None:
    assert "status 400" in failure(400, document).message


def test_fastapi_names_the_field() -> None:
    rows = [
        {"type": "enum", "loc": ["body", "response_format"], "msg": "Input should be 'mp3' or 'wav'"},
        {"type": "missing", "loc": ["body", "voice"], "msg": "Field required"},
    ]
    error = failure(422, {"detail": rows})
    assert (type(error), error.status, error.type) == (UpstreamRejected, 400, "invalid_request_error")
    assert (error.param, error.code) == ("response_format", None)
    assert error.message == "body.response_format: Input should be 'mp3' or 'wav'; body.voice: Field required"


@pytest.mark.parametrize("kind", ["enum", "literal_error", "value_error", "string_pattern_mismatch"])
@pytest.mark.parametrize("field", ["model", "model_id"])
def test_fastapi_on_the_model(kind: str, field: str) -> None:
    other = {"type": "missing", "loc": ["body", "voice"], "msg": "Field required"}
    error = failure(422, {"detail": [other, {"type": kind, "loc": ["body", field], "msg": "Input should be 'tts-1'"}]})
    assert (type(error), error.status, error.code, error.param) == (UpstreamNotFound, 404, "model_not_found", field)


@pytest.mark.parametrize("row", [{"type": "missing", "msg": "Field required"}, {"type": "x", "msg": "field required"}])
def test_a_model_that_is_missing_is_not_an_unknown_one(row: dict[str, str]) -> None:
    error = failure(422, {"detail": [{"loc": ["body", "model"], **row}]})
    assert (type(error), error.status, error.param) == (UpstreamRejected, 400, "model")


# -- the vendor's own network ------------------------------------------------------------------------------------------

NETWORK = [
    "getaddrinfo ENOTFOUND kokoro",
    "[Errno -2] Name or service not known: kokoro-tts",
    "[Errno 2] No such file or directory: 'models/x.pt'",
    "cannot read models/whisper.bin",
    "cannot read ../models/x",
    "//fileserver/share/x is gone",
    "root@gpu-07:~$ nvidia-smi",
    "node ip-10-0-0-5 is down",
    "asr-7f9c4d5b6c-x2x1z was restarted",
    "host 10[.]0[.]0[.]5 is down",
    "\uff11\uff10.0.0.5 and 10\u30020\u30020\u30025",
    "10%2E0%2E0%2E5 refused",
    "http%3A%2F%2Fasr%2Finternal failed",
    "cannot open &#47;opt&#47;app",
    "segmentation fault at 0x7f00a001",
    "connect to 10.0.0.5 failed",
    "dial tcp 10.1.2.3:8000: connect: connection refused",
    "connect ECONNREFUSED 127.0.0.1:5000",
    "error at http://triton:8000/v2/models",
    "HTTPSConnectionPool(host='gpu.corp', port=443): Max retries exceeded",
    "https://internal-api.vendor.com/x failed",
    "https://10.2.3.4/x failed",
    "postgres://u:p@db/x",
    "unix:///var/run/x.sock",
    "redis:6379 is down",
    "upstream=worker-3:8000",
    "lookup asr.speech.svc.cluster.local: no such host",
    "ip-10-0-0-1.ec2.internal did not answer",
    "gpu-17.prod.vendor.com did not answer",
    "localhost refused",
    "open /usr/lib/x.so: no such file",
    "could not open ~/models/x",
    "error in (/app/main)",
    "C:\\models\\x.bin is missing",
    "\\\\host\\share is missing",
    'File "<stdin>", line 3, in run',
    "Traceback (most recent call last): ValueError",
    "at com.foo.Bar(Unknown Source)",
    "thread 'main' panicked at src/main.rs:4:5",
    "goroutine 1 [running]: main.main",
    "[::1]:8000 refused",
    "fe80::1%eth0 unreachable",
    "2001:db8::8a2e:370:7334 is down",
]


@pytest.mark.parametrize("words", NETWORK)
@pytest.mark.parametrize("status", [500, 502, 503, 529])
def test_a_vendors_own_network_is_for_the_log_only(words: str, status: int) -> None:
    for document in ({"error": {"message": words}}, {"detail": words}, words.encode()):
        error = failure(status, document)
        assert (type(error), error.message) == (UpstreamUnavailable, "The upstream vendor failed to answer.")
        assert words[:60] in error.detail
    assert failure(400, {"error": {"message": words}}).message == words, "about the request: the caller needs it"
    event = errors.to_error(errors.of_event(json.dumps({"error": {"message": words}}).encode()))
    assert words not in event.message


def test_an_unknown_model_is_told_without_the_path_where_it_was_looked_for() -> None:
    error = failure(500, {"error": {"message": "could not load model: stat /models/x.bin: no such file"}})
    assert (error.status, error.code, "/models" in error.message) == (404, "model_not_found", False)
    assert "/models/x.bin" in error.detail


@pytest.mark.parametrize(
    "words",
    [
        "The server had an error. Contact us through our help center at help.openai.com (include the ID req_abc123).",
        "Service Unavailable. Visit https://groqstatus.com/ to see if there is an active incident.",
        "Something went wrong. See https://docs.vendor.ai/errors.",
        "no healthy upstream",
        "upstream connect error or disconnect/reset before headers. reset reason: connection failure",
        "openai/whisper-large-v3 failed and/or stalled at 12:30:45, text/plain, 3 tokens/s",
        "v1.2.3 failed at 2026-12-01T06:33:30Z, code 500",
        "failed: std::bad_alloc",
    ],
)
def test_what_is_meant_for_callers_is_shown(words: str) -> None:
    assert failure(500, {"error": {"message": words}}).message == words


def test_keys_are_blotted_out_of_the_log_too() -> None:
    error = errors.to_error(errors.ErrorDetails(500, "key sk-secret at 10.0.0.1"), ("sk-secret",))
    assert "sk-secret" not in error.message + error.detail
    assert "10.0.0.1" in error.detail


@pytest.mark.parametrize(
    "text", ["model " * 400, "a-" * 1000, ":" * 2000, "/" * 2000, "1." * 1000, "ab:" * 700, "\\" * 2000, 'file "' * 400]
)
def test_no_text_takes_long_to_understand(text: str) -> None:
    began = time.process_time()
    for _ in range(10):
        describes_network(text)
        says_unknown_model(text)
    assert time.process_time() - began < 2, "a quadratic pattern takes a hundred times as long"


# -- when to ask again -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "1.5s"}, 1.5),
        ({"retry-after": "86400"}, 86_400),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "1"}, 1),
        ({"x-ratelimit-reset-requests": "1.2s"}, 1.2),
        ({"x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-reset-requests": "20ms"}, 0.02),
        ({"x-ratelimit-reset-tokens": "1h2m3s"}, 3723),
        ({"x-ratelimit-reset-requests": "3", "x-ratelimit-remaining-requests": "0"}, 3),
        ({"x-ratelimit-reset-requests": "9s", "x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-tokens": "2s",
          "x-ratelimit-remaining-tokens": "0"}, 2),
        ({"retry-after": "4", "x-ratelimit-reset-requests": "1s"}, 4),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e3"}, None),
        ({"retry-after": "1000000000"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "Tue, 99 Foo 2026"}, None),
        ({"x-ratelimit-reset-requests": "soon"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_when_to_ask_again(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(messages.response(429, headers=headers)) == (
        seconds if seconds is None else pytest.approx(seconds)
    )


def test_a_date_counts_by_the_vendors_own_clock() -> None:
    now = 1_900_000_000
    headers = {"retry-after": formatdate(now + 30, usegmt=True), "date": formatdate(now, usegmt=True)}
    assert retry_after(messages.response(429, headers=headers)) == 30
    headers["retry-after"] = formatdate(now - 30, usegmt=True)
    assert retry_after(messages.response(503, headers=headers)) == 0
    soon = retry_after(messages.response(429, headers={"retry-after": formatdate(time.time() + 100, usegmt=True)}))
    assert soon is not None
    assert 90 < soon <= 100


def test_a_reset_says_nothing_unless_the_limit_is_reached() -> None:
    headers = {"x-ratelimit-reset-requests": "1s"}
    assert isinstance(failure(429, {}, **headers), UpstreamRateLimited)
    for status in (400, 500):
        assert failure(status, {}, **headers).retry_after is None
