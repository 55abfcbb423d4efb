"""A changed configuration takes over while calls run: atomically, or not at all."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import MASTER_KEY, Server, group
from tests.fakes.upstream import Upstream

ASKS = {"Authorization": f"Bearer {MASTER_KEY}"}
SPEAK = "/v1/audio/speech"


def config(upstream: Upstream, *names: str, **general: Any) -> dict[str, Any]:
    return {
        "model_list": [group(name, "openai/tts-1", upstream.url) for name in names],
        "general_settings": {"master_key": MASTER_KEY, **general},
    }


def replace(path: Path, text: str) -> None:
    """As editors and Kubernetes do it: another file takes the name."""
    other = path.with_suffix(".new")
    other.write_text(text)
    other.rename(path)


def models(server: Server) -> set[str]:
    rows = httpx.get(server.url + "/v1/models", headers=ASKS).json()["data"]
    return {row["id"] for row in rows}


def until(true: Callable[[], bool], *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("by_signal", [True, False], ids=["SIGHUP", "changed file"])
def test_a_new_configuration_takes_over(
    upstream: Upstream, serve: Callable[..., Server], workers: int, by_signal: bool
) -> None:
    server = serve(config(upstream, "first"), workers=workers)
    assert models(server) == {"first"}
    replace(server.config_path, yaml.safe_dump(config(upstream, "first", "second")))
    if by_signal:
        server.process.send_signal(signal.SIGHUP)
    until(lambda: all(models(server) == {"first", "second"} for _ in range(8)))


def test_a_file_with_errors_is_refused_whole_and_its_errors_are_logged(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    server = serve(config(upstream, "first"))
    broken = config(upstream, "first", "second") | {"router_settings": {"routing_strategi": "least-busy"}}
    replace(server.config_path, yaml.safe_dump(broken))
    until(lambda: "routing_strategi" in server.log())
    assert "invalid configuration" in server.log()
    assert models(server) == {"first"}
    replace(server.config_path, yaml.safe_dump(config(upstream, "second")))
    until(lambda: models(server) == {"second"})


def test_a_running_call_finishes_on_the_old_configuration(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream, "first"))
    gate = upstream.gate()
    upstream.behave("tts-1", gate=gate, chunk_size=64)
    gate.release()
    body = {"model": "first", "input": "Hello", "voice": "alloy"}
    with httpx.stream("POST", server.url + SPEAK, json=body, headers=ASKS) as response:
        chunks = response.iter_raw()
        begun = next(chunks)
        replace(server.config_path, yaml.safe_dump(config(upstream, "second")))
        until(lambda: models(server) == {"second"})
        gate.open()
        whole = begun + b"".join(chunks)
    upstream.behave("tts-1", gate=None)
    again = httpx.post(server.url + SPEAK, json=body | {"model": "second"}, headers=ASKS)
    assert whole == again.content


def test_reload_under_load_fails_no_call_and_counters_survive(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream, "first"))
    done = threading.Event()
    statuses: list[int] = []
    body = json.dumps({"model": "first", "input": "Hello", "voice": "alloy"})

    def caller() -> None:
        with httpx.Client(headers=ASKS | {"Content-Type": "application/json"}, timeout=30) as client:
            while not done.is_set():
                statuses.append(client.post(server.url + SPEAK, content=body).status_code)

    callers = [threading.Thread(target=caller) for _ in range(8)]
    for thread in callers:
        thread.start()
    try:
        for turn in range(5):
            names = ["first", f"turn-{turn}"]
            replace(server.config_path, yaml.safe_dump(config(upstream, *names)))
            server.process.send_signal(signal.SIGHUP)
            until(lambda wanted=set(names): models(server) == wanted)  # type: ignore[misc]
    finally:
        done.set()
        for thread in callers:
            thread.join()
    assert set(statuses) == {200}
    text = httpx.get(server.url + "/metrics", headers=ASKS).text
    counted = [line for line in text.splitlines() if line.startswith('audio_proxy_requests_total{endpoint="speech"')]
    assert sum(float(line.rpartition(" ")[2]) for line in counted) == len(statuses)


def health(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(server.url + "/health", headers=ASKS).json()
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_what_takes_effect_after_a_restart_is_named(
    upstream: Upstream, serve: Callable[..., Server], workers: int
) -> None:
    server = serve(config(upstream, "first"), workers=workers)
    assert health(server)["restart_needed"] == []
    changed = config(upstream, "first", log_level="error", ledger_retention_days=3, docs_enabled=False)
    replace(server.config_path, yaml.safe_dump(changed))
    wanted = ["general_settings.ledger_retention_days", "general_settings.log_level"]
    until(lambda: all(health(server)["restart_needed"] == wanted for _ in range(4)))
    named = next(line for line in server.log().splitlines() if "take effect after a restart" in line)
    assert json.loads(named)["settings"] == wanted
    assert httpx.get(server.url + "/openapi.json", headers=ASKS).status_code == 404
    replace(server.config_path, yaml.safe_dump(config(upstream, "first")))
    until(lambda: all(health(server)["restart_needed"] == [] for _ in range(4)))


def test_a_changed_env_file_is_a_changed_configuration(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream, "first"))
    old = {"Authorization": "Bearer sk-the-previous-master-key-58d1c0b7"}

    def status() -> int:
        return httpx.get(server.url + "/v1/models", headers=old).status_code

    assert status() == 401
    file = server.config_path.parent / ".env"
    file.write_text("PROXY_PREVIOUS_MASTER_KEY=sk-the-previous-master-key-58d1c0b7\n")
    until(lambda: status() == 200)
    file.unlink()
    until(lambda: status() == 401)


def test_a_deployment_whose_key_was_mended_is_healthy_at_once(upstream: Upstream, serve: Callable[..., Server]) -> None:
    given = config(upstream, "first", "second")
    params = given["model_list"][0]["litellm_params"]
    good, params["api_key"] = params["api_key"], "sk-upstream-wrong-0d9c8b7a6f5e"
    server = serve(given)

    def resting() -> dict[str, str | None]:
        return {row["id"]: row["resting"] for row in health(server)["deployments"]}

    body = {"model": "first", "input": "Hello", "voice": "alloy"}
    assert httpx.post(server.url + SPEAK, json=body, headers=ASKS).status_code == 502
    assert resting() == {"first/openai/tts-1": "upstream_credentials", "second/openai/tts-1": None}
    params["weight"] = 2
    replace(server.config_path, yaml.safe_dump(given))
    until(lambda: server.log().count("configuration loaded") == 1)
    assert resting()["first/openai/tts-1"] == "upstream_credentials"
    params["api_key"] = good
    replace(server.config_path, yaml.safe_dump(given))
    until(lambda: resting()["first/openai/tts-1"] is None)
    answer = httpx.post(server.url + SPEAK, json=body, headers=ASKS)
    assert (answer.status_code, answer.headers["x-proxy-deployment"]) == (200, "first/openai/tts-1")


def test_a_missing_file_changes_nothing(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream, "first"))
    os.unlink(server.config_path)
    server.process.send_signal(signal.SIGHUP)
    until(lambda: "no such file" in server.log())
    assert models(server) == {"first"}
