"""Vendors that refuse: rate limits are waited for, models that they do not have are looked for elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server, launch
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of
from tests.front.wire import JSON, Wire

SPEAK, LISTEN = "/v1/audio/speech", "/v1/audio/transcriptions"
FILE = {"file": ("speech.wav", wav())}
#: Each test has a group of its own, since a limit outlasts a test.
GROUPS = ("waits", "sdk", "late", "shared", "leaves", "busy", "probed", "gone", "words", "network", "fields", "other")


def deployment(group: str, name: str, url: str, mode: str = "audio_speech", **params: Any) -> dict[str, Any]:
    settings = {"model": f"openai/{name}", "api_key": KEY, "api_base": url} | params
    return {"model_name": group, "litellm_params": settings, "model_info": {"mode": mode, "id": name}}


@pytest.fixture(scope="module")
def server(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    url, heard = fake.url, "audio_transcription"
    model_list = [
        *(deployment(name, f"{name}-one", url) for name in GROUPS),
        deployment("backup", "backup-one", url),
        deployment("stt", "stt-one", url, heard),
        deployment("stt-backup", "gpt-4o-transcribe-diarize", url, heard),
        deployment("row", "row-diarize", url, heard, model="openai_compatible/openai/gpt-4o-transcribe-diarize"),
    ]
    otherwise = deployment("named-otherwise", "mine", url, heard)
    otherwise["model_info"]["base_model"] = "gpt-4o-transcribe-diarize"
    model_list.append(otherwise)
    fallbacks = [{name: ["backup"]} for name in ("gone", "words", "other")]
    started = launch(
        {
            "model_list": model_list,
            "router_settings": {"fallbacks": [*fallbacks, {"stt": ["stt-backup"]}], "allowed_fails": 1000},
            "general_settings": {"master_key": MASTER_KEY, "log_format": "json"},
        },
        tmp_path_factory.mktemp("refusals"),
    )
    yield started
    assert started.stop() == 0, started.log()


def speak(http: httpx.Client, model: str, **headers: str) -> httpx.Response:
    return http.post(SPEAK, json={"model": model, "input": "Hello", "voice": "alloy"}, headers=headers)


def limit(seconds: str, status: int = 429) -> Answer:
    return answers.error(status, "Slow down.", code="rate_limit_exceeded", headers={"retry-after": seconds})


def once(upstream: Upstream, model: str, answer: Answer) -> list[float]:
    """The first request gets ``answer``; the list has when each request came."""
    times: list[float] = []

    def reply(request: Any) -> Answer:
        times.append(time.monotonic())
        return answer if len(times) == 1 else Answer("audio/mpeg", [SPEECH["mp3"]])

    upstream.behave(model, answer=reply)
    return times


# -- rate limits -------------------------------------------------------------------------------------------------------


def test_a_rate_limit_is_something_that_clients_never_notice(upstream: Upstream, http: httpx.Client) -> None:
    times = once(upstream, "waits-one", limit("0.4"))
    reply = speak(http, "waits")
    assert (reply.status_code, reply.content) == (200, SPEECH["mp3"])
    assert len(times) == 2
    assert times[1] - times[0] >= 0.4
    assert float(reply.headers["x-proxy-overhead-ms"]) < 400, "it was the vendor's time"


def test_a_busy_server_that_says_when_is_waited_for_as_well(upstream: Upstream, http: httpx.Client) -> None:
    times = once(upstream, "busy-one", limit("0.4", 503))
    assert speak(http, "busy").status_code == 200
    assert [later - earlier >= 0.4 for earlier, later in pairwise(times)] == [True]


def test_the_sdk_gets_through_a_limit_that_the_proxy_does_not_wait_for(upstream: Upstream, server: Server) -> None:
    times = once(upstream, "sdk-one", limit("1"))
    headers = {"x-proxy-timeout": "0.5"}
    with openai.OpenAI(base_url=server.url + "/v1", api_key=MASTER_KEY, max_retries=2, default_headers=headers) as sdk:
        assert sdk.audio.speech.create(model="sdk", input="Hello", voice="alloy").content == SPEECH["mp3"]
    assert len(times) == 2
    assert times[1] - times[0] >= 1


def test_a_limit_that_lasts_too_long_is_passed_on_and_nobody_asks_meanwhile(
    upstream: Upstream, http: httpx.Client
) -> None:
    upstream.behave("late-one", answer=limit("3000"))
    for _ in range(3):
        reply = speak(http, "late")
        error_of(reply, 429, "rate_limit_exceeded")
        assert 2990 <= int(reply.headers["retry-after"]) <= 3000
        assert "x-should-retry" not in reply.headers
    assert len(upstream.requests) == 1


def test_calls_that_come_together_wait_for_the_same_limit(upstream: Upstream, http: httpx.Client) -> None:
    times = once(upstream, "shared-one", limit("0.5"))
    first = speak(http, "shared", **{"x-proxy-num-retries": "0"})
    assert first.status_code == 429
    with ThreadPoolExecutor(6) as pool:
        hasty = pool.submit(speak, http, "shared", **{"x-proxy-timeout": "0.1"})
        replies = list(pool.map(lambda _: speak(http, "shared"), range(5)))
    assert [reply.status_code for reply in replies] == [200] * 5
    assert (hasty.result().status_code, hasty.result().headers["retry-after"]) == (429, "1")
    assert all(later - times[0] >= 0.5 for later in times[1:])


def test_a_client_that_leaves_while_its_call_waits_ends_it(upstream: Upstream, server: Server) -> None:
    times = once(upstream, "leaves-one", limit("0.5"))
    body = json.dumps({"model": "leaves", "input": "Hello", "voice": "alloy"}).encode()
    with Wire(server.port) as wire:
        head = {**JSON, "Content-Length": str(len(body)), "x-request-id": "req-left-waiting"}
        wire.head("POST", SPEAK, head)
        wire.send(body)
        upstream.wait_requests()
    (line,) = server.log_lines("req-left-waiting")
    assert "client_gone" in line
    time.sleep(0.7)
    assert len(times) == 1


def test_a_probe_does_not_ask_a_limited_deployment(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("probed-one", answer=limit("3000"))
    speak(http, "probed")
    report = http.post("/health/probe").json()["deployments"]
    (found,) = [outcome for outcome in report if outcome["id"] == "probed-one"]
    assert (found["healthy"], found["error"]["code"]) == (False, "rate_limit_exceeded")
    assert [request.model for request in upstream.requests].count("probed-one") == 1
    error_of(speak(http, "probed"), 429)
    states = {state["id"]: state["resting"] for state in http.get("/health").json()["deployments"]}
    assert states["probed-one"] == "upstream_rate_limited"


# -- models that the vendor does not have ------------------------------------------------------------------------------

UNKNOWN = [
    Answer("text/plain", [b"Could not find real modelID"], 400, chunked=False),
    Answer("application/json", [b'{"detail": {"message": "Invalid model: x"}}'], 400, chunked=False),
    Answer("application/json", [b'{"detail": [{"loc": ["body", "model"], "msg": "bad", "type": "enum"}]}'], 422),
    Answer("application/json", [b'{"error": {"code": 500, "message": "could not load model"}}'], 500),
    Answer("application/json", [b'{"object": "error", "message": "x", "type": "invalid_model", "code": "1500"}'], 400),
]


@pytest.mark.parametrize("answer", UNKNOWN)
def test_a_model_that_a_vendor_does_not_have_is_looked_for_elsewhere(
    upstream: Upstream, http: httpx.Client, answer: Answer
) -> None:
    upstream.behave("gone-one", answer=answer)
    reply = speak(http, "gone")
    assert (reply.status_code, reply.headers["x-proxy-fallback"]) == (200, "backup")
    upstream.behave("words-one", answer=answer)
    reply = speak(http, "words", **{"x-proxy-no-fallback": "1"})
    error_of(reply, 404, "model_not_found")
    assert [request.model for request in upstream.requests].count("words-one") == 1, "it would say the same again"


def test_another_refusal_is_shown_as_what_it_is(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("other-one", answer=Answer("text/plain", [b"This model does not support mp3."], 400))
    reply = speak(http, "other")
    assert error_of(reply, 400)["message"] == "This model does not support mp3."
    assert [request.model for request in upstream.requests] == ["other-one"]


def test_fastapi_names_the_field_that_it_refuses(upstream: Upstream, http: httpx.Client) -> None:
    row = b'{"detail": [{"loc": ["body", "speed"], "msg": "Input should be less than 4", "type": "less_than"}]}'
    upstream.behave("fields-one", answer=Answer("application/json", [row], 422))
    error = error_of(speak(http, "fields"), 400)
    assert (error["type"], error["param"]) == ("invalid_request_error", "speed")


def test_a_vendors_own_network_is_in_the_log_only(upstream: Upstream, server: Server, http: httpx.Client) -> None:
    said = b'{"error": {"message": "dial tcp 10.1.2.3:8000 (asr.svc.cluster.local): connection refused"}}'
    upstream.behave("network-one", answer=Answer("application/json", [said], 500))
    reply = speak(http, "network", **{"x-proxy-num-retries": "0"})
    assert error_of(reply, 500)["message"].startswith("The upstream vendor failed to answer.")
    (line,) = server.log_lines(reply.headers["x-request-id"])
    assert "dial tcp 10.1.2.3:8000" in line


# -- OpenAI's diarizing models -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["stt-backup", "named-otherwise", "row", "stt"])
@pytest.mark.parametrize("asked", [None, "auto", '{"type": "server_vad"}'])
def test_a_diarizing_model_gets_a_chunking_strategy(
    upstream: Upstream, http: httpx.Client, model: str, asked: str | None
) -> None:
    upstream.behave("stt-one", answer=answers.ERRORS[500])
    data = {"model": model} | ({} if asked is None else {"chunking_strategy": asked})
    reply = http.post(LISTEN, data=data, files=FILE)
    assert reply.status_code == 200, reply.text
    sent = {name: value for name, value in upstream.last.fields.items() if name.startswith("chunking_strategy")}
    assert len(sent) == 1
    assert (asked is not None and asked != "auto") or sent == {"chunking_strategy": ["auto"]}


def test_other_models_get_none(upstream: Upstream, http: httpx.Client) -> None:
    assert http.post(LISTEN, data={"model": "stt"}, files=FILE).status_code == 200
    assert "chunking_strategy" not in upstream.last.fields
