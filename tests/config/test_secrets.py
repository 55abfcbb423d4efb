"""No secret in a repr, a dump, a message or a traceback; and no text that does anything but load or be refused."""

from __future__ import annotations

import traceback
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.config import Config, Deployment, describe
from proxy.config.problems import safe_quote
from proxy.errors import ConfigError
from tests.config.conftest import Load, load_file

CANARY = "canary-Zq8"


def test_a_loaded_configuration_shows_no_secret(load_text: Load) -> None:
    config = load_text(
        f"""
        environment_variables: {{ONE: {CANARY}-env, LEMONFOX_API_KEY: {CANARY}-vendor}}
        model_list:
          - model_name: tts
            litellm_params:
              model: tts-1
              api_key: {CANARY}-key
              azure_ad_token: {CANARY}-token
              headers: {{Authorization: Bearer {CANARY}-header, X-Env: os.environ/ONE}}
          - {{model_name: whisper, litellm_params: {{model: whisper-1, api_key: os.environ/ONE}}}}
        general_settings: {{master_key: {CANARY}, metrics_token: {CANARY}-metrics, database_url: 'postgresql://u:{CANARY}@h/d'}}
        """,
        {"OPENAI_API_KEY": f"{CANARY}-process"},
    )
    assert config.environment["ONE"] == f"{CANARY}-env"
    assert config.environment["OPENAI_API_KEY"] == f"{CANARY}-process"
    for part in (config, config.general, config.router, config.environment, *config.deployments, config.groups):
        assert CANARY not in f"{part} {part!r}"
    for part in (config, config.general, *config.deployments):
        assert CANARY not in str(part.model_dump())
        assert CANARY not in part.model_dump_json()
        assert CANARY not in str(part.model_dump(mode="json"))
    assert CANARY not in " ".join(config.warnings) + repr(describe(config, lambda deployment: True))


def test_pydantics_own_errors_do_not_show_the_input() -> None:
    with pytest.raises(ValidationError) as raised:
        Deployment(id="a", group="a", vendor="a", model="a", api_key=f"{CANARY}\n", timeout=CANARY)  # type: ignore[arg-type]
    assert CANARY not in str(raised.value)


@pytest.mark.parametrize(
    "line",
    [
        "api_key: [C]",
        "api_key: {C: 1}",
        "api_key: *C",
        "api_key: !C",
        "api_key: !C x",
        "api_key: &C x\n      a: &C y",
        'api_key: "C\\q"',
        'api_key: "C\\n1"',
        "api_key: C: d",
        "api_key: Cé",
        "api_key: '",
        "api_key: C\n      api_key: C",
        "api_key: os.environ/sk-C",
        "headers: C",
        "headers: [C]",
        "headers: {'Authorization- Bearer C': }",
        "headers: {A: [C]}",
        'headers: {A: "C\\n"}',
        "headers: {Host: C}",
        "api_base: 'http://user:C@host'",
        "api_base: 'http://host?key=C'",
        "api_base: C",
        "timeout: C",
        "rpm: C",
        "drop_unknown: C",
        "input_cost_per_second: C",
        "mock_response: C",
        "sk-C: 1",
        "Bearer C: 1",
    ],
)
def test_no_error_shows_a_secret(load_text: Load, line: str) -> None:
    entry = f"- model_name: tts\n    litellm_params:\n      model: tts-1\n      {line.replace('C', CANARY)}\n"
    text = f"model_list:\n  {entry}"
    with pytest.raises(ConfigError) as raised:
        load_text(text)
    shown_text = "".join(traceback.format_exception(raised.value)) + str(raised.value.body()) + repr(raised.value)
    assert CANARY not in shown_text


@pytest.mark.parametrize(
    ("text", "is_shown"),
    [
        ("api_kye", True),
        ("disable_retry_on_max_parallel_request_limit_error", True),
        ("audio_speach", True),
        ("sk-abc", False),
        ("Bearer abc", False),
        ("AIzaSyA1234567890", False),
        ("0f8c7d6e5b4a39281706f5e4d3c2b1a0", False),
    ],
)
def test_what_messages_quote(text: str, is_shown: bool) -> None:
    assert (text in safe_quote(text)) is is_shown


