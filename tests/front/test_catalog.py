"""What may be used: the models, the voices and the description of the API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes.samples import SPEECH, wav
from tests.fakes.upstream import KEY, Upstream
from tests.front.shape import error_of
from tests.front.wire import AUTHORIZATION

GROUPS = [entry["model_name"] for entry in standard_config("http://x")["model_list"]]


def test_models_in_openais_shape(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.get("/v1/models")
    assert reply.headers["content-type"] == "application/json"
    document = reply.json()
    assert list(document)[:2] == ["object", "data"]
    assert document["object"] == "list"
    assert sorted(model["id"] for model in document["data"]) == sorted(GROUPS)
    for model in document["data"]:
        assert list(model)[:4] == ["id", "object", "created", "owned_by"]
        assert model["object"] == "model"
        assert isinstance(model["created"], int)
        assert isinstance(model["owned_by"], str)
    assert not upstream.requests


def test_models_say_their_mode_and_shutdown_date(http: httpx.Client) -> None:
    models = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
    assert models["tts"]["mode"] == "audio_speech"
    assert models["gpt-tts"]["mode"] == "audio_speech"
    assert models["gpt-transcribe"]["mode"] == "audio_transcription"
    assert models["diarize"]["mode"] == "audio_transcription"
    assert models["translator"]["mode"] == "audio_translation"
    assert models["openai-tts"]["shutdown_date"] == "2027-01-06"
    assert models["openai-whisper"]["shutdown_date"] == "2027-02-26"
    assert models["selfhosted"].get("shutdown_date") is None


def test_a_model_says_what_it_can_do(http: httpx.Client) -> None:
    def of(name: str) -> dict[str, Any]:
        document: dict[str, Any] = http.get(f"/v1/models/{name}").json()
        assert list(document)[:4] == ["id", "object", "created", "owned_by"]
        return document

    six = ["mp3", "opus", "aac", "flac", "wav", "pcm"]
    tts = of("openai-tts")
    assert tts["modes"] == ["audio_speech"]
    assert tts["speech"]["formats"] == tts["speech"]["native_formats"] == six
    assert {"alloy", "marin"} <= set(tts["speech"]["voices"])
    assert tts["speech"]["speed"] == [0.25, 4.0]
    assert tts["speech"]["max_characters"] >= 4096
    assert tts["speech"]["any_voice"] is False
    assert tts["shutdown_date"] == "2027-01-06"
    assert "transcription" not in tts
    whisper = of("openai-whisper")
    assert whisper["modes"] == ["audio_transcription", "audio_translation"]
    assert whisper["transcription"]["response_formats"] == ["json", "text", "srt", "verbose_json", "vtt"]
    assert whisper["transcription"]["max_file_mb"] == 25
    assert of("openai-gpt-4o")["transcription"]["max_seconds"] == 1400
    unknown = of("selfhosted")["speech"]
    assert (unknown["formats"], unknown["max_characters"], unknown["extras"]) == (None, None, None)
    assert of("narrator")["speech"]["voices"][0] == "alloy"


def test_a_group_can_do_what_any_of_its_deployments_can(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url)
    by_name = {entry["model_name"]: entry for entry in config["model_list"]}
    by_name["openai-gpt-4o"]["model_name"] = "openai-whisper"
    by_name["selfhosted"]["model_name"] = "openai-tts"
    key = {"authorization": AUTHORIZATION}
    server = serve(config)
    both = httpx.get(server.url + "/v1/models/openai-whisper", headers=key).json()["transcription"]
    assert both["response_formats"] == ["json", "text", "srt", "verbose_json", "vtt"]
    assert both["max_seconds"] is None
    mixed = httpx.get(server.url + "/v1/models/openai-tts", headers=key).json()
    assert (mixed["speech"]["max_characters"], mixed["speech"]["any_voice"]) == (None, True)
    assert mixed["shutdown_date"] is None


def test_the_sdk_lists_and_retrieves(sdk: openai.OpenAI) -> None:
    assert sorted(model.id for model in sdk.models.list()) == sorted(GROUPS)
    assert sdk.models.retrieve("gpt-tts").id == "gpt-tts"
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.models.retrieve("gpt-tts-9")
    assert caught.value.code == "model_not_found"


def test_names_with_slashes_and_spaces_are_retrieved(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url)
    config["model_list"][0]["model_name"] = "speech/my tts"
    server = serve(config)
    key = {"authorization": AUTHORIZATION}
    for path in ("/v1/models/speech%2Fmy%20tts", "/v1/models/speech/my%20tts"):
        reply = httpx.get(server.url + path, headers=key)
        assert (reply.status_code, reply.json().get("id")) == (200, "speech/my tts")
    body = {"model": "speech/my tts", "input": "Hi", "voice": "alloy"}
    assert httpx.post(server.url + "/v1/audio/speech", json=body, headers=key).status_code == 200


def test_open_webuis_lists(http: httpx.Client) -> None:
    models = http.get("/audio/models").json()
    assert list(models) == ["models"]
    names = [model["id"] for model in models["models"]]
    assert {"tts", "gpt-tts", "selfhosted"} <= set(names)
    voices = http.get("/audio/voices").json()
    assert list(voices) == ["voices"]
    for voice in voices["voices"]:
        assert {"id", "name"} <= set(voice)
    assert {"alloy", "nova", "marin"} <= {voice["id"] for voice in voices["voices"]}


def test_models_by_task(http: httpx.Client) -> None:
    def listed(task: str) -> dict[str, str]:
        models = http.get("/v1/models", params={"task": task}).json()["data"]
        assert {model["task"] for model in models} == {task}
        return {model["id"]: model["mode"] for model in models}

    speaking, hearing = listed("text-to-speech"), listed("automatic-speech-recognition")
    assert set(speaking.values()) == {"audio_speech"}
    assert set(hearing.values()) == {"audio_transcription", "audio_translation"}
    assert len(speaking) + len(hearing) == len(GROUPS)
    assert error_of(http.get("/v1/models?task=chat"), 400)["param"] == "task"


def test_a_models_voices_as_speaches_clients_read_them(http: httpx.Client) -> None:
    voices = http.get("/v1/models/narrator").json()["voices"]
    assert [list(voice) for voice in voices[:1]] == [["id", "name", "language", "gender"]]
    assert "alloy" in [voice["name"] for voice in voices]
    assert all(voice["name"] == voice["id"] for voice in voices)
    assert "voices" not in http.get("/v1/models/whisper").json()
    for query in ({"model_id": "narrator"}, {"model": "narrator"}):
        rows = http.get("/v1/audio/speech/voices", params=query).json()
        assert [row["voice_id"] for row in rows] == [voice["id"] for voice in voices]
        assert {row["model_id"] for row in rows} == {"narrator"}
        assert len(http.get("/v1/audio/voices", params=query).json()["voices"]) == len(rows)
    pairs = [(row["model_id"], row["voice_id"]) for row in http.get("/audio/speech/voices").json()]
    assert {("tts", "alloy"), ("gpt-tts", "alloy")} <= set(pairs)
    assert len(set(pairs)) == len(pairs)


def test_health_checks_of_other_servers_need_no_key(proxy: Server) -> None:
    for path in ("/healthz", "/livez", "/readyz"):
        assert httpx.get(proxy.url + path).status_code == 200
    # wyoming-openai takes a server that has it for LocalAI, whose voices are the names of its models.
    assert httpx.get(proxy.url + "/v1/readyz").status_code == 404


@pytest.mark.parametrize("path", ["/audio/models", "/audio/voices", "/v1/audio/models", "/v1/audio/voices"])
def test_the_lists_are_closed_without_public_catalog(proxy: Server, path: str) -> None:
    error_of(httpx.get(proxy.url + path), 401, "invalid_api_key")


def test_public_catalog_opens_the_lists_and_nothing_else(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, public_catalog=True))
    for path in ("/audio/models", "/audio/voices", "/v1/audio/models", "/v1/audio/voices", "/v1/models", "/v1/models/"):
        assert httpx.get(server.url + path).status_code == 200
        for nothing in ("", "Bearer", "Basic YWxpY2U6c2VjcmV0"):
            assert httpx.get(server.url + path, headers={"authorization": nothing}).status_code == 200
        for wrong in ("Bearer sk-wrong", "Bearer undefined", f"Token {MASTER_KEY}", MASTER_KEY):
            error_of(httpx.get(server.url + path, headers={"authorization": wrong}), 401, "invalid_api_key")
        for header in ("api-key", "x-api-key", "x-litellm-api-key"):
            error_of(httpx.get(server.url + path, headers={header: "sk-wrong"}), 401, "invalid_api_key")
    error_of(httpx.post(server.url + "/v1/audio/speech", json={}), 401)
    error_of(httpx.get(server.url + "/v1/model/info"), 401)
    error_of(httpx.get(server.url + "/health"), 401)
    error_of(httpx.get(server.url + "/metrics"), 401)


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_each_endpoint_also_without_v1(upstream: Upstream, http: httpx.Client, prefix: str) -> None:
    body = {"model": "tts", "input": "Hi", "voice": "alloy"}
    assert http.post(prefix + "/audio/speech", json=body).content == SPEECH["mp3"]
    assert upstream.last.target == "/v1/audio/speech"
    for name, model in (("transcriptions", "whisper"), ("translations", "translator")):
        files = {"file": ("a.wav", wav())}
        assert http.post(f"{prefix}/audio/{name}", data={"model": model}, files=files).status_code == 200
        assert upstream.last.target == f"/v1/audio/{name}"
    for path in (
        "/models", "/models/tts", "/audio/models", "/audio/voices", "/audio/speech/voices", "/model/info"
    ):  # fmt: skip
        assert http.get(prefix + path).status_code == 200


def test_an_api_base_with_and_without_a_slash_or_path(upstream: Upstream, serve: Callable[..., Server]) -> None:
    config = standard_config(upstream.url + "/")
    server = serve(config)
    body = {"model": "tts", "input": "Hi", "voice": "alloy"}
    assert (
        httpx.post(server.url + "/v1/audio/speech", json=body, headers={"authorization": AUTHORIZATION}).status_code
        == 200
    )
    assert upstream.last.target == "/v1/audio/speech"


# -- the description ---------------------------------------------------------------------------------------------------


@pytest.fixture
def openapi(http: httpx.Client) -> dict[str, Any]:
    document: dict[str, Any] = http.get("/openapi.json").json()
    return document


def test_openapi_names_every_endpoint(openapi: dict[str, Any]) -> None:
    expected = {
        "/v1/audio/speech": "post",
        "/v1/audio/transcriptions": "post",
        "/v1/audio/translations": "post",
        "/v1/models": "get",
        "/health/liveliness": "get",
        "/health/readiness": "get",
        "/health": "get",
    }
    for path, method in expected.items():
        assert method in openapi["paths"][path], path
        assert "422" not in openapi["paths"][path][method]["responses"]


def test_openapi_is_true_for_multipart_fields(openapi: dict[str, Any]) -> None:
    schema = _schema(openapi, "/v1/audio/transcriptions", "multipart/form-data")
    assert {"file", "model"} <= set(schema["required"])
    assert schema["properties"]["file"]["format"] == "binary"
    documented = {name.removesuffix("[]") for name in schema["properties"]}
    assert {
        "language",
        "prompt",
        "response_format",
        "temperature",
        "include",
        "timestamp_granularities",
        "stream",
        "chunking_strategy",
        "languages",
        "keywords",
        "known_speaker_names",
        "known_speaker_references",
    } <= documented
    assert {"file", "model"} <= set(_schema(openapi, "/v1/audio/translations", "multipart/form-data")["required"])


def test_openapi_is_true_for_speech_and_its_binary_answers(openapi: dict[str, Any]) -> None:
    schema = _schema(openapi, "/v1/audio/speech", "application/json")
    fields = {"model", "input", "voice", "instructions", "response_format", "speed", "stream_format"}
    assert fields <= set(schema["properties"])
    assert {"model", "input"} <= set(schema["required"])
    content = openapi["paths"]["/v1/audio/speech"]["post"]["responses"]["200"]["content"]
    assert {"audio/mpeg", "audio/wav", "text/event-stream"} <= set(content)
    assert content["audio/mpeg"]["schema"]["format"] == "binary"


def test_openapi_knows_the_key(openapi: dict[str, Any]) -> None:
    schemes = openapi["components"]["securitySchemes"].values()
    assert [scheme["scheme"].lower() for scheme in schemes if scheme["type"] == "http"] == ["bearer"]


def _schema(openapi: dict[str, Any], path: str, content_type: str) -> dict[str, Any]:
    schema: dict[str, Any] = openapi["paths"][path]["post"]["requestBody"]["content"][content_type]["schema"]
    if "$ref" in schema:
        found: dict[str, Any] = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def test_docs_are_a_page(http: httpx.Client) -> None:
    reply = http.get("/docs")
    assert reply.headers["content-type"].startswith("text/html")
    assert KEY not in reply.text
