"""GET /v1/audio/voices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from tests.conftest import MASTER_KEY, Server, group
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of

KOKORO = "hexgrad/Kokoro-82M"


def listed(server: Server, model: str | None = None) -> list[dict[str, Any]]:
    reply = httpx.get(
        server.url + "/v1/audio/voices",
        params={"model": model} if model else {},
        headers={"authorization": f"Bearer {MASTER_KEY}"},
        timeout=20,
    )
    assert reply.status_code == 200, reply.text
    voices: list[dict[str, Any]] = reply.json()["voices"]
    for voice in voices:
        assert list(voice) == ["id", "name", "model", "models", "vendor", "language", "gender"]
        assert voice["name"]
    return voices


def config(url: str) -> dict[str, Any]:
    return {
        "model_list": [
            group("tts", f"together_ai/{KOKORO}", url, voices={"narrator": "af_bella"}),
            group("groq", "groq/canopylabs/orpheus-v1-english", url),
            group("whisper", "openai/whisper-1", url, "audio_transcription"),
        ],
        "general_settings": {"master_key": MASTER_KEY, "drain_delay": 0},
        "router_settings": {"model_group_alias": {"speaker": "tts"}},
    }


def test_live_from_the_vendor_and_kept(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream.url))
    rows = {"data": [{"model": KOKORO, "voices": [{"name": "af_bella"}, {"name": "af_heart"}]}]}
    upstream.behave("*", answer=Answer("application/json", [answers.dump(rows)], chunked=False))
    found = listed(server, "tts")
    assert [voice["id"] for voice in found[:2]] == ["alloy", "ash"]
    assert [voice["id"] for voice in found[-3:]] == ["narrator", "af_bella", "af_heart"]
    assert found[-1] | {"name": ""} == {
        "id": "af_heart",
        "name": "",
        "model": "tts",
        "models": ["tts"],
        "vendor": "together_ai",
        "language": "en-US",
        "gender": "female",
    }
    assert found == listed(server, "tts") == listed(server, "speaker")
    assert len(upstream.requests) == 1
    assert upstream.last.method == "GET"


def test_where_the_vendor_fails_its_known_voices_are_told(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream.url))
    upstream.behave("*", answer=answers.ERRORS[500])
    found = [voice["id"] for voice in listed(server, "tts")]
    assert "af_heart" in found
    assert len(found) > 20


def test_of_every_model_that_speaks(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(config(upstream.url))
    upstream.behave("*", answer=answers.ERRORS[500])
    found = {voice["id"]: voice for voice in listed(server)}
    assert found["troy"]["vendor"] == "groq"
    assert found["af_heart"]["vendor"] == "together_ai"
    assert next(iter(found)) == "alloy"
    assert (found["alloy"]["model"], found["alloy"]["models"]) == ("tts", ["tts", "groq"])
    assert found["troy"]["models"] == ["groq"]
    assert listed(server, "whisper") == []


def test_a_model_that_does_not_exist(upstream: Upstream, http: httpx.Client) -> None:
    error_of(http.get("/v1/audio/voices?model=nobody"), 404, "model_not_found")
