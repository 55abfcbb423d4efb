"""The section "Ends and errors": each sentence, one test."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server, group, standard_config
from tests.fakes import answers
from tests.fakes.answers import ERRORS, Answer
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream, repeated, stream
from tests.front.shape import error_of
from tests.front.wire import JSON, Wire

SPEAK = "/v1/audio/speech"
LISTEN = "/v1/audio/transcriptions"
HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}
FILE = {"file": ("speech.wav", wav())}
MP3 = SPEECH["mp3"]
EVENTS = answers.speech_events([b"one", b"two", b"three"])


# -- what the caller can mend ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/v1/audio/nowhere", 404),
        ("GET", "/v1/audio/speech", 405),
        ("HEAD", "/v1/audio/speech", 405),
        ("PUT", "/v1/audio/transcriptions", 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health/liveliness", 405),
        ("GET", "/v1/audio/speech/", 405),
        ("POST", "/v1/audio/speeches", 404),
        ("GET", "/v1/models/none-such", 404),
    ],
)
def test_every_refusal_has_the_four_keys(http: httpx.Client, method: str, path: str, status: int) -> None:
    reply = http.request(method, path)
    assert reply.status_code == status, reply.text
    if method == "HEAD":
        assert reply.content == b""
    else:
        assert error_of(reply)["type"] == "invalid_request_error"
    if reply.status_code == 405:
        assert reply.headers["allow"]


def test_an_unknown_model_names_what_may_be_used_and_the_nearest(upstream: Upstream, http: httpx.Client) -> None:
    for reply in (
        http.post(SPEAK, json=HELLO | {"model": "selfhostd"}),
        http.post(LISTEN, data={"model": "selfhostd-stt"}, files=FILE),
    ):
        error = error_of(reply, 404, "model_not_found")
        assert (error["type"], error["param"]) == ("invalid_request_error", "model")
        assert "selfhosted" in error["message"]
        assert "gpt-t" in error["message"]
    assert not upstream.requests


def test_an_unknown_model_is_the_sdks_not_found_error(upstream: Upstream, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.audio.speech.create(model="tts-9", input="Hello", voice="alloy")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("model", ["x" * 5000, "</script>", "a\nb", "\u202e", "%s%n{0}", "../v1"])
def test_a_hostile_model_name_is_not_found_and_not_echoed_at_length(http: httpx.Client, model: str) -> None:
    error = error_of(http.post(SPEAK, json=HELLO | {"model": model}))
    assert len(error["message"]) < 2000


@pytest.mark.parametrize("model", ["whisper", "translator", "gpt-transcribe"])
def test_a_model_of_the_wrong_mode_does_not_speak(upstream: Upstream, http: httpx.Client, model: str) -> None:
    error = error_of(http.post(SPEAK, json=HELLO | {"model": model}), 400)
    assert error["param"] == "model"
    assert not upstream.requests


def test_a_speech_model_does_not_transcribe(upstream: Upstream, http: httpx.Client) -> None:
    assert error_of(http.post(LISTEN, data={"model": "tts"}, files=FILE), 400)["param"] == "model"
    assert not upstream.requests


def test_a_body_of_another_content_type_is_refused_in_shape(http: httpx.Client) -> None:
    reply = http.post(SPEAK, content=b"<a/>", headers={"content-type": "text/xml"})
    error_of(reply)
    assert reply.status_code in {400, 415}


# -- the upstream's refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (400, 400, "unsupported_value"),
        (401, 502, "upstream_credentials"),
        (403, 502, "upstream_credentials"),
        (404, 404, "model_not_found"),
        (407, 502, "upstream_credentials"),
        (409, 409, "conflict"),
        (413, 413, ...),
        (422, 400, ...),
        (429, 429, "rate_limit_exceeded"),
        (500, 500, ...),
        (502, 502, ...),
        (503, 503, ...),
    ],
)
@pytest.mark.parametrize("path", [SPEAK, LISTEN])
def test_the_upstreams_status_becomes(
    upstream: Upstream, http: httpx.Client, path: str, said: int, status: int, code: Any
) -> None:
    upstream.behave("*", answer=ERRORS[said])
    reply = http.post(path, json=HELLO) if path == SPEAK else http.post(path, data={"model": "whisper"}, files=FILE)
    error = error_of(reply, status, code)
    assert "cloudflare" not in reply.text
    assert "detail" not in reply.json()
    if status == 502:
        assert "proj_secret" not in error["message"]
        assert "sk-up" not in reply.text


def test_a_4xx_passes_with_message_param_and_code(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("tts-1", answer=ERRORS[400])
    error = error_of(http.post(SPEAK, json=HELLO), 400)
    assert error == {
        "message": "Unsupported value: 'voice' does not support 'bob'.",
        "type": "invalid_request_error",
        "param": "voice",
        "code": "unsupported_value",
    }


def test_429_passes_with_retry_after(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("tts-1", answer=ERRORS[429])
    reply = http.post(SPEAK, json=HELLO)
    error = error_of(reply, 429, "rate_limit_exceeded")
    assert reply.headers["retry-after"] == "1"
    assert "x-should-retry" not in reply.headers
    assert "Rate limit reached" in error["message"]


def test_429_without_quota_keeps_its_code(upstream: Upstream, http: httpx.Client) -> None:
    said = answers.error(429, "You exceeded your current quota", "insufficient_quota", code="insufficient_quota")
    upstream.behave("tts-1", answer=said)
    assert error_of(http.post(SPEAK, json=HELLO), 429, "insufficient_quota")["type"] == "insufficient_quota"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, openai.BadRequestError),
        (404, openai.NotFoundError),
        (409, openai.ConflictError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_the_sdks_classes(
    upstream: Upstream, sdk: openai.OpenAI, status: int, expected: type[openai.APIStatusError]
) -> None:
    upstream.behave("*", answer=ERRORS[status])
    with pytest.raises(expected) as caught:
        sdk.audio.speech.create(model="tts", input="Hello", voice="alloy")
    assert caught.value.request_id


def test_422_says_what_was_missing(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("*", answer=ERRORS[422])
    error = error_of(http.post(LISTEN, data={"model": "whisper"}, files=FILE), 400)
    assert "Field required" in error["message"]
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":"plain text"}',
        b'{"detail":"Model not loaded"}',
        b'{"message":"Model not loaded"}',
        b"Model not loaded",
        b"",
        b"null",
        b"[1]",
        b'{"error":{"message":["x"],"type":5,"param":{},"code":[]}}',
        b'{"error":{"message":null}}',
        b"\xff\xfe\x00",
        b'{"error":',
    ],
)
def test_any_error_body_becomes_openais(upstream: Upstream, http: httpx.Client, body: bytes) -> None:
    upstream.behave("tts-1", answer=Answer("application/json", [body], 400, chunked=False))
    error_of(http.post(SPEAK, json=HELLO), 400)


def test_upstream_error_bodies_are_bounded(upstream: Upstream, http: httpx.Client) -> None:
    block = b" " * 65_536
    upstream.behave("tts-1", answer=Answer("application/json", [b'{"error":', *[block] * 160, b"{}}"], 500))
    reply = http.post(SPEAK, json=HELLO)
    error_of(reply, 500)
    assert len(reply.content) < 10_000


def test_a_very_long_upstream_message_is_cut(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("tts-1", answer=answers.error(400, "long " * 20_000))
    reply = http.post(SPEAK, json=HELLO)
    error_of(reply, 400)
    assert len(reply.content) < 20_000


def test_an_upstreams_message_never_carries_its_key_or_address(upstream: Upstream, http: httpx.Client) -> None:
    said = f"Bad request to http://127.0.0.1:{upstream.port}/v1/audio/speech with Bearer {KEY}"
    upstream.behave("tts-1", answer=answers.error(400, said))
    reply = http.post(SPEAK, json=HELLO)
    error_of(reply, 400)
    assert KEY not in reply.text
    assert str(upstream.port) not in reply.text


def test_an_upstream_that_answers_before_it_read_the_upload(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("*", answer=ERRORS[413], read_body="headers")
    reply = http.post(LISTEN, data={"model": "whisper"}, files={"file": ("a.wav", bytes(3 << 20))})
    assert "Maximum content size limit" in error_of(reply, 413)["message"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(upstream: Upstream, http: httpx.Client, status: int) -> None:
    elsewhere = {"location": "http://127.0.0.1:1/v1/audio/speech"}
    upstream.behave("tts-1", answer=Answer("text/html", [b"moved"], status, elsewhere, chunked=False))
    reply = http.post(SPEAK, json=HELLO)
    error_of(reply, 502, "upstream_invalid")
    assert "location" not in reply.headers
    assert {request.target for request in upstream.requests} == {"/v1/audio/speech"}


# -- answers that are no HTTP ------------------------------------------------------------------------------------------

_START = b"HTTP/1.1 200 OK\r\nContent-Type: audio/mpeg\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.6\r\n", id="ssh"),
        pytest.param(b"HTTP/1.1 twohundred OK\r\n\r\n", id="status"),
        pytest.param(_START + b"Content-Length: -5\r\n\r\n", id="negative length"),
        pytest.param(_START + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", id="two lengths"),
        pytest.param(_START + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", id="chunk size"),
        pytest.param(_START + b"X-Long: " + b"x" * 2_000_000, id="endless header"),
        pytest.param(_START + b"".join(b"X-%d: x\r\n" % number for number in range(200_000)), id="many headers"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", id="204"),
        pytest.param(b"HTTP/1.1 304 Not Modified\r\n\r\n", id="304"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n", id="101"),
    ],
)
def test_answers_that_are_no_http_are_502(upstream: Upstream, http: httpx.Client, raw: bytes) -> None:
    upstream.behave("tts-1", raw=raw)
    error = error_of(http.post(SPEAK, json=HELLO), 502)
    assert error["code"] in {"upstream_invalid", "upstream_unreachable"}


def test_a_broken_chunk_in_mid_stream_cuts_the_connection(upstream: Upstream, proxy: Server) -> None:
    head = _START + b"Transfer-Encoding: chunked\r\n\r\n60\r\n" + MP3[:96] + b"\r\n"
    upstream.behave("tts-1", raw=head + b"zz\r\nhello\r\n")
    with Wire(proxy.port) as wire:
        reply = wire.post(SPEAK, json.dumps(HELLO).encode(), JSON)
    assert not reply.complete or reply.status_code == 502


def test_interim_answers_are_passed_over(upstream: Upstream, http: httpx.Client) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    upstream.behave("tts-1", raw=hints + _START + b"Content-Length: 96\r\n\r\n" + MP3[:96])
    reply = http.post(SPEAK, json=HELLO)
    assert (reply.status_code, reply.content) == (200, MP3[:96])


def test_http_1_0_that_ends_with_the_connection(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("tts-1", raw=b"HTTP/1.0 200 OK\r\nContent-Type: audio/mpeg\r\n\r\n" + MP3)
    assert http.post(SPEAK, json=HELLO).content == MP3


def test_an_upstream_that_closes_after_each_answer_is_no_failure(upstream: Upstream, http: httpx.Client) -> None:
    """Without ``Connection: close``: a kept connection may turn out dead when it is used again."""
    upstream.behave("tts-1", framing="length", stop_after=1_000)
    for _ in range(25):
        assert http.post(SPEAK, json=HELLO).content == MP3


# -- the upstream that is not there ------------------------------------------------------------------------------------


def test_unreachable_is_502(http: httpx.Client) -> None:
    reply = http.post(SPEAK, json=HELLO | {"model": "nowhere"})
    error_of(reply, 502, "upstream_unreachable")
    assert "127.0.0.1" not in reply.text


def test_a_wrong_upstream_key_is_502_and_the_details_are_in_the_log(
    upstream: Upstream, proxy: Server, http: httpx.Client
) -> None:
    reply = http.post(SPEAK, json=HELLO | {"model": "bad-key"})
    error_of(reply, 502, "upstream_credentials")
    assert "Incorrect API key" not in reply.text
    assert "401" in " ".join(proxy.log_lines(reply.headers["x-request-id"]))


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_dying_before_the_answer_is_502(upstream: Upstream, http: httpx.Client, stop: Any) -> None:
    upstream.behave("*", stop_after=-1, stop=stop)
    error_of(http.post(SPEAK, json=HELLO), 502, "upstream_unreachable")
    error_of(http.post(LISTEN, data={"model": "whisper"}, files=FILE), 502, "upstream_unreachable")


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_dying_after_the_headers_but_before_a_byte_is_502(upstream: Upstream, http: httpx.Client, stop: Any) -> None:
    upstream.behave("tts-1", stop_after=0, stop=stop)
    error_of(http.post(SPEAK, json=HELLO), 502)


def test_too_slow_is_504(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("impatient", stop_after=-1, stop="hang")
    error_of(http.post(SPEAK, json=HELLO | {"model": "impatient"}), 504, "upstream_timeout")
    upstream.last.wait_closed()


def test_an_upstream_that_never_reads_an_upload_is_504(upstream: Upstream, serve: Callable[..., Server]) -> None:
    entry = group("whisper", "openai/whisper-1", upstream.url, "audio_transcription", timeout=0.8)
    server = serve({"model_list": [entry], "general_settings": {"master_key": MASTER_KEY}})
    upstream.behave("*", read_body="never", stop_after=-1, stop="hang")
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    files = {"file": ("a.wav", bytes(24 << 20))}
    reply = httpx.post(server.url + LISTEN, data={"model": "whisper"}, files=files, headers=headers, timeout=20)
    error_of(reply, 504, "upstream_timeout")


def test_stream_timeout_bounds_the_first_byte_and_stall_timeout_the_gaps(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    entry = group("tts", "openai/tts-1", upstream.url, stream_timeout=0.5, stall_timeout=0.5)
    server = serve({"model_list": [entry], "general_settings": {"master_key": MASTER_KEY}})
    headers = {"authorization": f"Bearer {MASTER_KEY}"}

    upstream.behave("tts-1", stop_after=-1, stop="hang")
    error_of(httpx.post(server.url + SPEAK, json=HELLO, headers=headers), 504, "upstream_timeout")

    upstream.behave("tts-1", stop_after=2, stop="hang")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(server.url + SPEAK, json=HELLO, headers=headers)
    upstream.last.wait_closed()

    upstream.behave("tts-1", answer=stream(*[MP3[:96]] * 6), gap=0.2)  # together longer than either bound
    assert httpx.post(server.url + SPEAK, json=HELLO, headers=headers).content == MP3[:96] * 6


def test_stall_timeout_does_not_run_while_our_own_client_is_not_reading(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    entry = group("tts", "openai/tts-1", upstream.url, stall_timeout=0.4)
    server = serve({"model_list": [entry], "general_settings": {"master_key": MASTER_KEY}})
    upstream.behave("tts-1", answer=repeated(b"\xff\xf3" + bytes(65_534), 512))
    body = json.dumps(HELLO).encode()
    with Wire(server.port, receive_buffer=65_536) as wire:
        wire.head("POST", SPEAK, {**JSON, "Content-Length": str(len(body))})
        wire.send(body)
        upstream.wait_requests().wait_chunks(1)
        time.sleep(1.2)
        assert upstream.last.chunks_sent < 512  # backpressure reached the upstream
        reply = wire.reply()
    assert (reply.complete, len(reply.content)) == (True, 512 * 65_536)


# -- ends in mid-stream ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_audio_that_breaks_off_cuts_the_connection(upstream: Upstream, proxy: Server, stop: Any) -> None:
    """A raw socket sees no terminating chunk: a truncated answer never looks complete."""
    upstream.behave("tts-1", answer=stream(MP3[:96], MP3[96:192], MP3[192:]), stop_after=2, stop=stop, gap=0.05)
    body = json.dumps(HELLO).encode()
    with Wire(proxy.port) as wire:
        reply = wire.post(SPEAK, body, JSON)
        assert reply.status_code == 200
        assert not reply.complete
        assert MP3.startswith(reply.content)
        assert reply.content
        assert wire.closed()


def test_audio_with_a_length_that_breaks_off_is_cut_too(upstream: Upstream, proxy: Server) -> None:
    upstream.behave("tts-1", framing="length", stop_after=2, gap=0.05)
    with Wire(proxy.port) as wire:
        assert not wire.post(SPEAK, json.dumps(HELLO).encode(), JSON).complete


def test_the_sdk_raises_on_audio_that_breaks_off(upstream: Upstream, sdk: openai.OpenAI) -> None:
    upstream.behave("tts-1", stop_after=2, gap=0.05)
    speech = sdk.audio.speech.with_streaming_response.create(model="tts", input="Hello", voice="alloy")
    with speech as reply, pytest.raises(Exception, match=r"(?i)incomplete|peer closed|connection"):
        b"".join(reply.iter_bytes())


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_events_that_break_off_end_with_an_error_event(upstream: Upstream, http: httpx.Client, stop: Any) -> None:
    answer = stream(*EVENTS, content_type=answers.EVENT_STREAM)
    upstream.behave("gpt-4o-mini-tts", answer=answer, stop_after=2, stop=stop, gap=0.05)
    reply = http.post(SPEAK, json=HELLO | {"model": "gpt-tts", "stream_format": "sse"})
    assert reply.content.startswith(b"".join(EVENTS[:2]))
    assert_error_event(reply.content[len(b"".join(EVENTS[:2])) :])


def assert_error_event(rest: bytes) -> None:
    """One event with OpenAI's error object; no ``[DONE]`` may follow that would make the answer look whole."""
    first, _, after = rest.partition(b"\n\n")
    assert first.startswith(b"data: {"), rest
    document = json.loads(first.removeprefix(b"data: "))
    assert list(document["error"]) == ["message", "type", "param", "code"]
    assert b"speech.audio.done" not in after
    assert b"transcript.text.done" not in after


