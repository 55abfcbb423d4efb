"""What an entry of model_list becomes, and what is refused in it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr

from proxy.config import Config, Mode, describe
from proxy.errors import ConfigError
from tests.config.conftest import KEY, Load, Problems, load_file

SEED = """
model_list:
  - {model_name: tts, litellm_params: {model: openai/tts-1, api_key: os.environ/OPENAI_API_KEY}}
  - model_name: whisper
    litellm_params: {model: whisper-1, api_key: sk-*******, max_file_size_mb: 0.00001}
    model_info: {mode: audio_transcription}
"""


def test_the_seeds_entries(load_text: Load) -> None:
    config = load_text(SEED, {"PROXY_MASTER_KEY": KEY, "OPENAI_API_KEY": "sk-from-environment"})
    tts, whisper = config.deployments
    assert (tts.group, tts.vendor, tts.model, tts.mode) == ("tts", "openai", "tts-1", Mode.SPEECH)
    assert tts.api_key == SecretStr("sk-from-environment")
    assert (whisper.vendor, whisper.model, whisper.mode) == ("openai", "whisper-1", Mode.TRANSCRIPTION)
    assert whisper.api_key == SecretStr("sk-*******")
    assert whisper.max_file_size_mb == 0.00001
    assert (tts.timeout, tts.stream_timeout, tts.stall_timeout, tts.drop_unknown) == (600, None, 60, False)
    assert config.groups == {"tts": (tts,), "whisper": (whisper,)}
    assert config.warnings == ()


def test_every_field(load_text: Load) -> None:
    config = load_text(
        """
        model_list:
          - model_name: tts
            params:
              model: lemonfox/kokoro
              api_key: sk-1
              api_base: https://tts.example:8443/v1//
              api_version: 2024-02-01
              azure_ad_token: sk-2
              allow_any_voice: on
              translation_model: chat
              organization: 0012
              project: proj
              headers: {X-One: two three}
              timeout: "30"
              stream_timeout: 2.5
              stall_timeout: 1_0
              max_retries: 0
              weight: 2
              order: 1
              rpm: 60
              max_parallel_requests: 4
              voice: no
              voices: {alloy: af_sky}
              split_long_input: no
              max_file_size_mb: 1e-5
              exact_usage: no
              drop_unknown: yes
              cache_read_input_audio_token_cost: 2e-6
              input_cost_per_second: 1e-4
            model_info: {id: 7, mode: audio_translation, base_model: tts-1, input_cost_per_character: "0.000015"}
          - {model_name: chat, params: {model: openai/gpt-5-mini}, model_info: {mode: chat}}
        """
    )
    (entry,) = config.deployments
    assert entry.model_dump(exclude={"api_key", "azure_ad_token", "headers"}) == {
        "id": "7",
        "group": "tts",
        "vendor": "lemonfox",
        "model": "kokoro",
        "mode": Mode.TRANSLATION,
        "base_model": "tts-1",
        "api_base": "https://tts.example:8443/v1",
        "api_version": "2024-02-01",
        "organization": "0012",
        "project": "proj",
        "timeout": 30,
        "stream_timeout": 2.5,
        "stall_timeout": 10,
        "max_retries": 0,
        "weight": 2,
        "order": 1,
        "rpm": 60,
        "max_parallel_requests": 4,
        "voice": "no",
        "voices": {"alloy": "af_sky"},
        "allow_any_voice": True,
        "translation_model": "chat",
        "split_long_input": False,
        "max_file_size_mb": 0.00001,
        "exact_usage": False,
        "drop_unknown": True,
        "costs": {
            "input_cost_per_second": Decimal("1e-4"),
            "input_cost_per_character": Decimal("0.000015"),
            "cache_read_input_audio_token_cost": Decimal("2e-6"),
        },
        "where": "config.yaml:3",
    }
    assert entry.headers["X-One"].get_secret_value() == "two three"


SERVED = "{model_name: served, params: {model: tts-1}}"


@pytest.mark.parametrize(
    ("model", "vendor", "name"),
    [
        ("tts-1", "openai", "tts-1"),
        ("openai/tts-1", "openai", "tts-1"),
        ("openai/org/tts", "openai", "org/tts"),
        ("lemonfox/tts", "lemonfox", "tts"),
        ("openai", "openai", "openai"),
    ],
)
def test_vendor_and_model(load_text: Load, model: str, vendor: str, name: str) -> None:
    config = load_text(
        f"model_list: [{{model_name: a, params: {{model: {model}}}, model_info: {{mode: audio_speech}}}}]"
    )
    assert (config.deployments[0].vendor, config.deployments[0].model) == (vendor, name)


@pytest.mark.parametrize("info", ["{}", "{mode: audio_speech}"])
@pytest.mark.parametrize(
    ("params", "vendor", "near"),
    [
        ("model: opneai/whisper-1", "opneai", "openai"),
        ("model: opnai/x", "opnai", "openai"),
        ("model: openaii/x", "openaii", "openai"),
        ("model: lemonfix/x", "lemonfix", "lemonfox"),
        ("model: Lemonfx/x", "Lemonfx", "lemonfox"),
        ("model: OpenAI/whisper-1", "OpenAI", "openai"),
        ("model: OpenAI/gpt-4o", "OpenAI", "openai"),
        ("model: LEMONFOX/x", "LEMONFOX", "lemonfox"),
        ("model: lemon/whisper-1", "lemon", "lemonfox"),
        ("model: whisper-1, custom_llm_provider: opneai", "opneai", "openai"),
        ("model: opneai/whisper-1, api_base: 'http://gpu:8000/v1'", "opneai", "openai"),
        ("model: lemonfo/x, base_url: 'http://gpu:8000/v1'", "lemonfo", "lemonfox"),
    ],
)
def test_a_misspelt_vendor_is_an_error(problems_of: Problems, params: str, vendor: str, near: str, info: str) -> None:
    (problem,) = problems_of(
        f"model_list:\n- {SERVED}\n- model_name: a\n  params: {{{params}}}\n  model_info: {info}\n"
    )
    assert problem.startswith(f"config.yaml:4: unknown vendor '{vendor}'; did you mean '{near}'? ")
    assert ("openai/" in problem) is ("gpu" in params)


@pytest.mark.parametrize("model", ["openai:x", "OpenAI:x", "openai\\x", "openai:a/b"])
def test_a_wrong_separator_after_a_vendor_is_an_error(problems_of: Problems, model: str) -> None:
    (problem,) = problems_of(f"model_list:\n- {SERVED}\n- model_name: a\n  params: {{model: '{model}'}}\n")
    right = f"openai/{model[7:]}"
    assert problem == f"config.yaml:4: the vendor and the model are separated by a slash: write '{right}'"


@pytest.mark.parametrize("model", ["openai//tts-1", "/tts-1", "openai/ tts-1", "openai/", "openai/tts-1/"])
def test_a_model_name_with_a_stray_slash_or_blank_is_an_error(problems_of: Problems, model: str) -> None:
    (problem,) = problems_of(f"model_list:\n- {SERVED}\n- model_name: a\n  params: {{model: '{model}'}}\n")
    assert problem == "config.yaml:4: 'model' in params must name a model"


def test_a_vendor_like_no_other_is_an_error_that_lists_them_if_the_model_is_audio(problems_of: Problems) -> None:
    for params, info in (("model: acme/whisper-1", "{}"), ("model: acme/x", "{mode: audio_speech}")):
        (problem,) = problems_of(f"model_list: [{{model_name: a, params: {{{params}}}, model_info: {info}}}]")
        assert "unknown vendor 'acme'; the vendors are openai, lemonfox. " in problem
        assert "api_base" in problem


@pytest.mark.parametrize(
    "model",
    [
        "hexgrad/Kokoro-82M", "Systran/faster-whisper-small", "OpenAI/whisper-1", "openaudio/tts-1", "LemonFox/tts",
        "openai-community/whisper", "lemonfoxes/tts", "a/b/whisper", "cstr/whisper", "openai_/opneai/whisper-1",
        "kokoro:latest", "openai:whisper", "openai_//models/whisper",
    ],
)  # fmt: skip
def test_a_server_of_ones_own_has_models_with_any_name(load_text: Load, model: str) -> None:
    """Also with a vendor's name in front, however it is spelt, if the vendor openai is named first."""
    model = model.replace("openai_/", "openai/")
    params = f"{{model: {model}, api_base: 'http://gpu:8000/v1'}}"
    (deployment,) = load_text(f"model_list: [{{model_name: a, params: {params}}}]").deployments
    assert (deployment.vendor, deployment.model) == ("openai", model.removeprefix("openai/"))


