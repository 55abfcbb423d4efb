"""A configuration written for LiteLLM starts as it is, and loses no protection in silence."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from proxy.config import GeneralSettings, Mode, RouterSettings, litellm
from proxy.config.models import Deployment
from tests.config.conftest import KEY, Load, Problems

LITELLM = """
environment_variables:
  REDIS_HOST: redis.internal
  LANGFUSE_PUBLIC_KEY: os.environ/LANGFUSE_PUBLIC_KEY

model_list:
  - model_name: gpt-4o
    litellm_params:
      model: azure/gpt-4o-eu
      api_base: https://my-endpoint-europe-berri-992.openai.azure.com/
      api_key: "os.environ/AZURE_API_KEY_EU"
      api_version: "2023-05-15"
      azure_ad_token: eyJ0eXAiOiJ
      rpm: 6
  - model_name: gpt-4o
    litellm_params:
      model: gpt-4o
      api_key: os.environ/NOT_SET_EITHER
      temperature: 0.2
      guardrails: [pii]
  - model_name: bedrock-claude-v1
    litellm_params:
      model: bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0
      aws_region_name: us-east-1
  - model_name: text-embedding-ada-002
    litellm_params: {model: azure/azure-embedding-model, api_key: os.environ/AZURE_API_KEY}
    model_info: {mode: embedding, base_model: text-embedding-ada-002}
  - model_name: "*"
    litellm_params: {model: openai/*, organization: [org-1, org-2]}
    model_info: {mode: chat}
  - model_name: whisper
    litellm_params:
      model: whisper-1
      api_key: os.environ/OPENAI_API_KEY
      drop_params: true
      tpm: 1000
      input_cost_per_second: 0.0001
    model_info:
      mode: audio_transcription
      supports_vision: false
      version: 2
  - model_name: openai-tts
    litellm_params:
      model: openai/tts-1
      api_key: os.environ/OPENAI_API_KEY

litellm_settings:
  drop_params: True
  set_verbose: False
  num_retries: 5
  request_timeout: 600
  telemetry: False
  cache: True
  cache_params: {type: redis, password: os.environ/REDIS_PASSWORD}
  callbacks: ["prometheus"]
  context_window_fallbacks: [{"gpt-4o": ["gpt-4o-mini"]}]

router_settings:
  routing_strategy: usage-based-routing-v2
  redis_host: os.environ/REDIS_HOST
  redis_password: os.environ/REDIS_PASSWORD
  enable_pre_call_checks: true
  model_group_alias: {"tts-1": "openai-tts"}

general_settings:
  master_key: sk-1234
  store_model_in_db: True
  database_url: "postgresql://user:canary@host/db"
  enable_jwt_auth: false
  alerting: ["slack"]
"""


def test_a_litellm_configuration_starts_as_it_is(load_text: Load) -> None:
    config = load_text(LITELLM, {"OPENAI_API_KEY": "sk-canary"})
    whisper, tts = config.deployments
    assert (whisper.group, whisper.mode, whisper.timeout) == ("whisper", Mode.TRANSCRIPTION, 600)
    assert (tts.group, tts.mode) == ("openai-tts", Mode.SPEECH)
    assert (config.router.num_retries, config.router.model_group_alias) == (5, {"tts-1": "openai-tts"})
    assert config.skipped == ("gpt-4o", "gpt-4o", "bedrock-claude-v1", "text-embedding-ada-002", "*")
    assert config.warnings == (
        "config.yaml:4: environment_variables: variable 'LANGFUSE_PUBLIC_KEY' is not set",
        "config.yaml:70: general_settings.alerting has no effect: no alerts are sent; watch /metrics",
        "config.yaml: skipped entries that are not audio: gpt-4o (line 7), gpt-4o (line 15), "
        "bedrock-claude-v1 (line 21), text-embedding-ada-002 (line 25), * (line 28); "
        "an audio entry needs model_info.mode (audio_speech, audio_transcription, audio_translation)",
        "config.yaml: LiteLLM settings that have no effect here: general_settings.store_model_in_db (line 67), "
        "litellm_settings.drop_params (line 48), "
        "litellm_settings.set_verbose (line 49), litellm_settings.telemetry (line 52), "
        "litellm_settings.cache (line 53), litellm_settings.cache_params (line 54), "
        "litellm_settings.context_window_fallbacks (line 56), router_settings.redis_host (line 60), "
        "router_settings.redis_password (line 61), router_settings.enable_pre_call_checks (line 62), "
        "litellm_params.drop_params (line 35), litellm_params.tpm (line 36), "
        "model_info.supports_vision (line 40), model_info.version (line 41)",
        "config.yaml:66: the master key is weak: use 32 random characters or more",
    )
    assert config.database_url == "postgresql://user:canary@host/db"
    assert "canary" not in "".join(config.warnings)


ENTRY = "model_list: [{model_name: tts, litellm_params: {model: tts-1}}]\n"
WITHOUT = "remove the key to start without this protection"


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("policies: [{a: b}]", "'policies' in the configuration: guardrail policies are not supported"),
        ("general_settings: {custom_auth: auth.check}", "'custom_auth' in general_settings: custom authentication"),
        ("general_settings: {enable_jwt_auth: true}", "'enable_jwt_auth' in general_settings: JWT"),
        ("general_settings: {allowed_ips: [10.0.0.1]}", "'allowed_ips' in general_settings: an allowlist of addresses"),
        ("general_settings: {allowed_routes: [/a]}", "'allowed_routes' in general_settings: an allowlist of routes"),
        ("general_settings: {key_management_system: x}", "'key_management_system' in general_settings: secret manag"),
        ("litellm_settings: {max_budget: 100}", "'max_budget' in litellm_settings: budgets"),
        ("litellm_settings: {guardrails: [{a: b}]}", "'guardrails' in litellm_settings: use the top-level list"),
        (
            "router_settings: {provider_budget_config: {openai: {}}}",
            "'provider_budget_config' in router_settings: budg",
        ),
        (
            "litellm_settings: {callbacks: [langsmith]}",
            "'callbacks' in litellm_settings: unknown callback 'langsmith'; ",
        ),
        ("litellm_settings: {success_callback: lago}", "'success_callback' in litellm_settings: unknown callb"),
        ("litellm_settings: {failure_callback: [prometheus, sentry]}", "'failure_callback' in litellm_settings: unkno"),
        ("litellm_settings: {service_callback: [datadog]}", "'service_callback' in litellm_settings: callback 'datad"),
        ("litellm_settings: {callbacks: [{a: b}]}", "'callbacks' in litellm_settings: a callback must be a name"),
    ],
)
def test_protection_is_not_dropped_in_silence(problems_of: Problems, section: str, line: str) -> None:
    (problem,) = problems_of(ENTRY + section)
    assert problem.startswith(f"config.yaml:2: {line}")
    assert problem.endswith(WITHOUT)


@pytest.mark.parametrize(
    "param", ["guardrails: [a]", "max_budget: 1", "mock_response: hi", "litellm_credential_name: a"]
)
def test_protection_of_an_entry(problems_of: Problems, param: str) -> None:
    (problem,) = problems_of(f"model_list: [{{model_name: tts, litellm_params: {{model: tts-1, {param}}}}}]")
    assert problem.startswith(f"config.yaml:1: '{param.split(':')[0]}' in litellm_params: ")


def test_a_blocked_deployment_is_not_opened(problems_of: Problems) -> None:
    (problem,) = problems_of(
        "model_list: [{model_name: tts, litellm_params: {model: tts-1}, model_info: {blocked: true}}]"
    )
    assert "'blocked' in model_info: blocked deployments are not supported" in problem


@pytest.mark.parametrize(
    "section",
    [
        "general_settings: {enable_jwt_auth: false, allowed_ips: [], custom_auth: '', alerting: []}",
        "litellm_settings: {callbacks: [], success_callback: [prometheus], max_budget: 0.0, ssl_verify: true}",
        "guardrails: []",
        "guardrails:",
    ],
)
def test_protection_that_is_off_is_no_matter(load_text: Load, section: str) -> None:
    assert load_text(ENTRY + section).warnings == ()


def test_loud_settings_have_a_line_of_their_own(load_text: Load) -> None:
    config = load_text(
        ENTRY + "litellm_settings: {ssl_verify: false}\ngeneral_settings: {global_max_parallel_requests: 9}"
    )
    assert config.warnings == (
        "config.yaml:3: general_settings.global_max_parallel_requests has no effect: use max_concurrent_streams",
        "config.yaml:2: litellm_settings.ssl_verify has no effect: certificates are verified against the system's "
        "authorities",
    )


def test_prices_that_nothing_is_billed_by_are_named(load_text: Load) -> None:
    text = """
        model_list:
          - model_name: tts
            litellm_params: {model: tts-1, tpm: 9}
            model_info: {input_cost_per_character: 1e-5, input_cost_per_image: 1, cache_read_input_token_cost: 2e-6}
    """
    ignored = "config.yaml: LiteLLM settings that have no effect here: litellm_params.tpm (line 4)"
    assert load_text(text).warnings == (f"{ignored}, model_info.input_cost_per_image (line 5)",)


def test_unknown_keys_of_litellms_sections_are_errors(problems_of: Problems) -> None:
    assert problems_of(ENTRY + "litellm_settings: {drop_prams: true}\nrouter_settings: {fallback: []}") == [
        "config.yaml:2: unknown key 'drop_prams' in litellm_settings; did you mean 'drop_params'?",
        "config.yaml:3: unknown key 'fallback' in router_settings; did you mean 'fallbacks'?",
    ]


def test_the_tables_do_not_contradict_each_other() -> None:
    tables: list[tuple[type[BaseModel], litellm.Section]] = [
        (Deployment, litellm.PARAMS),
        (GeneralSettings, litellm.GENERAL),
        (RouterSettings, litellm.ROUTER),
        (RouterSettings, litellm.LITELLM),
    ]
    for model, section in tables:
        keys = [set(model.model_fields) - {"id"}, *map(set, section)]
        assert sum(map(len, keys)) == len(set().union(*keys))
    assert litellm.OPENAI_COMPATIBLE <= litellm.PROVIDERS
    assert not litellm.OTHER_MODES & set(Mode)


def test_the_key_of_the_fixture_is_not_weak(load_text: Load) -> None:
    assert load_text(ENTRY, {"LITELLM_MASTER_KEY": KEY}).warnings == ()