def test_quoted_text_is_one_printable_line() -> None:
    assert safe_quote("a\nb\x1b[31m") == "'a?b?[31m'"
    assert len(safe_quote("x y" * 1000)) < 100


# -- any text at all ---------------------------------------------------------------------------------------------------

_WORDS = """
    model_list model_name litellm_params params model_info general_settings router_settings litellm_settings include
    environment_variables api_key api_base headers mode id voices timeout fallbacks retry_policy model_group_alias
    master_key cors_origins log_format callbacks guardrails tts-1 openai/tts-1 whisper-1 azure/whisper audio_speech
    chat os.environ/SECRET os.environ/ os.environ/NONE * << true 1 -1 1e999 0x1F 2024-01-01 ~ .nan http://a weight
    hedge_after input_cost_per_second blocked custom_llm_provider access_windows costs where vendor group
    guardrail_name guardrail mode pii webhook url entities words default_on pre_call action class params thresholds
"""
_words = st.sampled_from(_WORDS.split())
_scalars = _words | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates()
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_words | st.text(max_size=3), inner, max_size=5),
    max_leaves=20,
)
_settings = st.dictionaries(_words, _values, max_size=6)
_entries = st.fixed_dictionaries(
    {
        "model_name": _scalars,
        "litellm_params": st.builds(lambda model, rest: {**rest, "model": model}, _words, _settings),
    },
    optional={"model_info": _settings, "x": _values},
)
_entries_of_guardrails = st.fixed_dictionaries(
    {
        "guardrail_name": _scalars,
        "litellm_params": st.builds(
            lambda kind, rest: {"mode": "pre_call", **rest, "guardrail": kind},
            st.sampled_from(["pii", "webhook", "blocked_words", "custom", "x"]),
            _settings,
        ),
    },
    optional={"default_on": _scalars, "x": _values},
)
_configurations = st.fixed_dictionaries(
    {},
    optional={
        "model_list": st.lists(_entries | _values, max_size=3),
        "general_settings": _settings | _values,
        "router_settings": _settings | _values,
        "litellm_settings": _settings | _values,
        "environment_variables": _settings | _values,
        "include": _values,
        "guardrails": st.lists(_entries_of_guardrails | _values, max_size=3) | _values,
    },
)
_texts = (
    st.text(max_size=200)
    | st.text("ab:-[]{}&*!|>'\"%#,? \n\t<", max_size=60)
    | (_configurations | _values).map(lambda value: yaml.safe_dump(value, allow_unicode=True))
)


@settings(max_examples=250, deadline=None)
@example("model_list: [{model_name: a, litellm_params: {model: tts-1, headers: {<<: {a: b}}}}]")
@example("? {a: b}\n: c")
@example("~: 1\n[a]: 2")
@example("model_list: !!binary aGk=")
@given(_texts)
def test_any_text_loads_or_is_refused(text: str) -> None:
    outcome = _outcome(text)
    assert CANARY not in str(outcome)
    if isinstance(outcome, Config):
        assert CANARY not in outcome.model_dump_json()
    else:
        assert outcome


def _outcome(text: str) -> Config | list[str]:
    environ = {"SECRET": CANARY, "PROXY_MASTER_KEY": CANARY}
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            return load_file(path, environ)
        except ConfigError as error:
            return error.problems


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(["api_key", "headers", "master_key", "metrics_token"]), st.text(max_size=12), st.text(max_size=12)
)
def test_no_secret_in_a_message_whatever_stands_around_it(key: str, before: str, after: str) -> None:
    section = "general_settings:" if key in ("master_key", "metrics_token") else "- model_name: tts\n  litellm_params:"
    text = f"{section}\n    {key}: {before}{CANARY}{after}\n    timeout: soon\n"
    if section.startswith("-"):
        text = f"model_list:\n{text}    model: tts-1\n"
    assume("os.environ/" not in before)  # a variable is named where it is not set
    outcome = _outcome(text)
    assert isinstance(outcome, list)
    assert CANARY not in str(outcome)
