"""The dashboard and the alert rules speak of series that exist, and a real Prometheus answers them with data."""

from __future__ import annotations

import json
import math
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import CARD, MASTER_KEY, ROOT, Server, group, standard_config
from tests.fakes.receiver import receiving
from tests.fakes.upstream import Upstream
from tests.front.test_metrics import KEY, speak

DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "audio-proxy.json").read_text())
RULES = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']} {target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
ALERTS = {rule["alert"]: rule["expr"] for group in RULES["groups"] for rule in group["rules"]}
#: What Prometheus's text format appends to a family's name.
SUFFIXES = ("_total", "_bucket", "_count", "_sum", "")


def families(server: Server) -> set[str]:
    text = httpx.get(server.url + "/metrics", headers=KEY).text
    return set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))


def test_every_series_exists(proxy: Server) -> None:
    known = families(proxy)
    said = [*(query.values[0] for query in QUERIES), *ALERTS.values()]
    named = {name for expression in said for name in re.findall(r"audio_proxy_\w+", str(expression))}
    # A counter's family may or may not have the suffix in its name, by the version of the format.
    unknown = {name for name in named if not any({name, name.removesuffix(suffix)} & known for suffix in SUFFIXES)}
    assert (len(named) > 30, unknown) == (True, set())


def test_every_family_is_shown(proxy: Server) -> None:
    said = " ".join(str(query.values[0]) for query in QUERIES)
    hidden = {name for name in families(proxy) if name.removesuffix("_total") not in said}
    assert hidden == set()


def test_panels_have_places_of_their_own() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        taken |= cells
    assert max(x for x, _ in taken) < 24
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(numbers) == len(set(numbers))


# -- with a real Prometheus --------------------------------------------------------------------------------------------

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="NO PROMETHEUS on the PATH (Debian: apt-get install prometheus): the dashboard's queries are not tried",
)


@needs_prometheus
def test_the_rules_are_valid() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", str(ROOT / "deploy" / "prometheus" / "alerts.yaml")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout + checked.stderr


@contextmanager
def prometheus(server: Server, folder: Path) -> Iterator[str]:
    """The URL of a Prometheus that scrapes the server four times a second."""
    settings = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    (job,) = settings["scrape_configs"]
    job |= {"scrape_interval": "250ms", "scrape_timeout": "250ms", "authorization": {"credentials": MASTER_KEY}}
    job["static_configs"] = [{"targets": [server.url.removeprefix("http://")]}]
    shutil.copy(ROOT / "deploy" / "prometheus" / "alerts.yaml", folder)
    path = folder / "prometheus.yaml"
    path.write_text(yaml.safe_dump(settings | {"global": {"evaluation_interval": "250ms"}}))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = (folder / "prometheus.log").open("wb")
    process = subprocess.Popen(
        [
            "prometheus", f"--config.file={path}", f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}", "--query.lookback-delta=5m",
        ],
        stdout=log, stderr=log,
    )  # fmt: skip
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)
        log.close()


def ask(url: str, query: str) -> list[dict[str, Any]]:
    response = httpx.post(url + "/api/v1/query", data={"query": query}, timeout=20)
    assert response.status_code == 200, response.text
    return [sample for sample in response.json()["data"]["result"] if not math.isnan(float(sample["value"][1]))]


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.2)


def scraped(url: str, query: str) -> bool:
    try:
        return bool(ask(url, query))
    except httpx.TransportError:
        return False


def traffic(server: Server) -> None:
    """Some of everything that is counted."""
    for _ in range(3):
        speak(server)
        speak(server, "gpt-tts")
        speak(server, "unsteady")
        speak(server, "bad-key")
        speak(server, text=CARD, **{"x-proxy-guardrails": "cards"})
        for model in ("whisper", "gpt-4o-transcribe"):
            httpx.post(
                server.url + "/v1/audio/transcriptions",
                data={"model": model},
                files={"file": ("a.wav", sound(), "audio/wav")},
                headers=KEY,
            )


def sound() -> bytes:
    """A second of silence: WAV, 8 kHz, 16 bits."""
    data = bytes(16_000)
    head = b"RIFF" + (36 + len(data)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    shape = (1).to_bytes(2, "little") * 2 + (8000).to_bytes(4, "little") + (16_000).to_bytes(4, "little")
    return head + shape + b"\x02\x00\x10\x00data" + len(data).to_bytes(4, "little") + data


def busy_config(upstream: Upstream, hook: str) -> dict[str, Any]:
    config = standard_config(upstream.url)
    priced = {"input_cost_per_character": 0.000015}
    config["model_list"][0]["litellm_params"] |= priced
    config["model_list"].append(group("unsteady", "openai/unsteady", upstream.url, "audio_speech"))
    rule = {"guardrail": "pii", "mode": "pre_call", "action": "redact"}
    return config | {
        "router_settings": {"num_retries": 1, "fallbacks": [{"unsteady": ["tts"]}], "allowed_fails": 100},
        "guardrails": [{"guardrail_name": "cards", "litellm_params": rule}],
        "litellm_settings": {"callbacks": ["prometheus", "webhook"]},
        "callback_settings": {"webhook": {"endpoint": hook, "flush_interval": 0.05}},
    }


@needs_prometheus
def test_prometheus_answers_every_panel(upstream: Upstream, serve: Callable[..., Server], tmp_path: Path) -> None:
    upstream.behave("unsteady", stop_after=-1)
    upstream.behave("tts-1", chunk_size=400)
    with receiving() as receiver:
        server = serve(busy_config(upstream, receiver.url), workers=2)
        traffic(server)
        with prometheus(server, tmp_path) as url:
            until(lambda: scraped(url, "audio_proxy_workers == 2"))
            for _ in range(3):
                traffic(server)
                time.sleep(0.3)
            until(lambda: scraped(url, "count_over_time(audio_proxy_workers[1m]) > 12"))
            silent = []
            for query in QUERIES:
                expression = str(query.values[0]).replace("$__rate_interval", "1m").replace("$model", ".*")
                if not ask(url, expression):
                    silent.append((query.id, expression))
            assert silent == []
            assert ask(url, "min_over_time(up[1m]) == 1")
            backwards = "resets(audio_proxy_requests_total[5m]) > 0"
            assert ask(url, backwards) == []
            calls = sum(float(sample["value"][1]) for sample in ask(url, "audio_proxy_requests_total"))
            assert calls == 4 * 3 * 7
            rules = httpx.get(url + "/api/v1/rules").json()["data"]["groups"][0]["rules"]
            assert {rule["name"]: rule["health"] for rule in rules} == dict.fromkeys(ALERTS, "ok")