def test_events_that_break_within_an_event(upstream: Upstream, http: httpx.Client) -> None:
    answer = stream(EVENTS[0], EVENTS[1][:20], content_type=answers.EVENT_STREAM)
    upstream.behave("gpt-4o-mini-tts", answer=answer, stop_after=2)
    reply = http.post(SPEAK, json=HELLO | {"model": "gpt-tts", "stream_format": "sse"})
    assert reply.content.startswith(EVENTS[0])
    rest = reply.content[len(EVENTS[0]) :].split(b"\n\n")
    error_events = [event for event in rest if event.startswith(b'data: {"error"')]
    assert len(error_events) == 1, rest


@pytest.mark.parametrize("kept", [1, 4])
def test_the_sdk_raises_api_error_on_events_that_break_off(upstream: Upstream, sdk: openai.OpenAI, kept: int) -> None:
    upstream.behave("gpt-4o-transcribe", stop_after=kept, gap=0.02)
    seen = []
    with pytest.raises(openai.APIError):  # noqa: PT012
        for event in sdk.audio.transcriptions.create(file=wav(), model="gpt-4o-transcribe", stream=True):
            seen.append(event)
    assert len(seen) == kept


def test_an_error_event_of_the_upstream_reaches_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    broken = answers.event({"error": {"message": "overloaded", "type": "server_error", "param": None, "code": None}})
    events = answers.transcription_events("gpt-4o-transcribe", {})[:2]
    upstream.behave("gpt-4o-transcribe", answer=stream(*events, broken, content_type=answers.EVENT_STREAM))
    with pytest.raises(openai.APIError):
        list(sdk.audio.transcriptions.create(file=wav(), model="gpt-4o-transcribe", stream=True))


