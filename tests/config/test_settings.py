"""general_settings, router_settings, litellm_settings, variables and the master key."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from pydantic import SecretStr

from proxy.config import Config, GeneralSettings, RouterSettings
from proxy.config.models import is_weak
from tests.config.conftest import KEY, Load, Problems

ENTRY = "model_list: [{model_name: tts, litellm_params: {model: tts-1}}]\n"


@pytest.fixture
def general(load_text: Load) -> Callable[..., Config]:
    def general_(settings: str, environ: dict[str, str] | None = None) -> Config:
        return load_text(f"{ENTRY}general_settings: {{{settings}}}\n", environ)

    return general_


def test_the_master_key_is_the_files_then_ours_then_litellms(general: Callable[..., Config]) -> None:
    both = {"PROXY_MASTER_KEY": "from-proxy", "LITELLM_MASTER_KEY": "from-litellm"}
    keys = [
        general("master_key: from-file", both),
        general("", both),
        general("master_key: ''", both),
        general("master_key: ", {**both, "PROXY_MASTER_KEY": ""}),
    ]
    assert [config.general.master_key for config in keys] == [
        SecretStr("from-file"),
        SecretStr("from-proxy"),
        SecretStr("from-proxy"),
        SecretStr("from-litellm"),
    ]


def test_without_a_master_key_it_does_not_start(problems_of: Problems) -> None:
    (problem,) = problems_of(ENTRY, {})
    assert problem.startswith("config.yaml: no master key: set general_settings.master_key or $PROXY_MASTER_KEY or ")
    (problem,) = problems_of(ENTRY + "general_settings: {allow_unauthenticated: false}", {})
    assert problem.startswith("config.yaml:2: no master key")


def test_a_master_key_from_an_unset_variable_is_never_no_key(problems_of: Problems) -> None:
    text = ENTRY + "general_settings:\n  allow_unauthenticated: true\n  master_key: os.environ/MASTER\n"
    assert problems_of(text, {"PROXY_MASTER_KEY": KEY}) == ["config.yaml:4: variable 'MASTER' is not set"]
    assert problems_of(text, {"MASTER": " "}) == ["config.yaml:4: variable 'MASTER' is not set"]


def test_open_to_everybody_only_when_asked_for(general: Callable[..., Config]) -> None:
    config = general("allow_unauthenticated: true", {})
    assert config.general.master_key is None
    assert config.warnings == ("config.yaml: allow_unauthenticated: anyone who can reach the port can use the proxy",)
    config = general("allow_unauthenticated: true")
    assert config.general.master_key == SecretStr(KEY)
    assert "no effect" in config.warnings[0]


@pytest.mark.parametrize(
    "key",
    ["sk-1234", "short", "a" * 40, "sk-1234567890abcdef1234567890", "your-master-key-goes-here", "sk-" + "ab" * 20],
)
def test_weak_keys_start_with_a_warning(general: Callable[..., Config], key: str) -> None:
    config = general(f"master_key: {key}")
    assert is_weak(key)
    weak = "config.yaml:2: the master key is weak: use 32 random characters or more"
    assert config.warnings == (weak,)
    allowed = general(f"master_key: {key}, allow_weak_master_key: true")
    assert allowed.warnings[0] == weak
    assert "allow_weak_master_key: whoever guesses the master key can manage keys" in allowed.warnings[1]


def test_weak_keys_are_allowed_in_vain(general: Callable[..., Config]) -> None:
    assert "no effect" in general("allow_weak_master_key: true").warnings[0]


def test_a_previous_master_key(general: Callable[..., Config], problems_of: Problems) -> None:
    old = "sk-2b7e151628aed2a6abf7158809cf4f3c"
    config = general(f"previous_master_key: {old}")
    assert config.general.previous_master_key == SecretStr(old)
    assert config.warnings == ()
    assert general("", {"PROXY_MASTER_KEY": KEY, "PROXY_PREVIOUS_MASTER_KEY": old}).general.previous_master_key
    assert general("previous_master_key: ''").general.previous_master_key is None
    (weak,) = general("previous_master_key: sk-1234").warnings
    assert weak == "config.yaml:2: the previous master key is weak: use 32 random characters or more"
    for text in (old, "config.yaml"):
        assert (text in repr(config)) == (text != old)
    alone = "general_settings: {allow_unauthenticated: true, previous_master_key: sk-2b7e151628aed2a6}"
    problems = problems_of(f"model_list: [{{model_name: a, litellm_params: {{model: tts-1}}}}]\n{alone}", environ={})
    assert problems == ["config.yaml:2: previous_master_key has no effect without a master_key"]


@pytest.mark.parametrize("key", [KEY, "sk-proj-0qWe7rTy2uIo9pAs", "7b9e0c4fa1d24c6e8f53a0b1c2d3e4f5"])
def test_good_keys(key: str) -> None:
    assert not is_weak(key)


def test_defaults_of_the_server(general: Callable[..., Config]) -> None:
    settings = general("").general.model_dump(exclude={"master_key"})
    assert settings == GeneralSettings().model_dump(exclude={"master_key"})
    assert settings == {
        "previous_master_key": None,
        "allow_weak_master_key": False,
        "allow_unauthenticated": False,
        "metrics_token": None,
        "cors_origins": (),
        "docs_enabled": True,
        "public_catalog": False,
        "translation_model": None,
        "max_request_size_mb": 512,
        "spool_limit_mb": 4096,
        "spool_dir": None,
        "database_url": None,
        "ledger_dir": None,
        "ledger_durability": "process",
        "ledger_spool_mb": 256,
        "on_ledger_full": "deny",
        "ledger_retention_days": None,
        "client_stall_timeout": 30,
        "drain_delay": 0,
        "shutdown_timeout": 25,
        "max_concurrent_streams": 1000,
        "health_check_interval": None,
        "expose_deployment": True,
        "log_format": "auto",
        "log_level": "info",
    }


def test_settings_of_the_server(general: Callable[..., Config]) -> None:
    settings = general(
        "metrics_token: os.environ/M, cors_origins: ['https://a.example', os.environ/ORIGIN], docs_enabled: off, "
        "max_request_size_mb: os.environ/SIZE, log_format: json",
        {"PROXY_MASTER_KEY": KEY, "M": "m", "ORIGIN": "https://b.example", "SIZE": "0.5"},
    ).general
    assert settings.metrics_token == SecretStr("m")
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert (settings.docs_enabled, settings.max_request_size_mb, settings.log_format) == (False, 0.5, "json")


def test_every_setting_is_described() -> None:
    for model in (GeneralSettings, RouterSettings):
        assert all(field.description for field in model.model_fields.values())


def test_what_is_wrong_with_settings_of_the_server(problems_of: Problems) -> None:
    assert problems_of(
        ENTRY
        + """
