"""``/metrics`` as Prometheus sees it: of one worker and of several."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import MASTER_KEY, Server, group, standard_config
from tests.fakes.upstream import Upstream

KEY = {"authorization": f"Bearer {MASTER_KEY}"}


class Samples(Mapping[tuple[str, frozenset[tuple[str, str]]], float]):
    def __init__(self, text: str) -> None:
        self._values = {
            (sample.name.removeprefix("audio_proxy_"), frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def __getitem__(self, key: tuple[str, frozenset[tuple[str, str]]]) -> float:
        return self._values[key]

    def __iter__(self) -> Iterator[tuple[str, frozenset[tuple[str, str]]]]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def sum(self, name: str, **labels: str) -> float:
        """Of all samples that have these labels."""
        return sum(value for (found, theirs), value in self.items() if found == name and labels.items() <= set(theirs))


def scrape(server: Server) -> Samples:
    response = httpx.get(server.url + "/metrics", headers=KEY)  # a new connection, and so any worker
    assert response.status_code == 200
    return Samples(response.text)


def speak(server: Server, model: str = "tts", text: str = "Hello.", **headers: str) -> httpx.Response:
    body = {"model": model, "input": text, "voice": "alloy"}
    return httpx.post(server.url + "/v1/audio/speech", json=body, headers={**KEY, **headers})


def children(server: Server) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.05)


def test_calls_are_counted_by_what_is_configured(upstream: Upstream, serve: Callable[..., Server]) -> None:
    upstream.behave("tts-1", chunk_size=500, gap=0.03)
    server = serve(standard_config(upstream.url))
    assert speak(server, text="12345").status_code == 200
    assert speak(server, "bad-key").status_code == 502
    assert speak(server, "no such model").status_code == 404
    seen = scrape(server)
    tts = {"endpoint": "speech", "model": "tts"}
    assert seen.sum("requests_total", **tts, status="200") == 1
    assert seen.sum("characters_total", **tts) == 5
    assert seen.sum("first_byte_seconds_count", **tts) == 1
    assert seen.sum("overhead_seconds_count", **tts) == 1
    assert seen.sum("duration_seconds_count", **tts) == 1
    assert seen.sum("chunk_gap_seconds_count", **tts) > 0
    assert seen.sum("errors_total", model="bad-key", kind="upstream_credentials") == 1
    assert seen.sum("cooldowns_total", why="upstream_credentials") == 1
    assert seen.sum("deployment_resting", model="bad-key") == 1
    assert seen.sum("deployment_resting", model="tts") == 0
    assert seen.sum("errors_total", kind="not_found", model="") == 1
    assert (seen.sum("in_flight"), seen.sum("workers"), seen.sum("spool_bytes")) == (0, 1, 0)
    assert seen.sum("spool_limit_bytes") > 0
    names = {entry["model_name"] for entry in standard_config("")["model_list"]} | {""}
    labels = {value for _, labels in seen for name, value in labels if name == "model"}
    assert {label for label in labels if "/" not in label} <= names


def test_retries_fallbacks_and_attempts(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url)
    config["router_settings"] = {"num_retries": 1, "fallbacks": [{"broken": ["tts"]}], "allowed_fails": 100}
    config["model_list"].append(group("broken", "openai/broken", upstream.url, "audio_speech"))
    upstream.behave("broken", stop_after=-1)
    server = serve(config)
    assert speak(server, "broken").status_code == 200
    seen = scrape(server)
    assert seen.sum("fallbacks_total", model="tts") == 1
    assert seen.sum("retries_total", model="tts") == seen.sum("attempts_total") - 1 >= 1


def test_any_of_several_workers_answers_for_all(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url), workers=2)
    calls = 40
    for _ in range(calls):
        assert speak(server).status_code == 200
    until(lambda: scrape(server).sum("requests_total") == calls)
    until(lambda: scrape(server).sum("workers") == 2)
    told = [scrape(server).sum("requests_total") for _ in range(20)]
    assert told == [calls] * 20


def test_counts_outlive_a_worker_that_dies(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url), workers=2)
    for _ in range(20):
        speak(server)
    until(lambda: scrape(server).sum("requests_total") == 20)
    victim = children(server)[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in children(server) and len(children(server)) == 2)
    for _ in range(10):
        assert scrape(server).sum("requests_total") == 20
    for _ in range(20):
        speak(server)
    until(lambda: scrape(server).sum("requests_total") == 40)
    assert [scrape(server).sum("in_flight") for _ in range(5)] == [0] * 5


def test_the_folder_of_the_workers_goes_with_them(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(standard_config(upstream.url), workers=2, env={"TMPDIR": str(tmp_path)})
    (folder,) = tmp_path.glob("audio-proxy-metrics-*")
    assert folder.stat().st_mode & 0o077 == 0
    until(lambda: {path.name for path in folder.iterdir()} >= {"0", "1"})
    assert server.stop() == 0
    assert not folder.exists()


@pytest.mark.parametrize("given", ["hostile\nmodel", "x" * 200, "tts{}"])
def test_what_a_request_says_is_no_label(upstream: Upstream, proxy: Server, given: str) -> None:
    speak(proxy, given)
    assert all(value != given for _, labels in scrape(proxy) for _, value in labels)
