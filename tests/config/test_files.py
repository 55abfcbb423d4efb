"""Files, YAML and line numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.config.tree import MAX_BYTES
from proxy.errors import ConfigError
from tests.config.conftest import Load, Problems, load_file

ENTRY = "model_list: [{model_name: tts, litellm_params: {model: tts-1}}]\n"


def test_all_problems_at_once(problems_of: Problems) -> None:
    text = """\
model_list:
  - model_name: tts
    litellm_params:
      model: tts-1
      api_kye: sk-canary
      timeout: soon
    model_info: {mode: audio_speach}
  - model_name: whisper
    litellm_params:
      model: whisper-1
      api_key: os.environ/NOT_SET
      api_base: whisper.example
general_settings:
  docs_enabled: perhaps
callbacks: [a]
"""
    lines = problems_of(text)
    assert [line.split(":")[1] for line in lines] == ["5", "6", "7", "11", "12", "14", "15"]
    lines = problems_of(text.replace("{mode: audio_speach}", "{}"))
    assert lines == [
        "config.yaml:5: unknown key 'api_kye' in litellm_params; did you mean 'api_key'?",
        "config.yaml:6: 'timeout' in litellm_params must be a number",
        "config.yaml:11: variable 'NOT_SET' is not set",
        "config.yaml:12: 'api_base' in litellm_params must begin with http:// or https://",
        "config.yaml:14: 'docs_enabled' in general_settings must be true or false",
        "config.yaml:15: unknown key 'callbacks' in the configuration; did you mean 'callback_settings'?",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "config.yaml: is empty; a configuration needs model_list"),
        ("# nothing\n---\n", "config.yaml: is empty; a configuration needs model_list"),
        ("- a\n", "config.yaml:1: a configuration must be a mapping of sections (model_list:, general_settings:)"),
        ("just text", "config.yaml:1: a configuration must be a mapping of sections (model_list:, general_settings:)"),
        ("a: b\nc: d: e\n", "config.yaml:2: not valid YAML: mapping values are not allowed in this context"),
        ("a: b\n[", "config.yaml:2: not valid YAML"),
        (
            "a: 1\nkey: *canary\n",
            "config.yaml:2: an alias (*name) without its anchor (&name); a value that begins with * needs quotes",
        ),
        ("a:\n\tb: 1\n", "config.yaml:2: a tab where spaces are required"),
        ("a:\n  - b: 1\n  \t- c: 2\n", "config.yaml:3: "),
        ("a:\n  - `b`\n", "config.yaml:2: not valid YAML: found character that cannot start any token; a value"),
        ("a: 1\nb: \0\n", "config.yaml:2: a control character is not allowed in YAML"),
        ("a: 1\n---\nb: 2\n", "config.yaml:2: more than one YAML document (---) in the file"),
        (b"a: 1\nb: \xff\n", "config.yaml: is not UTF-8 text (line 2)"),
        ("a: &a\n  - *a\n", "config.yaml:1: an alias must not contain itself"),
        ("a: [" + "[" * 200_000, "config.yaml:1: values are nested more than 40 levels deep"),
        ("- " * 200_000, "config.yaml:1: values are nested more than 40 levels deep"),
        (
            "a: &a {b: 1}\nb: &a 2\n",
            "config.yaml:2: an anchor (&name) with this name already exists",
        ),
    ],
)
def test_files_that_are_no_configuration(problems_of: Problems, text: str | bytes, problem: str) -> None:
    (line,) = problems_of(text)
    assert line.startswith(problem)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    Path("secret.yaml").touch(mode=0o000)
    expected = {
        "none.yaml": "none.yaml: no such file",
        "folder": "folder: is a directory, not a file",
        "large.yaml": "large.yaml: is larger than 8 MiB",
        "a\0b": "a\0b: is not the name of a file",
        "n" * 5000: "n" * 5000 + ": cannot be read: File name too long",
    }
    if os.geteuid() != 0:
        expected["secret.yaml"] = "secret.yaml: cannot be read: Permission denied"
    for name, problem in expected.items():
        with pytest.raises(ConfigError) as raised:
            load_file(name, {})
        assert raised.value.problems == [problem]


def test_a_byte_order_mark_is_no_matter(load_text: Load) -> None:
    assert load_text(b"\xef\xbb\xbf" + ENTRY.encode()).deployments


def test_a_key_twice(problems_of: Problems) -> None:
    assert problems_of(
        """
        model_list:
          - model_name: tts
            litellm_params:
              model: tts-1
              api_key: sk-canary
              model: tts-1-hd
        general_settings: {}
        general_settings: {}
        """
    ) == [
        "config.yaml:7: key 'model' is given twice, first in line 5",
        "config.yaml:9: key 'general_settings' is given twice, first in line 8",
    ]


def test_anchors_and_merge_keys(load_text: Load, problems_of: Problems) -> None:
    text = """
        x-defaults:
          one: &one {api_key: sk-one, timeout: 5}
          two: &two {api_key: sk-two, voice: nova}
        model_list:
          - &entry
            model_name: a
            litellm_params: {<<: *one, model: tts-1, timeout: 7}
          - {<<: *entry, model_name: b}
          - {model_name: c, litellm_params: {<<: [*one, *two], model: tts-1}}
    """
    a, b, c = load_text(text).deployments
    assert (a.group, a.timeout, a.api_key, a.voice) == ("a", 7, c.api_key, None)
    assert (b.group, b.timeout, b.where) == ("b", 7, "config.yaml:9")
    assert (c.timeout, c.voice) == (5, "nova")
    assert problems_of(text.replace("timeout: 5", "timeout: soon").replace(", timeout: 7", ""))[0] == (
        "config.yaml:3: 'timeout' in litellm_params must be a number"
    )
    assert problems_of(ENTRY + "general_settings: {<<: 3}\n") == ["config.yaml:2: << merges mappings only"]


def test_aliases_do_not_multiply_without_bound(problems_of: Problems) -> None:
    lists = "".join(f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 15))
    merges = "".join(f"  l{n}: &l{n} {{a: *l{n - 1}, b: *l{n - 1}}}\n" for n in range(1, 30))
    for levels in (lists, merges):
        (problem,) = problems_of("x-bomb:\n  l0: &l0 [a]\n" + levels + ENTRY)
        assert "expands to more than" in problem


def test_tags(problems_of: Problems) -> None:
    (problem,) = problems_of("model_list: [{model_name: tts, litellm_params: {model: tts-1, api_key: !canary x}}]")
    assert problem == "config.yaml:1: YAML tags (!name) are not supported; a value that begins with ! needs quotes"


def test_many_problems_are_cut_short(problems_of: Problems) -> None:
    lines = problems_of(ENTRY + "general_settings:\n" + "".join(f"  unknown_{n}: 1\n" for n in range(2000)))
    assert len(lines) == 101
    assert lines[-1] == "… and 1900 more problems"


# -- include -----------------------------------------------------------------------------------------------------------


def test_included_files(load_text: Load) -> None:
    config = load_text(
        """
        include: [models.yaml, more.yaml]
        model_list: [{model_name: a, litellm_params: {model: tts-1}}]
        general_settings: {docs_enabled: false}
        """,
        models="""
        model_list:
          - {model_name: b, litellm_params: {model: tts-1}}
        """,
        more="""
        model_list: [{model_name: c, litellm_params: {model: whisper-1}}]
        general_settings: {public_catalog: true}
        router_settings: {num_retries: 4}
        """,
    )
    assert [(entry.group, entry.where) for entry in config.deployments] == [
        ("a", "config.yaml:3"),
        ("b", "models.yaml:3"),
        ("c", "more.yaml:2"),
    ]
    assert (config.general.docs_enabled, config.general.public_catalog, config.router.num_retries) == (False, True, 4)


def test_what_is_wrong_with_included_files(problems_of: Problems) -> None:
    lines = problems_of(
        """
        include:
          - models.yaml
          - missing.yaml
        model_list: [{model_name: a, litellm_params: {model: tts-1}}]
        general_settings: {docs_enabled: false}
        """,
        models="""
        include: config.yaml
        general_settings: {docs_enabled: true}
        model_list:
          - {model_name: b, litellm_params: {model: tts-1, rpm: x}}
        """,
    )
    assert lines == [
        "models.yaml:2: an included file cannot include others (included by config.yaml:3)",
        "models.yaml:3: key 'docs_enabled' is given twice, first in config.yaml:6",
        "models.yaml:5: 'rpm' in litellm_params must be a whole number",
        "missing.yaml: no such file",
    ]
    assert problems_of("include: [{a: b}]\n" + ENTRY)[0].startswith("config.yaml:1: include must be a file name")