def test_chat_models_of_vendors_that_nobody_knows_are_skipped(load_text: Load) -> None:
    chat = "{model_name: c, params: {model: my-llm/large}}"
    config = load_text(f"model_list: [{SERVED}, {chat}]")
    assert config.skipped == ("c",)


def test_a_misspelt_vendor_in_the_base_model_is_an_error(one_problems: Problems, one: Callable[..., Config]) -> None:
    (problem,) = one_problems("api_base: 'http://gpu:8000/v1'", "{base_model: opneai/whisper-1}")
    assert problem == "config.yaml:4: unknown vendor 'opneai' in 'base_model'; did you mean 'openai'?"
    for name in ("openai/whisper-1", "bedrock/x", "my/model"):
        assert one("", f"{{base_model: {name}}}").deployments[0].base_model == name


def test_a_provider_of_litellms_that_speaks_openais_api_is_openai(one: Callable[..., Config], load_text: Load) -> None:
    entry = "{model_name: a, litellm_params: {model: custom_openai/whisper, api_base: 'http://gpu:8000/v1'}}"
    (deployment,) = load_text(f"model_list: [{entry}]").deployments
    assert (deployment.vendor, deployment.model) == ("openai", "whisper")
    (deployment,) = one("custom_llm_provider: lemonfox").deployments
    assert (deployment.vendor, deployment.model) == ("lemonfox", "tts-1")