def test_no_event_has_empty_data(upstream: Upstream, http: httpx.Client) -> None:
    """An empty data line crashes both SDKs."""
    events = answers.transcription_events("gpt-4o-transcribe", {})
    noisy = [b": keep-alive\n\n", events[0], b"data: \n\n", b"data:\n\n", b"\n\n", *events[1:]]
    upstream.behave("gpt-4o-transcribe", answer=stream(*noisy, content_type=answers.EVENT_STREAM))
    reply = http.post(LISTEN, data={"model": "gpt-4o-transcribe", "stream": "true"}, files=FILE)
    for event in reply.content.split(b"\n\n"):
        assert event.strip() not in {b"data:", b"data"}


def test_a_client_that_disconnects_ends_the_upstream_call(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("tts-1", stop_after=2, stop="hang")
    with http.stream("POST", SPEAK, json=HELLO) as reply:
        next(reply.iter_raw())
    upstream.last.wait_closed()


def test_a_client_that_disconnects_before_the_answer_ends_the_upstream_call(upstream: Upstream, proxy: Server) -> None:
    upstream.behave("tts-1", stop_after=-1, stop="hang")
    with Wire(proxy.port) as wire:
        body = json.dumps(HELLO).encode()
        wire.head("POST", SPEAK, {**JSON, "Content-Length": str(len(body))})
        wire.send(body)
        upstream.wait_requests()
    upstream.last.wait_closed()


def test_a_client_that_disconnects_ends_a_transcription(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("gpt-4o-transcribe", stop_after=2, stop="hang")
    with http.stream("POST", LISTEN, data={"model": "gpt-4o-transcribe", "stream": "true"}, files=FILE) as reply:
        next(reply.iter_raw())
    upstream.last.wait_closed()


def test_a_call_whose_client_left_is_logged_once(upstream: Upstream, proxy: Server, http: httpx.Client) -> None:
    upstream.behave("tts-1", stop_after=2, stop="hang")
    with http.stream("POST", SPEAK, json=HELLO, headers={"x-request-id": "req-client-left-1"}) as reply:
        next(reply.iter_raw())
    upstream.last.wait_closed()
    assert len(proxy.log_lines("req-client-left-1")) == 1
    assert "client_gone" in proxy.log_lines("req-client-left-1")[0]


# -- the log -----------------------------------------------------------------------------------------------------------


def test_the_request_id_finds_the_log_line(upstream: Upstream, proxy: Server, http: httpx.Client) -> None:
    upstream.behave("tts-1", answer=ERRORS[500])
    for body in (HELLO, HELLO | {"model": "none"}, HELLO | {"model": "gpt-tts"}):
        assert proxy.log_lines(http.post(SPEAK, json=body).headers["x-request-id"])


def test_the_upstreams_key_and_address_are_in_no_answer_and_no_key_in_the_log(
    upstream: Upstream, proxy: Server, http: httpx.Client
) -> None:
    replies = [http.post(SPEAK, json=HELLO | {"model": model}) for model in ("nowhere", "bad-key", "tts", "none")]
    upstream.behave("tts-1", stop_after=-1)
    replies.append(http.post(SPEAK, json=HELLO))
    for reply in replies:
        said = reply.text + str(reply.headers)
        assert KEY not in said
        assert "sk-upstream" not in said
        assert str(upstream.port) not in said.replace(str(proxy.port), "")
    proxy.log_lines(replies[-1].headers["x-request-id"])
    assert KEY not in proxy.log()
    assert "sk-upstream" not in proxy.log()
    assert MASTER_KEY not in proxy.log()


def test_after_all_that_the_server_answers(upstream: Upstream, http: httpx.Client) -> None:
    assert http.post(SPEAK, json=HELLO).content == MP3


def test_many_broken_calls_leave_connections_for_good_ones(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, max_concurrent_streams=4))
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    with httpx.Client(base_url=server.url, headers=headers) as client:
        for number in range(12):
            upstream.behave("tts-1", stop_after=(-1, 0, 1)[number % 3])
            try:
                client.post(SPEAK, json=HELLO)
            except httpx.RemoteProtocolError:
                continue
        upstream.behave("tts-1")
        assert client.post(SPEAK, json=HELLO).content == MP3


# -- found in review ---------------------------------------------------------------------------------------------------

SECRET_EVENT = b'data: {"type":"error","error":{"message":"key %b at %b","code":null}}\n\n'


@pytest.mark.parametrize(
    "before", [b"", b'data: {"type":"speech.audio.delta","audio":"AQIDBAUGBwgJCgsM"}\n\n'], ids=["first", "later"]
)
def test_an_error_event_never_shows_key_or_address_and_counts_as_an_error(
    upstream: Upstream, http: httpx.Client, proxy: Server, before: bytes
) -> None:
    event = SECRET_EVENT % (KEY.encode(), upstream.url.encode())
    upstream.behave("gpt-4o-mini-tts", answer=Answer("text/event-stream", [before + event] if before else [event]))
    reply = http.post(SPEAK, json=HELLO | {"model": "gpt-tts", "stream_format": "sse"})
    assert KEY not in reply.text
    assert upstream.url.partition("//")[2] not in reply.text
    if before:
        assert reply.text.startswith(before.decode())
        error = json.loads(reply.text.removeprefix(before.decode()).removeprefix("data: "))["error"]
        assert set(error) == {"message", "type", "param", "code"}
    else:
        assert error_of(reply, 500)["message"].startswith("key [redacted] at")
    (line,) = proxy.log_lines(reply.headers["x-request-id"])
    assert json.loads(line)["error"] == "upstream_unavailable"


@pytest.mark.parametrize("delta", ["it is all well.done", "error", ".done"])
def test_words_in_a_transcript_are_not_its_end(upstream: Upstream, http: httpx.Client, delta: str) -> None:
    event = b'data: {"type":"transcript.text.delta","delta":"%b"}\n\n' % delta.encode()
    upstream.behave("gpt-4o-transcribe", answer=Answer("text/event-stream", [event]))
    reply = http.post(LISTEN, data={"model": "gpt-4o-transcribe", "stream": "true"}, files={"file": ("a.wav", wav())})
    assert "[DONE]" not in reply.text
    assert '"error"' in reply.text


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"bad \\ud800"}}',
        b"[" * 60_000,
        b'{"detail":[{"loc":5,"msg":7}]}',
        b'{"error":{"message":["x"],"type":{},"code":[1]}}',
    ],
    ids=["surrogate", "deep", "odd detail", "odd types"],
)
def test_odd_error_documents_are_no_errors_of_ours(
    upstream: Upstream, http: httpx.Client, proxy: Server, body: bytes
) -> None:
    upstream.behave("tts-1", answer=Answer("application/json", [body], 400))
    for _ in range(2):  # and the connection goes on
        reply = http.post(SPEAK, json=HELLO)
        error_of(reply, 400)
        assert len(proxy.log_lines(reply.headers["x-request-id"])) == 1


