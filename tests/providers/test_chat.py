"""The chat adapter: where it asks, with which key, and what it counts. Its answers: ``tests/front``."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.config import Config, Deployment, Environment
from proxy.domain.requests import Mode, TranscriptionRequest
from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UpstreamInvalid, UpstreamRejected
from proxy.http.messages import Request, Response
from proxy.matching import BoundDeployment, Needs, Rejection, TranscriptionPlan, match_transcription
from proxy.providers import chat_models, registry
from proxy.providers.base import BufferedRequest
from proxy.providers.vendors import chat
from proxy.routing.probes import Clip
from tests.fakes import messages

AZURE = "https://mine.openai.azure.com"


def deployment(vendor: str, **settings: Any) -> Deployment:
    return Deployment(id="t", group="t", vendor=vendor, model="some/model", **({"api_key": "sk-1"} | settings))


def asked(settings: Deployment) -> Request:
    step = next(chat_models.bind(settings, Environment({})).translation(["Hallo"]))
    assert isinstance(step, BufferedRequest)
    return step.request


@pytest.mark.parametrize(
    ("vendor", "base", "url"),
    [
        ("openai", None, "https://api.openai.com/v1/chat/completions"),
        ("openai", "http://gpu:8000", "http://gpu:8000/v1/chat/completions"),
        ("openai", "http://gpu:8000/v1", "http://gpu:8000/v1/chat/completions"),
        ("openai", "http://gpu:8000/some/api", "http://gpu:8000/some/api/chat/completions"),
        ("groq", None, "https://api.groq.com/openai/v1/chat/completions"),
        ("fireworks_ai", None, "https://api.fireworks.ai/inference/v1/chat/completions"),
        ("mistral", None, "https://api.mistral.ai/v1/chat/completions"),
        ("openrouter", None, "https://openrouter.ai/api/v1/chat/completions"),
        ("deepinfra", None, "https://api.deepinfra.com/v1/openai/chat/completions"),
    ],
)
def test_where_it_asks(vendor: str, base: str | None, url: str) -> None:
    request = asked(deployment(vendor, api_base=base))
    assert str(request.url) == url
    assert request.headers["authorization"] == "Bearer sk-1"


@pytest.mark.parametrize("base", [AZURE, f"{AZURE}/openai", f"{AZURE}/openai/v1", f"{AZURE}/openai/deployments/a"])
@pytest.mark.parametrize("version", [None, "v1", "preview"])
def test_azure(base: str, version: str | None) -> None:
    if "azure" not in registry.VENDORS:
        pytest.skip("there is no such vendor yet")
    request = asked(deployment("azure", api_base=base, api_version=version))
    assert str(request.url) == f"{AZURE}/openai/v1/chat/completions"
    assert request.headers["api-key"] == "sk-1"
    assert "authorization" not in request.headers


def test_azures_dated_versions_and_tokens() -> None:
    if "azure" not in registry.VENDORS:
        pytest.skip("there is no such vendor yet")
    token = {"api_key": None, "azure_ad_token": SecretStr("eyJ0")}
    request = asked(deployment("azure", api_base=AZURE, api_version="2024-10-21", **token))
    path = "/openai/deployments/some%2Fmodel/chat/completions?api-version=2024-10-21"
    assert str(request.url) == AZURE + path
    assert request.headers["authorization"] == "Bearer eyJ0"
    assert "api-key" not in request.headers


def answer(content: str, **further: Any) -> Response:
    document = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}]} | further
    return messages.response(200, content=json.dumps(document).encode())


def translated(*answers: Response) -> chat.Translation:
    flow = chat_models.bind(deployment("openai"), Environment({})).translation(["Hallo"])
    next(flow)
    try:
        for one in answers:
            flow.send(one)
    except StopIteration as stop:
        found: chat.Translation = stop.value
        return found
    raise AssertionError("the flow goes on")


def test_what_both_tries_used_is_counted() -> None:
    used = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4}}
    good = '{"segments": [{"id": 1, "text": "Hello"}]}'
    found = translated(answer("no", usage=used), answer(good, usage=used))
    assert found.texts == ("Hello",)
    assert found.usage == Usage(input_text_tokens=20, cached_text_tokens=8, output_text_tokens=10)
    assert translated(answer(good)).usage is None
    assert translated(answer(good, usage={"prompt_tokens": "many", "completion_tokens": -1})).usage == Usage(
        input_text_tokens=0, output_text_tokens=0
    )


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (messages.response(200, content=b"<html>"), UpstreamInvalid),
        (messages.response(200, content=b'{"choices": []}'), UpstreamInvalid),
        (messages.response(200, content=b'{"choices": [1]}'), UpstreamInvalid),
        (messages.response(200, content=b'{"choices": [{"message": null}]}'), UpstreamInvalid),
        (answer("", choices=[{"message": {}, "finish_reason": "content_filter"}]), UpstreamRejected),
    ],
)
def test_no_answer_at_all(response: Response, error: type[ProxyError]) -> None:
    with pytest.raises(error):
        translated(response)


def config(*deployments: Deployment) -> Config:
    return Config(path="c.yaml", deployments=(), translators={"t": deployments}, environment=Environment({}))


@pytest.mark.parametrize(
    ("vendor", "settings", "expected"),
    [
        ("openai", {}, ""),
        ("openai", {"api_key": None}, "c.yaml:1: openai needs a key: set api_key, or the variable OPENAI_API_KEY"),
        ("openai", {"api_key": None, "api_base": "http://gpu:8000"}, ""),
        ("local", {}, "c.yaml:1: local has no OpenAI-compatible chat API; if its server speaks it, write"),
    ],
)
def test_problems(vendor: str, settings: dict[str, Any], expected: str) -> None:
    found = chat_models.problems(config(deployment(vendor, where="c.yaml:1", **settings)))
    assert len(found) == bool(expected)
    assert "".join(found).startswith(expected)


def test_every_vendor_of_the_table_that_is_here_has_an_address() -> None:
    for name in chat_models.BASES.keys() & registry.VENDORS.keys():
        settings = deployment(name, where="c.yaml:1", api_base="http://gpu:8000", azure_ad_token=None)
        assert not chat_models.problems(config(settings))
        assert asked(settings).url.host == "gpu"


# -- what the deployment is asked for ----------------------------------------------------------------------------------


def line(model: str) -> BoundDeployment:
    settings = Deployment(id="s", group="s", vendor="openai", model=model, mode=Mode.TRANSCRIPTION)
    return BoundDeployment(settings, registry.bind(settings, Environment({"OPENAI_API_KEY": "sk-1"})))


@pytest.mark.parametrize(
    ("model", "wanted", "asked"),
    [
        ("whisper-1", "json", "verbose_json"),
        ("gpt-transcribe", "json", "json"),
        ("gpt-transcribe", "text", "json"),
        ("gpt-4o-transcribe-diarize", "text", "json"),
        ("gpt-4o-transcribe-diarize", "srt", "diarized_json"),
    ],
)
def test_what_is_asked_for_is_what_knows_most(model: str, wanted: str, asked: str) -> None:
    request = TranscriptionRequest(model=model, file=Clip(b"RIFF"), task="translate", response_format=wanted)
    plan = match_transcription(request, line(model), Needs(translator="chat"))
    assert isinstance(plan, TranscriptionPlan)
    heard = plan.request
    assert (heard.task, heard.response_format, heard.stream) == ("transcribe", asked, False)
    assert heard.chunking_strategy == ("auto" if asked == "diarized_json" else None)


@pytest.mark.parametrize("wanted", ["srt", "vtt", "verbose_json"])
def test_times_that_the_vendor_does_not_know_are_refused(wanted: str) -> None:
    request = TranscriptionRequest(model="s", file=Clip(b"RIFF"), task="translate", response_format=wanted)
    plan = match_transcription(request, line("gpt-transcribe"), Needs(translator="chat"))
    assert isinstance(plan, Rejection)
    assert plan.error.status == 400
    assert "json, text" in plan.error.message