def test_a_vendor_that_we_lack_is_never_served_by_openai(load_text: Load) -> None:
    config = load_text(
        """
        model_list:
          - {model_name: tts, litellm_params: {model: tts-1}}
          - model_name: scribe
            litellm_params: {model: elevenlabs/scribe_v1, api_key: os.environ/NOT_SET, unheard_of: 1}
            model_info: {mode: audio_transcription}
        """
    )
    assert [deployment.group for deployment in config.deployments] == ["tts"]
    assert config.skipped == ("scribe",)
    assert config.warnings == (
        "config.yaml:5: unknown vendor 'elevenlabs', the entry is not served; "
        "if its server speaks OpenAI's API, use openai/scribe_v1 and api_base",
    )


SEED_ENTRY = "model_list: [{model_name: tts, litellm_params: {model: tts-1}}]\n"
FOREIGN = "{model_name: other, litellm_params: {PARAMS}, model_info: {mode: audio_speech}}"


@pytest.mark.parametrize(
    ("params", "vendor", "name"),
    [
        ("model: vertex_ai/", "vertex_ai", "NAME"),
        ("model: vertex_ai", "vertex_ai", "NAME"),
        ("model: ' vertex_ai/chirp'", "vertex_ai", "chirp"),
        ("model: 'vertex_ai/ '", "vertex_ai", "NAME"),
        ("model: vertex_ai/, custom_llm_provider: ''", "vertex_ai", "NAME"),
        ("model: vertex_ai/, custom_llm_provider: vertex_ai", "vertex_ai", "NAME"),
        ("model: openai, custom_llm_provider: vertex_ai", "vertex_ai", "openai"),
        ("model: lm_studio/", "lm_studio", "NAME"),
    ],
)
def test_another_vendors_entry_is_never_served_by_openai(load_text: Load, params: str, vendor: str, name: str) -> None:
    served = "{model_name: tts, litellm_params: {model: tts-1}}"
    config = load_text(f"model_list: [{served}, {FOREIGN.replace('PARAMS', params)}]")
    assert [deployment.group for deployment in config.deployments] == ["tts"]
    assert config.skipped == ("other",)
    assert config.warnings == (
        f"config.yaml:1: unknown vendor '{vendor}', the entry is not served; "
        f"if its server speaks OpenAI's API, use openai/{name} and api_base",
    )


@pytest.mark.parametrize(
    "params",
    [
        "model: openai/",
        "model: lemonfox/",
        "model: lemonfox",
        "model: unheard-of/",
        "model: 'openai/ '",
        "model: /",
        "model: openai/vertex_ai/",
        "model: lemonfox/, custom_llm_provider: lemonfox",
        "model: custom_openai/, api_base: 'http://gpu:8000/v1'",
    ],
)
def test_a_prefix_without_a_name(problems_of: Problems, params: str) -> None:
    for info in ("{mode: audio_speech}", "{}"):
        entry = f"- model_name: a\n  litellm_params:\n    {{{params}}}\n  model_info: {info}\n"
        assert problems_of(f"model_list:\n{entry}") == ["config.yaml:4: 'model' in litellm_params must name a model"]


def ids(config: Config) -> list[str]:
    return [deployment.id for deployment in config.deployments]