general_settings:
  mastr_key: sk-canary
  log_format: jsonn
  docs_enabled: [true]
  max_request_size_mb: -1
  cors_origins: "*"
  drain_delay: -1
  master_key: "two\\nlines-canary"
x-anchors: {}
genral_settings: {}
router_settings: []
"""
    ) == [
        "config.yaml:4: unknown key 'mastr_key' in general_settings; did you mean 'master_key'?",
        "config.yaml:5: 'log_format' in general_settings must be 'auto', 'json' or 'console', not 'jsonn'; "
        "did you mean 'json'?",
        "config.yaml:6: 'docs_enabled' in general_settings must be true or false",
        "config.yaml:7: 'max_request_size_mb' in general_settings must be greater than 0",
        "config.yaml:8: 'cors_origins' in general_settings must be a list",
        "config.yaml:9: 'drain_delay' in general_settings must be at least 0",
        "config.yaml:10: 'master_key' in general_settings contains characters that an HTTP header cannot carry "
        "(use printable ASCII)",
        "config.yaml:12: unknown key 'genral_settings' in the configuration; did you mean 'general_settings'?",
        "config.yaml:13: router_settings must be a mapping (key: value)",
    ]


# -- router_settings ---------------------------------------------------------------------------------------------------


def test_router_settings(load_text: Load) -> None:
    config = load_text(
        ENTRY
        + """
litellm_settings: {num_retries: 9, allowed_fails: 7, request_timeout: 50, default_fallbacks: [tts]}
router_settings:
  routing_strategy: usage-based-routing-v2
  num_retries: 1
  retry_after: 2
  retry_policy: {TimeoutErrorRetries: 3}
  fallbacks: [{tts: [backup, other]}, {other: [backup]}]
  max_fallbacks: 2
  cooldown_time: 30
  model_group_alias: {voice: tts, hidden: {model: tts, hidden: true}}
  hedge_after: 0.8
