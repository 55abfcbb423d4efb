"""What is Azure's own: addresses, versions, keys and tokens, what a deployment is called after."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import UnsupportedValue
from proxy.http.messages import Request
from proxy.providers import registry
from proxy.providers.base import BufferedRequest
from proxy.providers.sockets.live import LIVE
from proxy.providers.sockets.realtime import SPEECH as REALTIME
from proxy.providers.vendors.azure import AZURE, MODELS
from tests.conftest import MASTER_KEY, Server
from tests.fakes import messages
from tests.fakes.realtime import Script, marked, running
from tests.providers.attempts import Held

RESOURCE = "https://my-resource.openai.azure.com"
KEY = "azure-key-1a2b3c4d"


def adapter(model: str = "my-tts", **own: Any) -> Any:
    settings = {"api_base": RESOURCE} | own
    deployment = Deployment(id="one", group="g", vendor="azure", model=model, where="config.yaml:1", **settings)
    return AZURE.bind(deployment, {"AZURE_API_KEY": KEY})


def said(model: str = "my-tts", **own: Any) -> Request:
    step = next(adapter(model, **own).speech(SpeechRequest("m", "Hello", "alloy")))
    return step.request if isinstance(step, BufferedRequest) else step


def heard(model: str = "my-stt", task: Any = "transcribe", **own: Any) -> Request:
    step = next(adapter(model, **own).transcription(TranscriptionRequest("m", Held(b"RIFF"), task=task)))
    return step.request if isinstance(step, BufferedRequest) else step


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base",
    [
        RESOURCE,
        f"{RESOURCE}/",
        f"{RESOURCE}/openai",
        f"{RESOURCE}/openai/v1",
        f"{RESOURCE}/openai/v1/",
        f"{RESOURCE}/openai/deployments/my-tts",
    ],
)
def test_the_resource_may_be_written_with_or_without_the_path(base: str) -> None:
    assert str(said(api_base=base).url) == f"{RESOURCE}/openai/v1/audio/speech"
    dated = said(api_base=base, api_version="2025-04-01-preview")
    assert str(dated.url) == (f"{RESOURCE}/openai/deployments/my-tts/audio/speech?api-version=2025-04-01-preview")
    assert str(said("my-realtime", api_base=base).url) == (
        "wss://my-resource.openai.azure.com/openai/v1/realtime?model=my-realtime"
    )


def test_a_gateway_in_front_keeps_its_path() -> None:
    assert str(said(api_base="https://gate.example/azure").url) == "https://gate.example/azure/openai/v1/audio/speech"


@pytest.mark.parametrize("version", ["v1", "preview"])
def test_the_v1_api_may_have_a_version_too(version: str) -> None:
    assert str(said(api_version=version).url) == f"{RESOURCE}/openai/v1/audio/speech?api-version={version}"


def test_transcriptions_and_translations() -> None:
    assert str(heard().url) == f"{RESOURCE}/openai/v1/audio/transcriptions"
    assert str(heard(task="translate", model="whisper").url) == f"{RESOURCE}/openai/v1/audio/translations"
    dated = heard("my stt/1", api_version="2024-10-21")
    assert dated.url.target == (b"/openai/deployments/my%20stt%2F1/audio/transcriptions?api-version=2024-10-21")


def test_the_model_is_the_deployments_name() -> None:
    body = json.loads(messages.body_of(said(base_model="gpt-4o-mini-tts")))
    assert body["model"] == "my-tts"


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_never_leaves_its_place(name: str) -> None:
    with pytest.raises(UnsupportedValue):
        adapter(name, api_version="2024-10-21")


def test_the_address_may_come_from_the_environment() -> None:
    deployment = Deployment(id="one", group="g", vendor="azure", model="tts", where="config.yaml:1")
    bound: Any = AZURE.bind(deployment, {"AZURE_API_KEY": KEY, "AZURE_API_BASE": RESOURCE})
    step = next(bound.speech(SpeechRequest("m", "Hello", "alloy")))
    assert str(step.url) == f"{RESOURCE}/openai/v1/audio/speech"


# -- who asks ----------------------------------------------------------------------------------------------------------


def test_a_key_and_a_token() -> None:
    assert said().headers["api-key"] == KEY
    assert "authorization" not in said().headers
    with_token = said(azure_ad_token="ey.token")
    assert with_token.headers["authorization"] == "Bearer ey.token"
    assert "api-key" not in with_token.headers
    assert said("a-realtime-one").headers["api-key"] == KEY


def test_either_variable_holds_the_key() -> None:
    deployment = Deployment(id="one", group="g", vendor="azure", model="tts", api_base=RESOURCE, where="config.yaml:1")
    assert AZURE.key(deployment, {"AZURE_OPENAI_API_KEY": "second"}) == "second"
    assert registry.has_key(deployment, {}) is False


# -- what a deployment is ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "base_model", "date"),
    [
        ("gpt-4o-mini-tts", None, "2027-06-15"),
        ("prod", "gpt-4o-mini-tts", "2027-06-15"),
        ("prod", "azure/tts-1", "2026-12-15"),
        ("whisper", None, "2026-12-15"),
        ("gpt-realtime-2.1-mini", None, "2027-06-25"),
        ("gpt-live-transcribe", None, "2028-02-01"),
        ("gpt-realtime-2", None, None),
    ],
)
def test_the_ends_are_azures_own(model: str, base_model: str | None, date: str | None) -> None:
    assert adapter(model, base_model=base_model).capabilities.shutdown_date == date


def test_limits_are_those_of_the_model() -> None:
    assert adapter("prod", base_model="gpt-4o-transcribe").capabilities.max_seconds == 1400
    assert MODELS["tts-hd"].max_characters == 4096
    assert adapter("prod").capabilities.max_characters is None


@pytest.mark.parametrize(
    ("model", "base_model", "mode"),
    [
        ("my-Realtime-eu", None, Mode.SPEECH),
        ("prod", "gpt-realtime-2.1-mini", Mode.SPEECH),
        ("prod", "gpt-live-transcribe", Mode.TRANSCRIPTION),
        ("gpt-realtime-whisper", None, Mode.TRANSCRIPTION),
    ],
)
def test_what_speaks_realtime(model: str, base_model: str | None, mode: Mode) -> None:
    bound = adapter(model, base_model=base_model)
    assert bound.over_socket
    assert bound.capabilities.modes == {mode}
    assert bound.capabilities.formats == (REALTIME.formats if mode == Mode.SPEECH else LIVE.formats)


def test_reasoning_goes_by_the_base_model() -> None:
    def session(**own: Any) -> dict[str, Any]:
        return json.loads(said(**own).extensions["conversation"].setting)["session"]

    assert "reasoning" in session(model="prod", base_model="gpt-realtime-2.1")
    assert "reasoning" not in session(model="my-realtime")


def test_live_transcription_names_the_deployment() -> None:
    request = heard("prod", base_model="gpt-live-transcribe")
    assert str(request.url) == "wss://my-resource.openai.azure.com/openai/v1/realtime?intent=transcription"
    [update] = request.extensions["conversation"].start(resumed=False)
    assert json.loads(update)["session"]["audio"]["input"]["transcription"]["model"] == "prod"


# -- through the proxy -------------------------------------------------------------------------------------------------


def test_realtime_behind_azure(serve: Callable[..., Server]) -> None:
    with running() as vendor:
        base = vendor.url.removesuffix("/v1")
        entry = {"model": "azure/my-realtime", "api_base": base, "api_key": KEY}
        server = serve(
            {
                "model_list": [{"model_name": "tts", "litellm_params": entry}],
                "general_settings": {"master_key": MASTER_KEY},
            }
        )
        reply = httpx.post(
            f"{server.url}/v1/audio/speech",
            headers={"authorization": f"Bearer {MASTER_KEY}"},
            json={"model": "tts", "input": "Hello to all of you.", "voice": "onyx", "response_format": "wav"},
            timeout=20,
        )
        assert reply.status_code == 200, reply.text
        assert reply.content[44:] == vendor.sound(Script())
        [session] = vendor.sessions
        assert session.path == "/openai/v1/realtime?model=my-realtime"
        assert session.headers["api-key"] == KEY
        assert marked(vendor.requested[0]) == "Hello to all of you."
        assert vendor.violations == []


def test_an_address_is_needed(serve: Callable[..., Server]) -> None:
    entry = {"model": "azure/tts", "api_key": KEY}
    config = {
        "model_list": [{"model_name": "tts", "litellm_params": entry}],
        "general_settings": {"master_key": MASTER_KEY},
    }
    with pytest.raises(pytest.fail.Exception, match="AZURE_API_BASE"):
        serve(config)
    assert serve(config, env={"AZURE_API_BASE": RESOURCE}).url