def test_ids_are_readable_stable_and_free_of_the_key(load_text: Load) -> None:
    entries = """
        model_list:
          - {model_name: tts, litellm_params: {model: tts-1, api_key: KEY}}
          - {model_name: tts, litellm_params: {model: openai/tts-1, api_key: sk-2}}
          - {model_name: tts, litellm_params: {model: tts-1, api_base: 'http://a'}}
          - {model_name: other, litellm_params: {model: tts-1}}
          - {model_name: whisper, litellm_params: {model: openai/Systran/whisper:large, api_base: 'http://a'}}
    """
    one, two = load_text(entries.replace("KEY", "sk-1")), load_text(entries.replace("KEY", "sk-3"))
    assert ids(one) == [
        "tts/openai/tts-1",
        "tts/openai/tts-1#2",
        "tts/openai/tts-1#3",
        "other/openai/tts-1",
        "whisper/openai/Systran/whisper:large",
    ]
    assert ids(two) == ids(one)
    assert len(one.groups["tts"]) == 3


def test_setting_an_id_renames_no_other_entry(load_text: Load) -> None:
    entry = "- {model_name: tts, litellm_params: {model: tts-1}}\n"
    named = entry.replace("}}", "}, model_info: {id: tts/openai/tts-1}}")
    assert ids(load_text("model_list:\n" + named + entry)) == ["tts/openai/tts-1", "tts/openai/tts-1#2"]
    own = named.replace("tts/openai/tts-1", "main")
    assert ids(load_text("model_list:\n" + own + entry + entry)) == [
        "main", "tts/openai/tts-1#2", "tts/openai/tts-1#3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("group", "wanted"),
    [
        ("naïve voice", "na%C3%AFve%20voice/openai/tts-1"),
        ("语音", "%E8%AF%AD%E9%9F%B3/openai/tts-1"),
        ('a"b\\c#2', "a%22b%5Cc%232/openai/tts-1"),
        ("100%", "100%25/openai/tts-1"),
        ("a,b;c", "a,b%3Bc/openai/tts-1"),
    ],
)
def test_ids_fit_into_a_header_and_a_label(load_text: Load, group: str, wanted: str) -> None:
    entry = {"model_name": group, "litellm_params": {"model": "tts-1"}}
    assert ids(load_text(yaml.safe_dump({"model_list": [entry]}))) == [wanted]


def test_ids_of_long_names_are_cut_and_stay_different(load_text: Load) -> None:
    names = ["语" * 400 + end for end in ("a", "b", "b")]
    entries = [{"model_name": name, "litellm_params": {"model": "tts-1"}} for name in names]
    found = ids(load_text(yaml.safe_dump({"model_list": entries})))
    assert len(set(found)) == 3
    assert all(len(name) <= 128 and name.isascii() and " " not in name for name in found)
    assert found[2] == found[1] + "#2"


def test_a_name_that_no_encoding_has_is_a_problem_and_no_crash(problems_of: Problems) -> None:
    environ = {"PROXY_MASTER_KEY": KEY, "NAME": "a\udcff"}
    (problem,) = problems_of(
        "model_list: [{model_name: os.environ/NAME, litellm_params: {model: tts-1}}]", environ=environ
    )
    assert "must be text" in problem


def test_an_id_twice(problems_of: Problems) -> None:
    assert problems_of(
        """
        model_list:
          - {model_name: tts, litellm_params: {model: tts-1}, model_info: {id: a}}
          - {model_name: tts, litellm_params: {model: tts-1}, model_info: {id: a}}
        """
    ) == ["config.yaml:4: model_info.id 'a' is given twice, first in config.yaml:3"]
    assert problems_of(
        """
        model_list:
          - &entry {model_name: tts, litellm_params: {model: tts-1}, model_info: {id: a}}
          - *entry
        """
    ) == ["config.yaml:3: model_info.id 'a' is given twice, first in config.yaml:3"]


