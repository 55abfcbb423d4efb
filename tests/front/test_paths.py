"""Paths as clients spell them: slashes too many, prefixes twice, Azure's addresses; and HEAD."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of
from tests.front.wire import AUTHORIZATION, FORM, JSON, Wire, file_part, form, text_part

HELLO: dict[str, Any] = {"model": "tts", "input": "Hello", "voice": "alloy"}
BODY = json.dumps(HELLO).encode()
MODELS = len(standard_config("http://x")["model_list"])
ASKS = {"authorization": AUTHORIZATION}


def speech(server: Server, path: str, body: dict[str, Any] = HELLO) -> httpx.Response:
    return httpx.post(server.url + path, json=body, headers=ASKS)


# -- slashes and prefixes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "//v1/audio/speech",
        "/v1//audio/speech",
        "/v1/audio/speech/",
        "/v1/audio//speech//",
        "///v1///audio///speech///?x=1",
        "//audio/speech",
        "/audio/speech/",
        "/v1/v1/audio/speech",
        "/v1//v1/audio/speech",
        "/openai/v1/audio/speech?api-version=preview",
        "//openai//v1//audio//speech/",
    ],
)
def test_a_post_simply_works(upstream: Upstream, proxy: Server, path: str) -> None:
    with Wire(proxy.port) as wire:
        reply = wire.post(path, BODY, JSON)
    assert (reply.status_code, reply.content) == (200, SPEECH["mp3"])


@pytest.mark.parametrize("path", ["/v1/audio//transcriptions/", "//audio/transcriptions", "/v1/audio/translations/"])
def test_an_upload_simply_works(upstream: Upstream, proxy: Server, path: str) -> None:
    model = "translator" if "translations" in path else "whisper"
    with Wire(proxy.port) as wire:
        reply = wire.post(path, form(text_part("model", model), file_part(wav())), FORM)
    assert reply.status_code == 200
    assert reply.json()["text"]


@pytest.mark.parametrize(
    "path", ["/v1/models/", "/v1//models", "//v1/models", "/models/", "/v1/v1/models", "//models//?a=1"]
)
def test_lists_are_lists(proxy: Server, path: str) -> None:
    with Wire(proxy.port) as wire:
        wire.head("GET", path)
        document = wire.reply("GET").json()
    assert (document["object"], len(document["data"])) == ("list", MODELS)


def test_encoded_slashes_are_part_of_a_name(proxy: Server, http: httpx.Client) -> None:
    assert http.get("/v1/models/tts/").json()["id"] == "tts"
    names = {"tts%2F": "tts/", "%2F": "/", "a%2F%2Fb/": "a//b", "/a%252Fb": "a%2Fb", "a//b": "a/b"}
    for spelled, name in names.items():
        message = error_of(http.get(f"/v1/models/{spelled}"), 404, "model_not_found")["message"]
        assert f"'{name}'" in message


@pytest.mark.parametrize(
    "path", ["//key/list", "/key//list/", "//key/generate", "/key/generate/", "//health", "/metrics/", "//docs"]
)
def test_other_spellings_are_no_way_around_the_key(proxy: Server, path: str) -> None:
    method = "POST" if "generate" in path else "GET"
    with Wire(proxy.port) as wire:
        wire.head(method, path, {"Authorization": None, "Content-Length": "0" if method == "POST" else None})
        error_of(wire.reply(method), 401, "invalid_api_key")


@pytest.mark.parametrize(
    "path", ["/openai/key/list", "/v1/key/list", "/openai/v1/usage", "/openai/health", "/openai/docs"]
)
def test_prefixes_lead_to_openais_routes_only(http: httpx.Client, path: str) -> None:
    error_of(http.get(path), 404)


@pytest.mark.parametrize("kept", [False, True])
def test_behind_a_reverse_proxy_with_a_root_path(upstream: Upstream, serve: Callable[..., Server], kept: bool) -> None:
    server = serve(standard_config(upstream.url), args=["--root-path", "/base"])
    base = "/base" if kept else ""
    for path in ("//v1/audio/speech", "/v1/audio/speech/", "/openai/deployments/tts/audio/speech"):
        assert speech(server, base + path).content == SPEECH["mp3"]
    for path in ("/v1/models/", "//v1//models", "/openai/models"):
        assert len(httpx.get(server.url + base + path, headers=ASKS).json()["data"]) == MODELS
    for path in ("/", "//", ""):
        assert httpx.get(server.url + base + path).json()["docs"] == "/base/docs"


# -- Azure's addresses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "/", "//"])
def test_azures_client_works_unchanged(upstream: Upstream, proxy: Server, suffix: str) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=proxy.url + suffix, api_key=MASTER_KEY, api_version="2025-03-01-preview", max_retries=0
    ) as client:
        assert client.audio.speech.create(model="tts", voice="alloy", input="Hi").content == SPEECH["mp3"]
        assert client.audio.transcriptions.create(model="whisper", file=("a.wav", wav())).text
        assert client.audio.translations.create(model="translator", file=("a.wav", wav())).text
        assert len(list(client.models.list())) == MODELS
    assert not any(name.lower() == "api-key" for request in upstream.requests for name, _ in request.headers)


def test_openais_client_at_azures_v1_address(upstream: Upstream, proxy: Server) -> None:
    with openai.OpenAI(base_url=proxy.url + "/openai/v1/", api_key=MASTER_KEY, max_retries=0) as client:
        assert client.audio.speech.create(model="tts", voice="alloy", input="Hi").content == SPEECH["mp3"]
        assert client.models.retrieve("tts").id == "tts"


def test_the_model_in_the_path_takes_precedence_as_with_azure(upstream: Upstream, proxy: Server) -> None:
    address = "/openai/deployments/selfhosted/audio/speech?api-version=2025-04-01-preview"
    for body in ({}, {"model": "tts"}, {"model": "no-such-model"}, {"model": None}):
        assert speech(proxy, address, {"input": "Hi", "voice": "alloy", **body}).status_code == 200
        assert upstream.last.json["model"] == "kokoro"
    for fields in ({}, {"model": "no-such-model"}):
        files = {"file": ("a.wav", wav())}
        path = "/openai/deployments/whisper/audio/transcriptions"
        assert httpx.post(proxy.url + path, data=fields, files=files, headers=ASKS).status_code == 200


def test_the_limit_of_an_upload_is_that_of_the_model_in_the_path(upstream: Upstream, proxy: Server) -> None:
    files = {"file": ("a.wav", wav())}
    path = "/openai/deployments/tiny/audio/transcriptions"
    error_of(httpx.post(proxy.url + path, data={"model": "whisper"}, files=files, headers=ASKS), 413)
    assert not upstream.requests


def test_an_unknown_model_in_the_path(upstream: Upstream, proxy: Server) -> None:
    message = error_of(speech(proxy, "/openai/deployments/tts-9/audio/speech"), 404, "model_not_found")["message"]
    assert "'tts-9'" in message
    error_of(speech(proxy, f"/openai/deployments/{'m' * 300}/audio/speech"), 400)
    error_of(speech(proxy, "/openai/deployments//audio/speech"), 404)


def test_names_with_slashes_and_spaces_in_the_path(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url)
    config["model_list"][0]["model_name"] = "speech/my tts"
    server = serve(config)
    for name in ("speech/my%20tts", "speech%2Fmy%20tts"):
        assert speech(server, f"/openai/deployments/{name}/audio/speech", {"input": "Hi", "voice": "alloy"}).is_success


# -- HEAD --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/", "/health/liveliness", "/health/liveness", "/health/readiness", "/healthz", "/livez", "/readyz", "/health",
        "/metrics", "/docs", "/openapi.json", "/docs/swagger-ui.css", "/v1/models", "/v1/models/", "/v1/models/tts",
        "/v1/models/nobody", "/v1/audio/voices", "/audio/models", "/key/list", "/usage", "/nowhere",
    ],
)  # fmt: skip
def test_head_is_get_without_the_body(proxy: Server, path: str) -> None:
    with Wire(proxy.port) as wire:
        wire.head("HEAD", path)
        head = wire.reply("HEAD")
        wire.head("GET", path)
        whole = wire.reply("GET")
    assert head.content == b""
    assert head.status_code == whole.status_code
    varying = {"date", "x-request-id"} | ({"content-length"} if path in {"/metrics", "/nowhere"} else set())
    for name in (head.headers.keys() | whole.headers.keys()) - varying:
        assert head.headers.get(name) == whole.headers.get(name), name
    assert whole.content
    assert "content-length" in head.headers


def test_head_needs_the_key_that_get_needs(proxy: Server) -> None:
    for path in ("/v1/models", "/health", "/key/list"):
        assert httpx.head(proxy.url + path).status_code == 401


def test_what_is_allowed_says_head_too(http: httpx.Client) -> None:
    assert http.post("/v1/models").headers["allow"] == "GET, HEAD"
    assert http.head("/health/probe").headers["allow"] == "POST"
