"""``translation_model``: which chat entries are read, and that no others are."""

from __future__ import annotations

import pytest

from tests.config.conftest import KEY, Load, Problems

CHAT = "{model_name: gpt, litellm_params: {model: openai/gpt-5-mini, api_key: sk-1}, model_info: {mode: chat}}"
OTHER = "{model_name: claude, litellm_params: {model: openai/y, api_key: os.environ/NOT_SET}, model_info: {mode: chat}}"
AUDIO = "{model_name: stt, litellm_params: {model: openai/whisper-1, SETTINGS}}"


def config(settings: str = "translation_model: gpt", general: str = "") -> str:
    entries = f"model_list: [{CHAT}, {OTHER}, {AUDIO.replace('SETTINGS', settings)}]"
    return f"{entries}\ngeneral_settings: {{{general}}}"


@pytest.mark.parametrize("text", [config(), config("rpm: 9", "translation_model: gpt")])
def test_only_a_chat_entry_that_is_named_is_read(load_text: Load, text: str) -> None:
    loaded = load_text(text)
    assert [one.group for one in loaded.deployments] == ["stt"]
    assert list(loaded.groups) == ["stt"]
    assert list(loaded.translators) == ["gpt"]
    (chat,) = loaded.translators["gpt"]
    assert (chat.vendor, chat.model, chat.mode, chat.where) == ("openai", "gpt-5-mini", None, "config.yaml:1")
    assert loaded.skipped == ("claude",)
    assert "claude" in loaded.warnings[0]
    assert "gpt" not in loaded.warnings[0]


def test_without_a_translation_model_chat_stays_skipped(load_text: Load) -> None:
    loaded = load_text(config("rpm: 9"))
    assert loaded.translators == {}
    assert loaded.skipped == ("gpt", "claude")


def test_entries_of_one_name_form_a_group(load_text: Load) -> None:
    loaded = load_text(f"model_list: [{CHAT}, {CHAT}, {AUDIO.replace('SETTINGS', 'translation_model: gpt')}]")
    first, second = loaded.translators["gpt"]
    assert first.id != second.id


@pytest.mark.parametrize(
    ("text", "line", "name", "hint"),
    [
        (config("translation_model: gtp"), 1, "gtp", "; did you mean 'gpt'?"),
        (config("rpm: 9", "translation_model: stt"), 2, "stt", ""),
    ],
)
def test_a_name_that_is_no_chat_group_is_a_problem(
    problems_of: Problems, text: str, line: int, name: str, hint: str
) -> None:
    what = f"translation_model names '{name}', but no entry with mode: chat has that model_name"
    assert problems_of(text) == [f"config.yaml:{line}: {what}{hint}"]


def test_what_is_wrong_with_a_chat_entry_that_is_read_is_a_problem(problems_of: Problems) -> None:
    wrong = OTHER.replace("NOT_SET", "NOT_SET, temperture: 1")
    audio = AUDIO.replace("SETTINGS", "translation_model: claude")
    assert problems_of(f"model_list:\n- {wrong}\n- {audio}", {"PROXY_MASTER_KEY": KEY}) == [
        "config.yaml:2: unknown key 'temperture' in litellm_params",
        "config.yaml:2: variable 'NOT_SET' is not set",
    ]


def test_a_vendor_that_we_lack_cannot_translate(problems_of: Problems) -> None:
    foreign = "{model_name: c, litellm_params: {model: anthropic/c}, model_info: {mode: chat}}"
    found = problems_of(f"model_list: [{foreign}, {AUDIO.replace('SETTINGS', 'translation_model: c')}]")
    assert len(found) == 1
    assert "unknown vendor in 'anthropic/c'" in found[0]