def test_aliases_of_litellm(one: Callable[..., Config], one_problems: Problems) -> None:
    config = one("extra_headers: {A: b}, base_url: 'http://a/', stream_idle_timeout: 5")
    (entry,) = config.deployments
    assert (list(entry.headers), entry.api_base, entry.stall_timeout) == (["A"], "http://a", 5)
    assert one_problems("base_url: 'http://a', api_base: 'http://b'") == [
        "config.yaml:3: 'api_base' is the same setting as 'base_url'; use only one of them"
    ]


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ("timeout: soon", "'timeout' in litellm_params must be a number"),
        ("timeout: 0", "'timeout' in litellm_params must be greater than 0"),
        ("timeout: .inf", "'timeout' in litellm_params must be a number"),
        ("timeout: inf", "'timeout' in litellm_params must be a finite number"),
        ("timeout: [1]", "'timeout' in litellm_params must be a number"),
        ("rpm: 1.5", "'rpm' in litellm_params must be a whole number"),
        ("rpm: -1", "'rpm' in litellm_params must be at least 1"),
        (f"rpm: {'9' * 5000}", "'rpm' in litellm_params must be a whole number"),
        ("max_file_size_mb: 0", "'max_file_size_mb' in litellm_params must be greater than 0"),
        ("drop_unknown: maybe", "'drop_unknown' in litellm_params must be true or false"),
        ("voice: ''", "'voice' in litellm_params must not be empty"),
        ("voice: {a: b}", "'voice' in litellm_params must be text"),
        ("voices: alloy", "'voices' in litellm_params must be a mapping (key: value)"),
        ("voices: {alloy: [b]}", "an entry of 'voices' in litellm_params must be text"),
        ("input_cost_per_second: free", "'input_cost_per_second' in litellm_params must be a number"),
        ("api_key: [sk-canary]", "'api_key' in litellm_params must be text"),
        ("api_base: ftp://a", "'api_base' in litellm_params must begin with http:// or https://"),
        ("api_base: a.example/v1", "'api_base' in litellm_params must begin with http:// or https://"),
        ("api_base: 'http://'", "'api_base' in litellm_params must name a host, such as https://host:port/v1"),
        ("api_base: 'http://a:99999'", "'api_base' in litellm_params must be a URL such as https://host:port/v1"),
        ("api_base: 'http://[::1'", "'api_base' in litellm_params must be a URL such as https://host:port/v1"),
        ("api_base: 'http://a b'", "'api_base' in litellm_params must be a URL of printable ASCII characters"),
        (
            "api_base: 'http://a/v1/audio/speech'",
            "'api_base' in litellm_params must be the base URL (https://host/v1), without /audio/speech",
        ),
        (
            "base_url: 'http://a/audio/transcriptions//'",
            "'base_url' in litellm_params must be the base URL (https://host/v1), without /audio/transcriptions",
        ),
        (
            "api_base: 'http://a/x/audio/translations/'",
            "'api_base' in litellm_params must be the base URL (https://host/v1), without /audio/translations",
        ),
        ("api_base: 'http://a?x=1'", "'api_base' in litellm_params must not have a query or a fragment"),
        (
            "api_base: 'http://me:canary@a'",
            "'api_base' in litellm_params must not contain a user name or password; use api_key or headers",
        ),
        (
            "api_key: sk-…",
            "'api_key' in litellm_params contains characters that an HTTP header cannot carry (use printable ASCII)",
        ),
        (
            'api_key: "sk-a\\nX-Evil: 1"',
            "'api_key' in litellm_params contains characters that an HTTP header cannot carry (use printable ASCII)",
        ),
        (
            'headers: {X-A: "a\\r\\nX-B: c"}',
            "'headers' in litellm_params has a value with characters that an HTTP header cannot carry "
            "(use printable ASCII)",
        ),
        (
            "headers: {'X A': b}",
            "'headers' in litellm_params has an invalid header name (use letters, digits and dashes)",
        ),
        ("headers: {A: b, a: c}", "'headers' in litellm_params sets 'a' twice"),
        ("organisation: x", "unknown key 'organisation' in litellm_params; did you mean 'organization'?"),
        ("api_kye: sk-1", "unknown key 'api_kye' in litellm_params; did you mean 'api_key'?"),
        ("qqqq: 1", "unknown key 'qqqq' in litellm_params"),
    ],
)
def test_what_is_wrong_with_a_parameter(one_problems: Problems, params: str, problem: str) -> None:
    assert one_problems(params) == [f"config.yaml:3: {problem}"]


def test_a_host_or_folder_may_be_named_like_an_endpoint(one: Callable[..., Config]) -> None:
    for base in ("http://audio/speech", "http://a/audio/speech/v1", "http://a/myaudio/speech"):
        assert one(f"api_base: '{base}'").deployments[0].api_base == base


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "connection", "TE", "Upgrade", "Content-Type", "Accept-Encoding"],
)
def test_headers_that_belong_to_the_connection_or_the_body(one_problems: Problems, name: str) -> None:
    (problem,) = one_problems(f"headers: {{{name}: x}}")
    assert problem.endswith(f"must not set '{name.lower()}': the HTTP client sets it")


def test_surrounding_white_space_of_a_key_is_cut(one: Callable[..., Config]) -> None:
    config = one("api_key: os.environ/K", environ={"K": " sk-abc\n", "PROXY_MASTER_KEY": KEY + "\n"})
    assert config.deployments[0].api_key == SecretStr("sk-abc")
    assert config.general.master_key == SecretStr(KEY)


