"""The line of a call: the ledger's fields, and nothing of what was said or of the keys that opened it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import CARD, MASTER_KEY, Server, standard_config
from tests.fakes.receiver import receiving
from tests.fakes.upstream import KEY, Upstream
from tests.front.test_metrics import KEY as HEADERS
from tests.front.test_metrics import speak

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def line(server: Server, request_id: str) -> dict[str, Any]:
    (found,) = server.log_lines(request_id)
    event: dict[str, Any] = json.loads(found)
    assert event["event"] == "call"
    return event


def test_who_called_for_whom_and_what_it_cost(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url)
    config["model_list"][0]["litellm_params"]["input_cost_per_character"] = 0.000015
    server = serve(config)
    made = httpx.post(
        server.url + "/key/generate",
        headers=HEADERS,
        json={"key_alias": "reader", "user_id": "ann", "team_id": "books", "tags": ["night"]},
    ).json()
    headers = {
        "authorization": f"Bearer {made['key']}",
        "x-request-id": "one",
        "traceparent": PARENT,
        "x-litellm-end-user-id": "listener",
    }
    body = {"model": "tts", "input": "0123456789", "voice": "alloy"}
    assert httpx.post(server.url + "/v1/audio/speech", json=body, headers=headers).status_code == 200
    event = line(server, "one")
    wanted = {
        "key": hashlib.sha256(made["key"].encode()).hexdigest()[:8],
        "key_alias": "reader",
        "user": "ann",
        "team": "books",
        "end_user": "listener",
        "tags": ["night"],
        "traceparent": PARENT,
        "endpoint": "speech",
        "model": "tts",
        "status": 200,
        "error": None,
        "characters": 10,
        "cost": 0.00015,
        "cost_basis": "characters",
        "attempts": 1,
    }
    assert {name: event.get(name) for name in wanted} == wanted
    assert made["key"] not in server.log()


@pytest.mark.parametrize("given", ["", "rubbish", PARENT[:-1], PARENT + "\n", "ff" + PARENT[2:], PARENT.upper()])
def test_a_traceparent_that_is_none_is_not_repeated(proxy: Server, upstream: Upstream, given: str) -> None:
    identity = f"trace-{hashlib.sha256(given.encode()).hexdigest()[:12]}"
    speak(proxy, **{"x-request-id": identity} | ({"traceparent": given.strip()} if given.strip() else {}))
    wanted = PARENT if given.strip() == PARENT else None
    assert line(proxy, identity)["traceparent"] == wanted


def test_nothing_of_what_was_said_leaves_a_trace(upstream: Upstream, serve: Callable[..., Server]) -> None:
    """A key and a card number, on ways that end well and badly, with every place that hears of calls switched on."""
    with receiving() as receiver:
        config = standard_config(upstream.url) | {
            "litellm_settings": {"callbacks": ["webhook", "otel"]},
            "callback_settings": {
                "webhook": {"endpoint": receiver.url + "/hook", "flush_interval": 0.05},
                "otel": {"flush_interval": 0.05},
            },
            "guardrails": [
                {"guardrail_name": name, "litellm_params": {"guardrail": "pii", "mode": "pre_call", "action": action}}
                for name, action in (("mask", "redact"), ("stop", "block"))
            ],
        }
        server = serve(config, env={"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url})
        for model in ("tts", "gpt-tts", "bad-key", "nowhere", f"{KEY} {CARD}"):
            for guardrail in ("", "mask", "stop"):
                speak(server, model, f"{CARD} and {KEY}", **{"x-proxy-guardrails": guardrail} if guardrail else {})
        httpx.post(
            server.url + "/v1/audio/transcriptions",
            data={"model": "whisper", "prompt": f"{CARD} {KEY}"},
            files={"file": (f"{CARD}.wav", b"RIFF" + bytes(50), "audio/wav")},
            headers=HEADERS,
        )
        refused = httpx.post(server.url + "/v1/audio/speech", headers={"authorization": f"Bearer wrong-{KEY}"})
        metrics = httpx.get(server.url + "/metrics", headers=HEADERS).text
        assert server.stop() == 0  # which looks through its logs, its database and its journal
        heard = b"".join(one.body for one in receiver.received).decode("utf-8", "replace")
    assert heard
    assert not [place for place in (metrics, heard, refused.text) if any(s in place for s in (CARD, KEY, MASTER_KEY))]
