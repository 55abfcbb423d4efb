"""LiteLLM's descriptions of models: /model/info and /model_group/info."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from proxy.api.model_info import PricesOfModel
from proxy.config.models import COST_FIELDS
from tests.conftest import MASTER_KEY, NOWHERE, Server, group, standard_config
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of

NUMBERS = {"rpm": 5, "input_cost_per_character": 0.00003}


def test_every_price_of_a_configuration_is_described() -> None:
    assert set(PricesOfModel.model_fields) == COST_FIELDS


def test_deployments_with_prices_and_without_secrets(http: httpx.Client) -> None:
    for path in ("/v1/model/info", "/model/info"):
        reply = http.get(path)
        assert KEY not in reply.text
        assert NOWHERE not in reply.text
        rows: dict[str, dict[str, Any]] = {row["model_name"]: row for row in reply.json()["data"]}
        assert set(rows) == {entry["model_name"] for entry in standard_config("http://x")["model_list"]}
        assert rows["openai-tts"]["litellm_params"] == {"model": "openai/tts-1"}
        info = rows["openai-tts"]["model_info"]
        assert (info["mode"], info["input_cost_per_character"]) == ("audio_speech", 0.000015)
        assert (info["db_model"], info["litellm_provider"]) == (False, "openai")
        assert "voice" in info["supported_openai_params"]
        assert rows["openai-whisper"]["model_info"]["input_cost_per_second"] == 0.0001
        # A server of one's own has no known price.
        assert rows["selfhosted"]["model_info"]["input_cost_per_character"] is None
        one = http.get(path, params={"litellm_model_id": info["id"]}).json()["data"]
        assert one == [rows["openai-tts"]]
        assert "not found" in error_of(http.get(path, params={"litellm_model_id": "x"}), 400)["message"]


def test_a_group_has_the_highest_of_its_prices(upstream: Upstream, serve: Callable[..., Server]) -> None:
    deployments = [
        group("tts", "openai/tts-1", upstream.url, **NUMBERS),
        group("tts", "elevenlabs/eleven_v3", None, rpm=2),
    ]
    server = serve(
        {"model_list": [*deployments, group("stt", "openai/whisper-1", upstream.url)]}
        | {"general_settings": {"master_key": MASTER_KEY, "drain_delay": 0}}
    )
    client = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MASTER_KEY}"})
    found: dict[str, dict[str, Any]] = {
        row["model_group"]: row for row in client.get("/model_group/info").json()["data"]
    }
    assert list(found) == ["tts", "stt"]
    assert (found["tts"]["providers"], found["tts"]["mode"]) == (["openai", "elevenlabs"], "audio_speech")
    assert (found["tts"]["rpm"], found["stt"]["rpm"]) == (7, None)
    prices = [row["model_info"]["input_cost_per_character"] for row in client.get("/model/info").json()["data"][:2]]
    assert found["tts"]["input_cost_per_character"] == max(prices)
    assert len(set(prices)) == 2
    assert client.get("/model_group/info?model_group=stt").json()["data"] == [found["stt"]]
    error_of(client.get("/model_group/info?model_group=nobody"), 404, "model_not_found")


def test_a_key_sees_its_own_models(upstream: Upstream, proxy: Server, http: httpx.Client) -> None:
    key = http.post("/key/generate", json={"models": ["tts"]}).json()["key"]
    with httpx.Client(base_url=proxy.url, headers={"x-api-key": key}) as client:
        assert [row["model_name"] for row in client.get("/model/info").json()["data"]] == ["tts"]
        assert [row["model_group"] for row in client.get("/model_group/info").json()["data"]] == ["tts"]
        error_of(client.get("/model_group/info?model_group=whisper"), 404)
    for path in ("/model/info", "/v1/model/info", "/model_group/info"):
        error_of(httpx.get(proxy.url + path), 401, "invalid_api_key")
