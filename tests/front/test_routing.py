"""Deployments that fail and clients that do not notice: retries, fallbacks, hedging, and what the headers say of it."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, NOWHERE, Server, launch
from tests.fakes import answers
from tests.fakes.answers import ERRORS, Answer
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream, stream
from tests.front.shape import error_of
from tests.front.wire import FORM, JSON, Reply, Wire, file_part, form, text_part

SPEAK, LISTEN, TRANSLATE = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"
MP3 = SPEECH["mp3"]
FILE = {"file": ("speech.wav", wav())}
MIB = 1 << 20
BLOCK = hashlib.shake_128(b"block").digest(64 * 1024)
MODES = {"s": "audio_speech", "t": "audio_transcription", "x": "audio_translation"}


def deployment(group: str, name: str, url: str, kind: str = "s", **params: Any) -> dict[str, Any]:
    """Called ``name`` here and upstream; ``kind`` is a letter of ``MODES``."""
    settings = {"model": f"openai/{name}", "api_key": KEY, "api_base": url} | params
    return {"model_name": group, "litellm_params": settings, "model_info": {"mode": MODES[kind], "id": name}}


def config(*deployments: dict[str, Any], general: dict[str, Any] | None = None, **router: Any) -> dict[str, Any]:
    """Failures put nothing to rest here, unless a test says so: the deployments serve many tests."""
    return {
        "model_list": list(deployments),
        "router_settings": {"allowed_fails": 1000, "cooldown_time": 0} | router,
        "general_settings": {"master_key": MASTER_KEY, "log_format": "json"} | (general or {}),
    }


@pytest.fixture(scope="module")
def routed(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url = fake.url
    server = launch(
        config(
            deployment("tts", "first", url, order=1),
            deployment("tts", "second", url, order=2),
            deployment("solo", "alone", url),
            deployment("main", "main-voice", url),
            deployment("backup", "spare", url, voices={"alloy": "am_adam"}, voice="af_bella"),
            deployment("gone", "gone-one", NOWHERE, order=1),
            deployment("gone", "gone-two", NOWHERE, order=2),
            deployment("limited", "limited-one", url, order=1),
            deployment("limited", "limited-two", url, order=2),
            deployment("keyless", "keyless-one", url, order=1, api_key="sk-upstream-wrong-0d9c8b7a6f5e"),
            deployment("keyless", "keyless-two", url, order=2),
            deployment("hasty", "hasty-one", url, order=1, stream_timeout=1, stall_timeout=1),
            deployment("hasty", "hasty-two", url, order=2, stream_timeout=20),
            deployment("patient", "patient-one", url, timeout=30),
            deployment("via-alias", "detour", url),
            deployment("one-a-minute", "rare", url, rpm=1),
            deployment("stt", "ear-one", url, "t", order=1),
            deployment("stt", "ear-two", url, "t", order=2),
            deployment("into-english", "tongue-one", url, "x", order=1),
            deployment("into-english", "tongue-two", url, "x", order=2),
            deployment("small-stt", "ear-small", url, "t", max_file_size_mb=0.001),
            deployment("small-then-large", "ear-tiny", url, "t", max_file_size_mb=0.001),
            fallbacks=[
                {"main": ["backup"]},
                {"gone": ["solo"]},
                {"small-then-large": ["stt"]},
                {"via-alias": ["tts-alias"]},
            ],
            model_group_alias={
                "tts-alias": "tts",
                "stt-alias": "small-stt",
                "hidden": {"model": "tts", "hidden": True},
            },
        ),
        tmp_path_factory.mktemp("routed"),
    )
    yield server
    assert server.stop() == 0, server.log()


@pytest.fixture
def http(routed: Server) -> Iterator[httpx.Client]:
    with client(routed) as connected:
        yield connected


def client(server: Server) -> httpx.Client:
    return httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MASTER_KEY}"}, timeout=30)


def hello(model: str, **fields: Any) -> dict[str, Any]:
    return {"model": model, "input": "Hello", "voice": "alloy"} | fields


def speak(http: httpx.Client, model: str, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    return http.post(SPEAK, json=hello(model, **fields), headers=headers)


def models(upstream: Upstream) -> list[str]:
    return [request.model for request in upstream.requests]


# -- the headers -------------------------------------------------------------------------------------------------------


def said(reply: httpx.Response) -> dict[str, str]:
    """The routing headers, without the prefix."""
    found = {name.removeprefix("x-proxy-"): value for name, value in reply.headers.items()}
    return {name: found[name] for name in ("deployment", "attempts", "fallback") if name in found}


@pytest.mark.parametrize(
    ("path", "model", "first", "second"),
    [
        (SPEAK, "tts", "first", "second"),
        (LISTEN, "stt", "ear-one", "ear-two"),
        (TRANSLATE, "into-english", "tongue-one", "tongue-two"),
    ],
)
def test_every_endpoint_says_how_its_answer_came_about(
    upstream: Upstream, http: httpx.Client, path: str, model: str, first: str, second: str
) -> None:
    def ask() -> httpx.Response:
        return speak(http, model) if path == SPEAK else http.post(path, data={"model": model}, files=FILE)

    reply = ask()
    assert reply.status_code == 200, reply.text
    assert said(reply) == {"deployment": first, "attempts": "1"}
    assert 0 <= float(reply.headers["x-proxy-upstream-ms"]) < reply.elapsed.total_seconds() * 1000
    assert 0 <= float(reply.headers["x-proxy-overhead-ms"]) < reply.elapsed.total_seconds() * 1000

    upstream.behave(first, answer=ERRORS[500])
    reply = ask()
    assert reply.status_code == 200, reply.text
    assert said(reply) == {"deployment": second, "attempts": "2"}
    assert float(reply.headers["x-proxy-upstream-ms"]) >= 0

    upstream.behave(second, answer=ERRORS[500])
    reply = ask()
    error_of(reply, 500)
    assert said(reply) == {"attempts": "3"}


def test_streams_of_events_say_it_too(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("first", answer=ERRORS[503])
    reply = speak(http, "tts", stream_format="sse")
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert said(reply) == {"deployment": "second", "attempts": "2"}
    assert reply.content.endswith(answers.DONE)
    upstream.behave("ear-one", answer=ERRORS[503])
    reply = http.post(LISTEN, data={"model": "stt", "stream": "true"}, files=FILE)
    assert said(reply) == {"deployment": "ear-two", "attempts": "2"}


def test_what_is_refused_before_anybody_was_asked_says_nothing(upstream: Upstream, http: httpx.Client) -> None:
    for reply in (speak(http, "none"), speak(http, "tts", voice=5), http.post(LISTEN, data={"model": "stt"})):
        error_of(reply)
        assert said(reply) == {}


def test_the_deployment_is_hidden_where_the_operator_wants_it(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(deployment("tts", "first", upstream.url), general={"expose_deployment": False}))
    with client(server) as http:
        reply = speak(http, "tts")
    assert reply.status_code == 200
    assert said(reply) == {"attempts": "1"}
    assert reply.headers["x-proxy-upstream-ms"]
    assert "first" not in str(reply.headers)


# -- another deployment, another group ---------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [500, 502, 503, 429])
def test_a_failing_vendor_is_something_that_clients_never_notice(
    upstream: Upstream, http: httpx.Client, failing: int
) -> None:
    answer = ERRORS[failing]
    if failing == 429:  # without a long rest, which would outlast this test
        answer = answers.error(429, "Slow down.", code="rate_limit_exceeded", headers={"retry-after": "0"})
    upstream.behave("first", answer=answer)
    reply = speak(http, "tts")
    assert (reply.status_code, reply.content) == (200, MP3)
    assert models(upstream) == ["first", "second"]


@pytest.mark.parametrize(
    "behaviour",
    [
        {"stop_after": -1},
        {"stop_after": -1, "stop": "reset"},
        {"stop_after": 0},
        {"stop_after": 0, "stop": "reset"},
        {"answer": Answer("application/json", [b'{"detail": "ill"}'])},
        {"answer": stream()},
        {"raw": b"HTTP/1.1 garbage\r\n\r\n"},
    ],
    ids=["closed", "reset", "closed after headers", "reset after headers", "a document", "no bytes", "garbage"],
)
def test_whatever_happens_before_the_first_byte_is_replaced(
    upstream: Upstream, http: httpx.Client, behaviour: dict[str, Any]
) -> None:
    upstream.behave("first", **behaviour)
    reply = speak(http, "tts")
    assert (reply.status_code, reply.content) == (200, MP3)
    assert said(reply) == {"deployment": "second", "attempts": "2"}


def test_a_fallback_speaks_with_its_own_voice_and_in_the_format_that_was_asked_for(
    upstream: Upstream, http: httpx.Client
) -> None:
    upstream.behave("main-voice", answer=ERRORS[500])
    upstream.behave("spare", answer=stream(wav(), content_type="audio/wav"))
    reply = speak(http, "main")
    assert reply.status_code == 200, reply.text
    assert said(reply) == {"deployment": "spare", "attempts": "4", "fallback": "backup"}
    assert [request.json["voice"] for request in upstream.requests] == ["alloy"] * 3 + ["am_adam"]
    assert reply.headers["content-type"] == "audio/mpeg"
    assert reply.content[:3] == b"ID3" or reply.content[:1] == b"\xff"
    assert reply.content[:4] != b"RIFF"


def test_a_fallback_gets_the_whole_upload(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("ear-one", read_body="headers", stop_after=-1)
    content = wav() * 40
    reply = http.post(LISTEN, data={"model": "stt"}, files={"file": ("a.wav", content)})
    assert reply.status_code == 200, reply.text
    assert said(reply) == {"deployment": "ear-two", "attempts": "2"}
    assert upstream.last.file.sha256 == hashlib.sha256(content).hexdigest()


def test_a_vendor_that_is_not_there_is_replaced_by_another_group(upstream: Upstream, http: httpx.Client) -> None:
    reply = speak(http, "gone")
    assert reply.content == MP3
    assert said(reply) == {"deployment": "alone", "attempts": "4", "fallback": "solo"}


def test_a_refused_key_takes_one_deployment_out_and_is_in_the_log(
    upstream: Upstream, routed: Server, http: httpx.Client
) -> None:
    for attempts in ("2", "1", "1"):
        reply = speak(http, "keyless")
        assert reply.content == MP3
        assert said(reply) == {"deployment": "keyless-two", "attempts": attempts}
    assert models(upstream).count("keyless-one") == 1
    assert "keyless-one" in routed.log()


def test_a_rate_limited_deployment_rests(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("limited-one", answer=answers.error(429, "Slow down.", headers={"retry-after": "60"}))
    for _ in range(3):
        assert said(speak(http, "limited"))["deployment"] == "limited-two"
    assert models(upstream) == ["limited-one", *["limited-two"] * 3]


def test_a_bad_request_is_the_callers(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("first", answer=ERRORS[400])
    reply = speak(http, "tts")
    error_of(reply, 400, "unsupported_value")
    assert models(upstream) == ["first"]
    assert said(reply) == {"attempts": "1"}


def test_content_policy_may_fall_back(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("main-voice", answer=answers.error(400, "Not this.", code="content_policy_violation"))
    reply = speak(http, "main")
    assert reply.status_code == 200
    assert said(reply) == {"deployment": "spare", "attempts": "2", "fallback": "backup"}


def test_when_all_failed_the_last_upstream_error_says_so_and_no_more(
    upstream: Upstream, routed: Server, http: httpx.Client
) -> None:
    upstream.behave("main-voice", answer=ERRORS[503])
    upstream.behave("spare", answer=ERRORS[500])
    reply = speak(http, "main")
    error = error_of(reply, 500)
    assert reply.headers["x-should-retry"] == "false"
    assert reply.headers["x-proxy-attempts"] == "6"
    assert "The server had an error while processing your request" in error["message"]
    assert "6 attempts" in error["message"]
    for internal in ("main-voice", "spare", "backup", "openai", "127.0.0.1", "Traceback", "router", "cooldown"):
        assert internal not in reply.text.lower()
    assert len(models(upstream)) == 6


def test_the_sdk_does_not_try_again_what_was_tried_enough(upstream: Upstream, routed: Server) -> None:
    upstream.behave("alone", answer=ERRORS[500])
    sdk = openai.OpenAI(base_url=routed.url + "/v1", api_key=MASTER_KEY, max_retries=2, timeout=20)
    with sdk, pytest.raises(openai.InternalServerError):
        sdk.audio.speech.create(model="solo", input="Hello", voice="alloy")
    assert len(upstream.requests) == 3


def test_a_limit_of_ours_is_429_with_retry_after(upstream: Upstream, http: httpx.Client) -> None:
    assert speak(http, "one-a-minute").status_code == 200
    reply = speak(http, "one-a-minute")
    error = error_of(reply, 429, "rate_limit_exceeded")
    assert int(reply.headers["retry-after"]) > 0
    assert reply.headers.get("x-should-retry") != "false"
    assert "rare" not in error["message"]
    assert len(upstream.requests) == 1


# -- what a request may wish -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x-proxy-num-retries", "x-litellm-num-retries"])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_num_retries(upstream: Upstream, http: httpx.Client, name: str, count: int) -> None:
    upstream.behave("alone", answer=ERRORS[500])
    upstream.behave("ear-one", answer=ERRORS[500])
    upstream.behave("ear-two", answer=ERRORS[500])
    assert speak(http, "solo", {name: str(count)}).headers["x-proxy-attempts"] == str(count + 1)
    reply = http.post(LISTEN, data={"model": "stt"}, files=FILE, headers={name: str(count)})
    assert reply.headers["x-proxy-attempts"] == str(count + 1)


@pytest.mark.parametrize("value", ["true", "1", "True"])
def test_no_fallback(upstream: Upstream, http: httpx.Client, value: str) -> None:
    upstream.behave("main-voice", answer=ERRORS[500])
    error_of(speak(http, "main", {"x-proxy-no-fallback": value}), 500)
    assert set(models(upstream)) == {"main-voice"}
    assert speak(http, "main", {"x-proxy-no-fallback": "false"}).status_code == 200


@pytest.mark.parametrize("name", ["x-proxy-timeout", "x-litellm-timeout"])
def test_timeout_bounds_the_whole_call(upstream: Upstream, http: httpx.Client, name: str) -> None:
    upstream.behave("patient-one", stop_after=-1, stop="hang")
    began = time.monotonic()
    reply = speak(http, "patient", {name: "0.5", "x-proxy-num-retries": "10"})
    error_of(reply, 504, "upstream_timeout")
    assert time.monotonic() - began < 30, "the deployment's own limit, and not the caller's"
    assert len(upstream.requests) < 3
    upstream.requests[0].wait_closed()


def test_timeout_reaches_into_a_stream(upstream: Upstream, routed: Server) -> None:
    upstream.behave("patient-one", stop_after=2, stop="hang")
    with Wire(routed.port, timeout=30) as wire:
        body = json.dumps(hello("patient")).encode()
        reply = wire.post(SPEAK, body, JSON | {"X-Proxy-Timeout": "1"})
    assert reply.status_code == 200
    assert not reply.complete
    assert MP3.startswith(reply.content)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(f"{prefix}-timeout", value) for prefix in ("x-proxy", "x-litellm") for value in ("soon", "0", "-1", "nan")],
        *[
            (f"{prefix}-num-retries", value)
            for prefix in ("x-proxy", "x-litellm")
            for value in ("-1", "1.5", "11", "x")
        ],
        ("x-proxy-timeout", "inf"),
        ("x-proxy-no-fallback", "perhaps"),
    ],
)
def test_malformed_wishes_are_refused(upstream: Upstream, http: httpx.Client, name: str, value: str) -> None:
    reply = speak(http, "solo", {name: value})
    error = error_of(reply, 400)
    assert (error["param"] or "").replace("litellm", "proxy") == name.replace("litellm", "proxy")
    error_of(http.post(LISTEN, data={"model": "stt"}, files=FILE, headers={name: value}), 400)
    assert upstream.requests == []


# -- a stream that falls behind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers_first", [True, False])
def test_a_stream_that_stalls_before_its_first_byte_is_replaced(
    upstream: Upstream, http: httpx.Client, headers_first: bool
) -> None:
    upstream.behave("hasty-one", gate=upstream.gate(), headers_first=headers_first)
    reply = speak(http, "hasty")
    assert reply.content == MP3
    assert said(reply) == {"deployment": "hasty-two", "attempts": "2"}
    upstream.requests[0].wait_closed()


def test_a_stream_that_stalls_after_its_first_byte_is_cut_and_counted(upstream: Upstream, routed: Server) -> None:
    upstream.behave("hasty-one", stop_after=2, stop="hang")
    with Wire(routed.port) as wire:
        reply = wire.post(SPEAK, json.dumps(hello("hasty")).encode(), JSON)
    assert (reply.status_code, reply.complete) == (200, False)
    assert reply.content
    assert MP3.startswith(reply.content)
    assert models(upstream) == ["hasty-one"]
    upstream.last.wait_closed()
    with client(routed) as http:
        metrics = http.get("/metrics").text
    assert 'audio_proxy_errors_total{endpoint="speech",kind="upstream_timeout",model="hasty"}' in metrics


@pytest.mark.parametrize("stop", ["close", "reset"])
def test_a_stream_that_dies_after_its_first_byte_is_cut_and_not_replayed(
    upstream: Upstream, routed: Server, stop: Any
) -> None:
    upstream.behave("first", stop_after=2, stop=stop)
    with Wire(routed.port) as wire:
        reply = wire.post(SPEAK, json.dumps(hello("tts")).encode(), JSON)
    assert (reply.status_code, reply.complete) == (200, False)
    assert MP3.startswith(reply.content)
    assert models(upstream) == ["first"]


# -- two at once -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hedging(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = launch(
        config(
            deployment("tts", "first", fake.url, order=1),
            deployment("tts", "second", fake.url, order=2),
            deployment("stt", "ear-one", fake.url, "t", order=1),
            deployment("stt", "ear-two", fake.url, "t", order=2),
            hedge_after=0.3,
        ),
        tmp_path_factory.mktemp("hedging"),
    )
    yield server
    assert server.stop() == 0, server.log()


def test_the_second_is_asked_when_the_first_says_nothing_and_the_first_is_ended(
    upstream: Upstream, hedging: Server
) -> None:
    upstream.behave("first", gate=upstream.gate())
    with client(hedging) as http:
        reply = speak(http, "tts")
    assert reply.content == MP3
    assert said(reply) == {"deployment": "second", "attempts": "2"}
    assert models(upstream) == ["first", "second"]
    upstream.requests[0].wait_closed()
    line = json.loads(hedging.log_lines(reply.headers["x-request-id"])[0])
    assert (line["deployment"], line["attempts"], line["status"]) == ("second", 2, 200)


def test_the_first_may_win_after_all(upstream: Upstream, hedging: Server) -> None:
    gate = upstream.gate()
    upstream.behave("first", first_delay=1.0)
    upstream.behave("second", gate=gate)
    with client(hedging) as http:
        reply = speak(http, "tts")
    assert reply.content == MP3
    assert said(reply) == {"deployment": "first", "attempts": "2"}
    upstream.requests[1].wait_closed()


def test_uploads_are_hedged_from_one_spool(upstream: Upstream, hedging: Server) -> None:
    content, gate = BLOCK * 64, upstream.gate()
    upstream.behave("ear-one", gate=upstream.gate())
    upstream.behave("ear-two", gate=gate)
    with client(hedging) as http, ThreadPoolExecutor() as caller:
        asked = caller.submit(http.post, LISTEN, data={"model": "stt"}, files={"file": ("a.wav", content)})
        upstream.wait_requests(2)
        assert all(request.received.wait(10) for request in upstream.requests)
        gate.open()
        reply = asked.result()
    assert reply.status_code == 200, reply.text
    assert said(reply) == {"deployment": "ear-two", "attempts": "2"}
    digests = [request.file.sha256 for request in upstream.requests]
    assert digests == [hashlib.sha256(content).hexdigest()] * 2


def test_a_client_that_leaves_ends_both(upstream: Upstream, hedging: Server) -> None:
    upstream.behave("*", gate=upstream.gate())
    with Wire(hedging.port) as wire:
        body = json.dumps(hello("tts")).encode()
        wire.head("POST", SPEAK, JSON | {"Content-Length": str(len(body))})
        wire.send(body)
        upstream.wait_requests(2)
    for request in upstream.requests:
        request.wait_closed()


# -- further names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alias", ["tts-alias", "hidden"])
def test_an_alias_is_its_group(upstream: Upstream, http: httpx.Client, alias: str) -> None:
    upstream.behave("first", answer=ERRORS[500])
    reply = speak(http, alias)
    assert reply.content == MP3
    assert said(reply) == {"deployment": "second", "attempts": "2"}


def test_a_fallback_may_be_named_by_its_alias(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("detour", answer=ERRORS[500])
    reply = speak(http, "via-alias")
    assert reply.content == MP3
    assert said(reply)["deployment"] == "first"


@pytest.mark.parametrize("model_first", [True, False])
def test_an_alias_has_its_groups_file_limit(upstream: Upstream, routed: Server, model_first: bool) -> None:
    parts = [text_part("model", "stt-alias"), file_part(BLOCK)]
    with Wire(routed.port) as wire:
        error = error_of(wire.post(LISTEN, form(*(parts if model_first else parts[::-1])), FORM), 413, 413)
    assert error["message"].endswith("Max file size: 0.001 MB")
    with Wire(routed.port) as wire:
        small = form(text_part("model", "stt-alias"), file_part(wav()[:1000]))
        assert wire.post(LISTEN, small, FORM).status_code == 200


def test_a_file_too_large_for_the_group_goes_to_a_fallback_that_takes_it(upstream: Upstream, routed: Server) -> None:
    with Wire(routed.port) as wire:
        reply = wire.post(LISTEN, form(text_part("model", "small-then-large"), file_part(BLOCK)), FORM)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-proxy-fallback"] == "stt"


# -- uploads again, in full, and not in memory -------------------------------------------------------------------------


def upload(port: int, mib: int) -> Reply:
    """Streamed from one small block, so that this process does not grow either."""
    opened, closed = form(text_part("model", "stt"), file_part(b"\0")).split(b"\0")
    with Wire(port, timeout=60) as wire:
        wire.head("POST", LISTEN, {**FORM, "Content-Length": str(len(opened) + mib * MIB + len(closed))})
        wire.send(opened, *[BLOCK] * (mib * 16), closed)
        return wire.reply()


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_large_upload_is_retried_twice_and_never_held_in_memory(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path
) -> None:
    ears = [deployment("stt", f"ear-{number}", upstream.url, "t", order=number) for number in (1, 2, 3)]
    server = serve(config(*ears, general={"spool_dir": str(tmp_path)}))
    upstream.behave("ear-1", answer=ERRORS[503])
    upstream.behave("ear-2", stop_after=-1)
    assert upload(server.port, 5).status_code == 200
    after_small = server.peak_memory()
    reply = upload(server.port, 100)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-proxy-attempts"] == "3"
    large = [request for request in upstream.requests if request.file.size > 5 * MIB]
    # A kept connection that dies is replaced once, so the second may have been sent the file twice.
    assert list(dict.fromkeys(request.model for request in large)) == ["ear-1", "ear-2", "ear-3"]
    whole = hashlib.sha256()
    for _ in range(100 * 16):
        whole.update(BLOCK)
    assert {(request.file.size, request.file.sha256) for request in large} == {(100 * MIB, whole.hexdigest())}
    assert server.peak_memory() < after_small * 1.25
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_its_vendor_has_ended_falls_back_and_is_left_alone(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("broken", answer=answers.error(404, "The model has been shut down.", code="model_not_found"))
    assert [speak(http, "tts").status_code for _ in range(3)] == [200, 200, 200]
