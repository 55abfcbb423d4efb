"""Real, tiny calls per deployment, when asked for and in the background."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx

from tests.conftest import MASTER_KEY, Server, group
from tests.fakes import answers
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of

ASKS = {"Authorization": f"Bearer {MASTER_KEY}"}


def config(upstream: Upstream, **general: Any) -> dict[str, Any]:
    return {
        "model_list": [
            group("tts", "openai/tts-1", upstream.url),
            group("tts", "openai/tts-1-hd", upstream.url),
            group("whisper", "openai/whisper-1", upstream.url),
        ],
        "general_settings": {"master_key": MASTER_KEY, "metrics_token": "metrics-7f3a9c21d4e8b605", **general},
    }


def test_a_probe_asks_every_deployment_and_names_the_sick(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream))
    upstream.behave("tts-1-hd", answer=answers.error(500, "down"))
    report = httpx.post(server.url + "/health/probe", headers=ASKS, timeout=60).json()
    healthy = {row["model_name"]: [] for row in report["deployments"]}
    for row in report["deployments"]:
        healthy[row["model_name"]].append(row["healthy"])
        assert (row["error"] is None) == row["healthy"]
    assert not report["healthy"]
    assert {name: sorted(states) for name, states in healthy.items()} == {"tts": [False, True], "whisper": [True]}
    asked = {request.target.rpartition("/")[2] for request in upstream.requests}
    assert asked == {"speech", "transcriptions"}
    assert {request.file.size for request in upstream.requests if request.parts} == {32044}


def test_a_probe_needs_the_master_key(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream))
    for headers in ({}, {"Authorization": "Bearer metrics-7f3a9c21d4e8b605"}):
        error_of(httpx.post(server.url + "/health/probe", headers=headers), 401, "invalid_api_key")
    assert not upstream.requests


def test_background_checks_take_the_sick_out_and_the_recovered_back(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    upstream.behave("tts-1-hd", answer=answers.error(500, "down"))
    server = serve(config(upstream, health_check_interval=0.2))

    def resting() -> list[str | None]:
        rows = httpx.get(server.url + "/health", headers=ASKS).json()["deployments"]
        return [row["resting"] for row in rows if row["model_name"] == "tts"]

    def until(wanted: list[str | None]) -> None:
        deadline = time.monotonic() + 20
        while sorted(map(str, resting())) != sorted(map(str, wanted)):
            assert time.monotonic() < deadline, resting()
            time.sleep(0.05)

    until([None, "upstream_unavailable"])
    body = {"model": "tts", "input": "Hello", "voice": "alloy"}
    for _ in range(20):
        reply = httpx.post(server.url + "/v1/audio/speech", json=body, headers=ASKS)
        assert reply.headers["x-proxy-attempts"] == "1", reply.text
    upstream.behave("tts-1-hd", answer=None)
    until([None, None])