@pytest.mark.parametrize("format", ["json", "verbose_json", "srt", "vtt", "text", "lrc", "XML"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"hi","segments":[{"start":0,"end":1,"text":null}]}',
        b'{"text":"hi","words":[{"start":1e999,"end":1,"word":"a"}]}',
        b'{"text":"hi","segments":[{"start":-1,"end":1,"text":"a"}],"languages":5}',
        b"[" * 60_000,
        b'{"text":null}',
        b"<html>Sign in</html>",
    ],
    ids=["null text", "endless", "odd languages", "deep", "no text", "page"],
)
def test_odd_transcripts_are_no_errors_of_ours(
    upstream: Upstream, http: httpx.Client, format: str, body: bytes
) -> None:
    upstream.behave("faster-whisper", answer=Answer("application/json", [body]))
    reply = http.post(
        LISTEN, data={"model": "selfhosted-stt", "response_format": format}, files={"file": ("a.wav", wav())}
    )
    assert reply.status_code in {200, 502}, reply.text
    if reply.status_code == 502:
        error_of(reply, 502, "upstream_invalid")


def test_what_a_transcript_says_is_in_no_log(upstream: Upstream, http: httpx.Client, proxy: Server) -> None:
    upstream.behave("faster-whisper", answer=Answer("application/json", [b"My name is Alice and my card is 4111"]))
    reply = http.post(LISTEN, data={"model": "selfhosted-stt"}, files={"file": ("a.wav", wav())})
    error_of(reply, 502, "upstream_invalid")
    assert "Alice" not in proxy.log()