"""
    )
    router = config.router
    assert router.routing_strategy == "usage-based-routing"
    assert (router.num_retries, router.allowed_fails, router.timeout) == (1, 7, 50)
    assert (router.retry_after, router.max_fallbacks, router.cooldown_time) == (2, 2, 30)
    assert (router.retry_policy.TimeoutErrorRetries, router.retry_policy.DefaultRetries) == (3, None)
    assert router.fallbacks == ({"tts": ("backup", "other")}, {"other": ("backup",)})
    assert router.default_fallbacks == ("tts",)
    assert router.model_group_alias == {"voice": "tts", "hidden": "tts"}
    assert router.hedge_after == 0.8
    assert config.warnings == ()
    assert config.locations["router_settings.fallbacks"] == "config.yaml:9"
    assert config.locations["litellm_settings.request_timeout"] == "config.yaml:3"


def test_defaults_of_the_router(load_text: Load) -> None:
    router = load_text(ENTRY).router
    assert router == RouterSettings()
    assert (router.routing_strategy, router.num_retries, router.retry_after) == ("simple-shuffle", 2, 0)
    assert (router.max_fallbacks, router.allowed_fails, router.cooldown_time) == (5, 3, 5)
    assert (router.hedge_after, router.timeout) == (None, None)


def test_what_is_wrong_with_settings_of_the_router(problems_of: Problems) -> None:
    assert problems_of(
        ENTRY
        + """
router_settings:
  routing_strategy: least_busy
  hedge_after: p99
  fallbacks: {tts: [a]}
  default_fallbacks: a
  retry_policy:
    TimeoutErorRetries: 3
  num_retrys: 3
  model_group_alias:
    a: [tts]
litellm_settings: {num_retries: many}
"""
    ) == [
        "config.yaml:4: 'routing_strategy' in router_settings must be 'simple-shuffle', 'least-busy', "
        "'latency-based-routing', 'usage-based-routing' or 'cost-based-routing', not 'least_busy'; "
        "did you mean 'least-busy'?",
        "config.yaml:5: 'hedge_after' in router_settings must be a number of seconds, or p95",
        "config.yaml:6: 'fallbacks' in router_settings must be a list",
        "config.yaml:7: 'default_fallbacks' in router_settings must be a list",
        "config.yaml:9: unknown key 'TimeoutErorRetries' in router_settings.retry_policy; "
        "did you mean 'TimeoutErrorRetries'?",
        "config.yaml:10: unknown key 'num_retrys' in router_settings; did you mean 'num_retries'?",
        "config.yaml:12: an entry of 'model_group_alias' in router_settings must be text",
        "config.yaml:13: 'num_retries' in litellm_settings must be a whole number",
    ]


# -- variables ---------------------------------------------------------------------------------------------------------


def test_variables_of_the_file_win_and_leave_the_process_alone(load_text: Load) -> None:
    environ = {"PROXY_MASTER_KEY": KEY, "A": "a-process", "B": "b-process"}
    before = dict(os.environ)
    config = load_text(
        """
        environment_variables:
          A: a-file
          C: os.environ/B
          D: os.environ/C
          PORT: 0080
          NOTHING:
          B: os.environ/B
        model_list:
          - model_name: os.environ/D
            litellm_params: {model: tts-1, organization: os.environ/A, project: os.environ/PORT, voice: os.environ/B}
        """,
        environ,
    )
    (entry,) = config.deployments
    assert (entry.group, entry.organization, entry.project, entry.voice) == ("b-process", "a-file", "0080", "b-process")
    assert config.environment["A"] == "a-file"
    assert "NOTHING" not in config.environment
    assert environ == {"PROXY_MASTER_KEY": KEY, "A": "a-process", "B": "b-process"}
    assert dict(os.environ) == before


def test_unset_variables(problems_of: Problems) -> None:
    assert problems_of(
        """
        environment_variables: {FROM: os.environ/NOWHERE, LIST: [a]}
        model_list:
          - model_name: tts
            litellm_params:
              model: tts-1
              api_key: os.environ/MISSING_KEY
              headers:
                X-One: os.environ/MISSING_HEADER
              rpm: os.environ/EMPTY
              voice: os.environ/FROM
              project: os.environ/
        """,
        {"PROXY_MASTER_KEY": KEY, "EMPTY": ""},
    ) == [
        "config.yaml:2: 'LIST' in environment_variables must be text",
        "config.yaml:7: variable 'MISSING_KEY' is not set",
        "config.yaml:9: variable 'MISSING_HEADER' is not set",
        "config.yaml:10: variable 'EMPTY' is not set",
        "config.yaml:11: variable 'FROM' is not set",
        "config.yaml:12: os.environ/ must be followed by the name of a variable",
    ]


def test_an_unset_variable_that_nobody_uses_is_a_warning(load_text: Load) -> None:
    config = load_text("environment_variables: {A: os.environ/NOWHERE}\n" + ENTRY)
    assert config.warnings == ("config.yaml:1: environment_variables: variable 'NOWHERE' is not set",)