def test_null_is_absent(one: Callable[..., Config]) -> None:
    (entry,) = one("api_key: null, timeout: ~, voices: , unheard_of: ").deployments
    assert (entry.api_key, entry.timeout, dict(entry.voices)) == (None, 600, {})


def test_modes(one: Callable[..., Config], one_problems: Problems) -> None:
    assert one("x: ", "{mode: audio_transcription}").deployments[0].mode is Mode.TRANSCRIPTION
    assert one_problems("x: ", "{mode: audio_speach}") == [
        "config.yaml:4: 'mode' in model_info must be audio_speech, audio_transcription, audio_translation, "
        "not 'audio_speach'; did you mean 'audio_speech'?"
    ]


def test_a_mode_that_is_none_hides_no_other_mistake(one_problems: Problems) -> None:
    assert one_problems("voces: {a: b}", "{mode: tts, base_mdoel: tts-1}") == [
        "config.yaml:3: unknown key 'voces' in litellm_params; did you mean 'voices'?",
        "config.yaml:4: 'mode' in model_info must be audio_speech, audio_transcription, audio_translation, not 'tts'",
        "config.yaml:4: unknown key 'base_mdoel' in model_info; did you mean 'base_model'?",
    ]


@pytest.mark.parametrize(
    "text",
    ["$KEY", "${KEY}", "${KEY:-x}", "$(cat key)", "{{ KEY }}", "%KEY%", "env/KEY", "os.environ.KEY", "OS.ENVIRON/KEY",
     " os.environ/KEY", "os.environ['KEY']", "os.getenv(KEY)", "env:KEY"],
)  # fmt: skip
def test_a_variable_that_would_be_taken_for_the_key_itself(
    one_problems: Problems, problems_of: Problems, text: str
) -> None:
    """Else everybody who knows the name would know the master key."""
    expected = "looks like a variable; use os.environ/NAME to read an environment variable"
    assert one_problems(f'api_key: "{text}"') == [f"config.yaml:3: 'api_key' in litellm_params {expected}"]
    (problem,) = problems_of(SEED_ENTRY + f'general_settings: {{master_key: "{text}"}}\n')
    assert problem == f"config.yaml:2: 'master_key' in general_settings {expected}"


@pytest.mark.parametrize("text", ["$ecret-key", "sk-$KEY", "$KEY-1", "p%40ss%41", "environ", "a${b}"])
def test_keys_that_only_look_a_little_like_variables(one: Callable[..., Config], text: str) -> None:
    assert one(f'api_key: "{text}"').deployments[0].api_key == SecretStr(text)


def test_base_model_tells_what_a_name_of_one_s_own_does(load_text: Load) -> None:
    config = load_text(
        """
        model_list:
          - {model_name: a, litellm_params: {model: openai/prod}, model_info: {base_model: whisper-1}}
          - {model_name: b, litellm_params: {model: openai/prod}}
        """
    )
    assert [(one.group, one.mode) for one in config.deployments] == [("a", Mode.TRANSCRIPTION)]
    assert config.skipped == ("b",)


def test_model_info_may_hold_notes_but_no_slips_of_the_pen(one: Callable[..., Config], one_problems: Problems) -> None:
    assert "model_info.owner_team (line 4)" in one("x: ", "{owner_team: audio, version: 2}").warnings[0]
    assert one_problems("x: ", "{base_modle: x}") == [
        "config.yaml:4: unknown key 'base_modle' in model_info; did you mean 'base_model'?"
    ]


def test_the_shape_of_an_entry(problems_of: Problems) -> None:
    assert problems_of(
        """
        model_list:
          - tts
          - model_name: a
          - {litellm_params: {model: tts-1}}
          - {model_name: a, litellm_params: {}}
          - {model_name: a, litellm_params: {api_key: b}}
          - {model_name: a, litellm_params: tts-1}
          - {model_name: a, litellm_params: {model: tts-1}, params: {model: tts-1}}
          - {model_name: a, litellm_params: {model: tts-1}, model_inf: {mode: chat}}
          - {model_name: '', litellm_params: {model: tts-1}}
          - {model_name: a, litellm_params: {model: ''}}
          - {model_name: [a], litellm_params: {model: [b]}}
        """
    ) == [
        "config.yaml:3: an entry of model_list must be a mapping (model_name:, litellm_params:)",
        "config.yaml:4: 'litellm_params' is missing in an entry of model_list",
        "config.yaml:5: 'model_name' is missing in an entry of model_list",
        "config.yaml:6: 'model' is missing in litellm_params",
        "config.yaml:7: 'model' is missing in litellm_params",
        "config.yaml:8: 'litellm_params' must be a mapping (key: value)",
        "config.yaml:9: 'params' is the same setting as 'litellm_params'; use only one of them",
        "config.yaml:10: unknown key 'model_inf' in an entry of model_list; did you mean 'model_info'?",
        "config.yaml:11: 'model_name' in an entry of model_list must not be empty",
        "config.yaml:12: 'model' in litellm_params must name a model",
        "config.yaml:13: 'model_name' in an entry of model_list must be text",
        "config.yaml:13: 'model' in litellm_params must be text",
    ]