def test_headers_of_the_deployment_are_blotted_out_of_errors(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(
        {
            "model_list": [group("tts", "openai/tts-1", upstream.url, headers={"x-key": "azure-secret-5e6f7a8b"})],
            "general_settings": {"master_key": MASTER_KEY},
        }
    )
    upstream.behave(
        "tts-1", answer=answers.error(400, "bad header azure-secret-5e6f7a8b", code="azure-secret-5e6f7a8b")
    )
    reply = httpx.post(server.url + SPEAK, json=HELLO, headers={"Authorization": f"Bearer {MASTER_KEY}"})
    error_of(reply, 400)
    assert "azure-secret" not in reply.text + server.log()


def test_fields_in_another_spelling_do_not_go_upstream(upstream: Upstream, http: httpx.Client) -> None:
    extra = {"Model": "other", "INPUT": "long", "API_KEY": "x", " seed": 1, "seed": 4}
    assert http.post(SPEAK, json=HELLO | {"model": "selfhosted"} | extra).status_code == 200
    assert set(extra) & set(upstream.last.json) == {"seed"}
    http.post(LISTEN, data={"model": "selfhosted-stt", "MODEL": "other", "vad": "1"}, files={"file": ("a.wav", wav())})
    assert {"MODEL", "vad"} & set(upstream.last.fields) == {"vad"}


def test_an_unknown_model_named_before_the_file_is_404_however_large_the_file(
    http: httpx.Client, upstream: Upstream
) -> None:
    reply = http.post(LISTEN, data={"model": "whispr"}, files={"file": ("a.wav", bytes(4 << 20))})
    assert "Did you mean 'whisper'?" in error_of(reply, 404, "model_not_found")["message"]
    assert "Did you mean 'tts'?" in error_of(http.post(SPEAK, json=HELLO | {"model": "openai/TTS"}), 404)["message"]
