"""Replacing the master key: the old one is accepted beside the new one for a while, and its use is seen."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import yaml

from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of
from tests.front.test_access import HELLO, SPEAK
from tests.front.test_reload import replace, until

Serve = Callable[..., Server]
OLD = "sk-old-9d8c7b6a5f4e3d2c1b0a9f8e"


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def config(upstream: Upstream, **general: Any) -> dict[str, Any]:
    return standard_config(upstream.url, **general)


def uses(server: Server) -> float:
    text = httpx.get(server.url + "/metrics", headers=bearer(MASTER_KEY)).text
    found = re.search(r"^audio_proxy_previous_master_key_uses_total ([\d.]+)$", text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def call(server: Server, key: str) -> httpx.Response:
    return httpx.post(server.url + SPEAK, json=HELLO, headers=bearer(key))


def test_rotation_from_the_first_step_to_the_last(upstream: Upstream, serve: Serve) -> None:
    """As docs/keys.md says, without a restart, and without a call that fails."""
    server = serve(config(upstream, master_key=OLD))
    made = httpx.post(server.url + "/key/generate", json={}, headers=bearer(OLD)).json()["key"]

    replace(server.config_path, yaml.safe_dump(config(upstream, previous_master_key=OLD)))
    until(lambda: call(server, MASTER_KEY).status_code == 200)
    assert uses(server) == 0
    assert [call(server, key).status_code for key in (MASTER_KEY, OLD, made)] == [200, 200, 200]
    assert uses(server) == 1
    for path in ("/key/list", "/health", "/metrics", "/v1/models", "/usage"):
        assert httpx.get(server.url + path, headers=bearer(OLD)).status_code == 200
    basic = base64.b64encode(f"admin:{OLD}".encode()).decode()
    assert httpx.get(server.url + "/docs", headers={"authorization": f"Basic {basic}"}).status_code == 200
    assert uses(server) == 7
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    warned = [line for line in lines if line["event"] == "the previous master key is still in use"]
    assert [line["level"] for line in warned] == ["warning"]  # once a minute
    aliases = [(line["key"], line["key_alias"]) for line in lines if line["event"] == "call" and line["status"] == 200]
    assert aliases.count(("master", "previous master key")) == 1

    replace(server.config_path, yaml.safe_dump(config(upstream)))
    until(lambda: call(server, OLD).status_code == 401)
    assert [call(server, key).status_code for key in (MASTER_KEY, made)] == [200, 200]
    rows = httpx.get(server.url + "/usage?group_by=key", headers=bearer(MASTER_KEY)).json()["data"]
    assert {row["key"] for row in rows} >= {"master"}
    assert OLD not in server.log()


def test_the_keys_may_come_from_the_environment(upstream: Upstream, serve: Serve) -> None:
    given = config(upstream)
    del given["general_settings"]["master_key"]
    server = serve(given, env={"PROXY_MASTER_KEY": MASTER_KEY, "PROXY_PREVIOUS_MASTER_KEY": OLD})
    assert [call(server, key).status_code for key in (MASTER_KEY, OLD, "sk-neither")] == [200, 200, 401]


def test_a_weak_previous_key_only_makes_calls(upstream: Upstream, serve: Serve) -> None:
    server = serve(config(upstream, previous_master_key="sk-1234"))
    assert re.search("previous master key is weak", server.log())
    new, weak = bearer(MASTER_KEY), bearer("sk-1234")
    for path in ("/key/list", "/usage", "/metrics", "/health"):
        assert httpx.get(server.url + path, headers=new).status_code == 200
        error_of(httpx.get(server.url + path, headers=weak), 403, "weak_master_key")
    assert call(server, "sk-1234").status_code == 200


@pytest.mark.parametrize("key", [OLD, MASTER_KEY])
def test_neither_can_be_made_a_virtual_key(upstream: Upstream, serve: Serve, key: str) -> None:
    server = serve(config(upstream, previous_master_key=OLD))
    made = httpx.post(server.url + "/key/generate", json={"key": key}, headers=bearer(MASTER_KEY))
    error_of(made, 400)


def test_the_metrics_token_opens_no_more_than_before(upstream: Upstream, serve: Serve) -> None:
    server = serve(config(upstream, previous_master_key=OLD, metrics_token="mt-5e1d7a90c3b24f68"))
    asks = bearer("mt-5e1d7a90c3b24f68")
    assert httpx.get(server.url + "/metrics", headers=asks).status_code == 200
    error_of(httpx.post(server.url + SPEAK, json=HELLO, headers=asks), 401)
    basic = base64.b64encode(b"admin:mt-5e1d7a90c3b24f68").decode()
    error_of(httpx.get(server.url + "/metrics", headers={"authorization": f"Basic {basic}"}), 401)