@pytest.mark.parametrize(
    ("entry", "problems"),
    [
        (
            """
            model_name: a
            litellm_params:
              modl: openai/tts-1
              api_key: os.environ/UNSET
              rpm: many
            """,
            [
                "4: unknown key 'modl' in litellm_params; did you mean 'model'?",
                "5: variable 'UNSET' is not set",
                "6: 'rpm' in litellm_params must be a whole number",
            ],
        ),
        (
            """
            model_name: a
            litellm_params:
              api_kye: sk-1
              project: os.environ/UNSET
            """,
            [
                "2: 'model' is missing in litellm_params",
                "4: unknown key 'api_kye' in litellm_params; did you mean 'api_key'?",
                "5: variable 'UNSET' is not set",
            ],
        ),
        (
            """
            model_nam: a
            litellm_params:
              model: tts-1
              api_key: os.environ/UNSET
            model_info: {base_modle: b}
            """,
            [
                "2: unknown key 'model_nam' in an entry of model_list; did you mean 'model_name'?",
                "5: variable 'UNSET' is not set",
                "6: unknown key 'base_modle' in model_info; did you mean 'base_model'?",
            ],
        ),
        (
            """
            litellm_parms:
              model: tts-1
              api_key: os.environ/UNSET
            """,
            [
                "2: 'model_name' is missing in an entry of model_list",
                "2: unknown key 'litellm_parms' in an entry of model_list; did you mean 'litellm_params'?",
                "4: variable 'UNSET' is not set",
            ],
        ),
        (
            """
            model_name: os.environ/UNSET
            litellm_params: {model: tts-1, timeout: soon}
            """,
            ["2: variable 'UNSET' is not set", "3: 'timeout' in litellm_params must be a number"],
        ),
        (
            """
            model_name: a
            litellm_params:
              model: os.environ/UNSET
              api_key: os.environ/UNSET
            model_info: {mode: audio_speech}
            """,
            ["4: variable 'UNSET' is not set", "5: variable 'UNSET' is not set"],
        ),
        (
            """
            model_name: a
            litellm_params:
              model: kokoro
              api_key: os.environ/UNSET
            model_info: {mode: audio_speach}
            """,
            [
                "5: variable 'UNSET' is not set",
                "6: 'mode' in model_info must be audio_speech, audio_transcription, audio_translation, "
                "not 'audio_speach'; did you mean 'audio_speech'?",
            ],
        ),
        (
            """
            model_name: a
            litellm_params: tts-1
            model_info: {mode: audio_speech, base_modle: b}
            """,
            [
                "3: 'litellm_params' must be a mapping (key: value)",
                "4: unknown key 'base_modle' in model_info; did you mean 'base_model'?",
            ],
        ),
        (
            """
            model_name: a*
            litellm_params: {model: tts-1, api_key: os.environ/UNSET}
            """,
            [
                "2: wildcards (*) are not supported; add an entry for each audio model",
                "3: variable 'UNSET' is not set",
            ],
        ),
    ],
)
def test_every_fault_of_an_entry_is_named(problems_of: Problems, entry: str, problems: list[str]) -> None:
    text = textwrap.indent(textwrap.dedent(entry).strip(), "    ")
    assert problems_of(f"model_list:\n  - {text.strip()}\n") == [f"config.yaml:{problem}" for problem in problems]


@pytest.mark.parametrize(
    ("entry", "problems"),
    [
        ("litellm_params: {model: gpt-4o, api_kye: a, api_key: os.environ/UNSET}", []),
        ("litellm_params: {model: gpt-4o}, model_id: a, model_max_budget: {a: 1}", []),
        (
            "litellm_params: {modl: gpt-4o, api_key: os.environ/UNSET}",
            ["unknown key 'modl' in litellm_params; did you mean 'model'?"],
        ),
        ("litellm_params: {api_key: os.environ/UNSET, tpm: 1}", ["'model' is missing in litellm_params"]),
        (
            "litellm_params: {model: a, api_key: os.environ/UNSET}, model_inf: {mode: chat}",
            ["unknown key 'model_inf' in an entry of model_list; did you mean 'model_info'?"],
        ),
    ],
)
def test_of_an_entry_that_is_not_audio_little_is_looked_at(load_text: Load, entry: str, problems: list[str]) -> None:
    try:
        load_text(f"model_list: [{{model_name: tts, litellm_params: {{model: tts-1}}}}, {{model_name: a, {entry}}}]")
        found = []
    except ConfigError as error:
        found = error.problems
    assert found == [f"config.yaml:1: {problem}" for problem in problems]


@pytest.mark.parametrize("text", ["model_list: []", "model_list:", "general_settings: {}"])
def test_no_entry_at_all(problems_of: Problems, text: str) -> None:
    assert [line.split(": ", 1)[1] for line in problems_of(text)] == ["model_list is missing or empty"]


def test_no_entry_that_can_be_served(problems_of: Problems) -> None:
    (problem,) = problems_of(
        """
        model_list:
          - {model_name: gpt, litellm_params: {model: gpt-4o}}
          - {model_name: az, litellm_params: {model: azure/whisper}, model_info: {mode: audio_transcription}}
        """
    )
    assert problem == (
        "config.yaml:2: no entry of model_list can be served: gpt (line 3), az (line 4); an audio entry needs "
        "model_info.mode (audio_speech, audio_transcription, audio_translation) and a supported vendor "
        "(lemonfox, openai)"
    )


def test_wildcards(problems_of: Problems, load_text: Load) -> None:
    wildcard = "{model_name: '*', litellm_params: {model: 'openai/*'}, model_info: {mode: MODE}}"
    (problem,) = problems_of(f"model_list: [{wildcard.replace('MODE', 'audio_speech')}]")
    assert problem == "config.yaml:1: wildcards (*) are not supported; add an entry for each audio model"
    served = "{model_name: tts, litellm_params: {model: tts-1}}"
    quiet = load_text(f"model_list: [{served}, {wildcard.replace('MODE', 'chat')}]")
    assert not any("wildcard" in line for line in quiet.warnings)
    unsaid = load_text(f"model_list: [{served}, {wildcard.replace('MODE', '')}]")
    assert unsaid.skipped == ("*",)
    assert any("wildcards are not supported; add an entry for each audio model" in line for line in unsaid.warnings)


def test_timeouts_of_the_router_are_the_deployments_defaults(load_text: Load) -> None:
    config = load_text(
        """
        model_list:
          - {model_name: a, litellm_params: {model: tts-1, timeout: 5}}
          - {model_name: b, litellm_params: {model: tts-1}}
        router_settings: {timeout: 20, stream_timeout: 3}
        litellm_settings: {request_timeout: 100}
        """
    )
    assert [(entry.timeout, entry.stream_timeout) for entry in config.deployments] == [(5, 3), (20, 3)]


def test_the_table_of_check(load_text: Load) -> None:
    config = load_text(
        """
        model_list:
          - {model_name: a, litellm_params: {model: tts-1, api_base: 'http://gpu:8000/v1', api_key: sk-canary}}
          - {model_name: b, litellm_params: {model: whisper-1, max_file_size_mb: 25}}
          - {model_name: a, litellm_params: {model: lemonfox/tts}}
        """,
        {"PROXY_MASTER_KEY": KEY, "OPENAI_API_KEY": "sk-canary"},
    )
    rows = describe(config, lambda deployment: deployment.vendor == "openai")
    assert [tuple(row) for row in rows] == [
        ("a", "audio_speech", "openai/tts-1", "gpu:8000", True, None),
        ("a", "audio_speech", "lemonfox/tts", "", False, None),
        ("b", "audio_transcription", "openai/whisper-1", "", True, 25.0),
    ]
    assert "canary" not in repr(rows)


def test_nothing_of_a_configuration_can_be_changed(load_text: Load, tmp_path: Path) -> None:
    config = load_text(SEED, {"PROXY_MASTER_KEY": KEY, "OPENAI_API_KEY": "sk-x"})
    for change in (
        lambda: setattr(config, "deployments", ()),
        lambda: setattr(config.deployments[0], "timeout", 1),
        lambda: config.groups.update({}),  # type: ignore[attr-defined]
        lambda: config.deployments[0].headers.update({}),  # type: ignore[attr-defined]
        lambda: config.environment.update({}),  # type: ignore[attr-defined]
    ):
        with pytest.raises((ValueError, AttributeError)):
            change()
    assert len(set(config.deployments)) == 2
    assert load_file(tmp_path / "config.yaml", {**config.environment})
