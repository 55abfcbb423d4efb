"""The documents keep what they promise: links lead somewhere, configurations load, code compiles, commands parse."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints
from urllib.parse import urlsplit

import pytest
import yaml

import proxy
from proxy import cli
from proxy.providers import registry
from tests.markdown import NOT_A_CONFIGURATION, ROOT, Block, Document, documents, read

DOCUMENTS = documents()
BLOCKS = [block for document in DOCUMENTS for block in document.blocks]
#: What a fragment leaves out.
MODEL_LIST = "model_list: [{model_name: tts, litellm_params: {model: openai/gpt-realtime-2.1-mini}}]\n"
GENERAL = "general_settings:\n"
MASTER_KEY = "  master_key: os.environ/PROXY_MASTER_KEY\n"
#: What the variables hold that configurations name; any other holds the secret.
VALUES = {"DATABASE_URL": "postgresql://db.example.com/audio"}
SECRET = "sk-5c1d9b7e3f2a48066d0e9c8b7a6f5e4d"
#: Where other files name a document: messages, comments, alerts.
NAMING = ["proxy", "deploy", "bench", ".ci", ".github", "config.example.yaml", "Dockerfile", "pyproject.toml"]

of_each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.path.name)


def of_each_block(*languages: str, but: str | None = None) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages and block.mark != but]
    assert found, f"no document has a block of {languages}"
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


# -- links -------------------------------------------------------------------------------------------------------------


@of_each_document
def test_links_lead_somewhere(document: Document) -> None:
    assert [link for link in document.links if not _leads_somewhere(link, document)] == []


def _leads_somewhere(link: str, document: Document) -> bool:
    """Without a look at other hosts."""
    parts = urlsplit(link)
    if parts.scheme:
        return parts.scheme == "mailto" or bool(re.fullmatch(r"https?://[\w.-]+\.[a-z]+(:\d+)?(/\S*)?", link))
    path = (document.path.parent / parts.path).resolve() if parts.path else document.path
    if not path.is_relative_to(ROOT) or not path.exists():
        return False
    return not parts.fragment or parts.fragment in read(path).anchors


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("docs/keys.md", True),
        ("docs/keys.md#routes", True),
        ("#documentation", True),
        ("https://example.com/a?b#c", True),
        ("docs/key.md", False),
        ("docs/keys.md#route", False),
        ("#no-such-heading", False),
        ("../outside.md", False),
        ("https://example", False),
        ("htps://example.com", False),
        ("https://example.com/a b", False),
    ],
)
def test_dead_links_are_noticed(link: str, leads: bool) -> None:
    assert _leads_somewhere(link, read(ROOT / "README.md")) is leads


def test_documents_that_other_files_name_exist() -> None:
    files = [path for name in NAMING for path in [ROOT / name, *(ROOT / name).rglob("*")] if path.is_file()]
    named = {
        (document, str(path.relative_to(ROOT)))
        for path in files
        if path.suffix not in (".pyc", ".wav")
        for document in re.findall(r"docs/[a-z/-]+\.md", path.read_text(encoding="utf-8"))
    }
    assert [(name, where) for name, where in named if not (ROOT / name).exists()] == []


# -- examples ----------------------------------------------------------------------------------------------------------


def completed(text: str) -> str:
    """A fragment becomes a whole file: a list is a ``model_list``; a model and a master key are added where none is."""
    document = yaml.safe_load(text)
    if isinstance(document, list):
        return f"model_list:\n{text}\n{GENERAL}{MASTER_KEY}"
    if "general_settings" not in document:
        text += GENERAL + MASTER_KEY
    elif "master_key" not in document["general_settings"]:
        text = text.replace(GENERAL, GENERAL + MASTER_KEY)
    return text if "model_list" in document else text + MODEL_LIST


@of_each_block("yaml", "yml", but=NOT_A_CONFIGURATION)
def test_configurations_load(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``audio-proxy check`` finds nothing in it, with every variable set that it names."""
    keys = [name for vendor in registry.VENDORS.values() for name in vendor.key_variables]
    path = tmp_path / "config.yaml"
    path.write_text(completed(block.text), encoding="utf-8")
    for name in (*keys, *re.findall(r"os\.environ/(\w+)", path.read_text(encoding="utf-8"))):
        monkeypatch.setenv(name, VALUES.get(name, SECRET))
    for module, name in re.findall(r"\b([a-z_]+)\.([A-Z]\w+)", block.text):
        (tmp_path / f"{module}.py").write_text(_example_of(name), encoding="utf-8")
    status = cli.main(["check", "--config", str(path)])
    assert (status, capsys.readouterr().err) == (0, "")


def _example_of(name: str) -> str:
    """The class that a configuration names, as a document shows it."""
    found = [block.text for block in BLOCKS if block.language == "python" and f"class {name}:" in block.text]
    assert len(found) == 1, f"no document shows the class {name}"
    return found[0]


@of_each_block("yaml", "yml")
def test_yaml_parses(block: Block) -> None:
    assert yaml.safe_load(block.text)


@of_each_block("json")
def test_json_parses(block: Block) -> None:
    json.loads(block.text)


@of_each_block("python")
def test_python_compiles_and_its_imports_exist(block: Block) -> None:
    compile(block.text, block.place, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(block.text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "proxy":
            exec(compile(ast.Module([node], []), block.place, "exec"), {})


@of_each_block("sh", "bash")
def test_shell_parses(block: Block) -> None:
    subprocess.run([shutil.which("bash") or "bash", "-n"], input=block.text, text=True, check=True)
    assert shlex.split(block.text, comments=True)


# -- command lines -----------------------------------------------------------------------------------------------------


def shown_commands() -> Iterator[tuple[str, list[str]]]:
    """(place, arguments) of every ``audio-proxy`` that a reader is told to run."""
    for block in BLOCKS:
        if block.language in ("sh", "bash"):
            commands = list(_commands(block.text))
        elif block.language == "ini":
            commands = [line.split() for line in re.findall(r"^Exec\w+=(.*)$", block.text, re.MULTILINE)]
        else:
            continue
        yield from ((block.place, arguments) for words in commands for arguments in _arguments(words))
    for document in DOCUMENTS:
        place = str(document.path.relative_to(ROOT))
        for span in document.spans:
            yield from ((place, arguments) for arguments in _arguments(span.split()))


def _commands(script: str) -> Iterator[list[str]]:
    """The words of each simple command."""
    script = re.sub(r"(^|\s)#.*", "", script.replace("\\\n", " "))
    words = shlex.shlex(script, posix=True, punctuation_chars=";&|\n")
    words.whitespace, words.whitespace_split = " \t", True
    words.commenters = ""
    for is_end, command in itertools.groupby(words, lambda word: not word.strip(";&|\n")):
        if not is_end:
            yield list(command)


def _arguments(words: Sequence[str]) -> Iterator[list[str]]:
    """Those of the command, or of the image whose entry point it is; ``a|b|c`` stands for three commands."""
    names = [number for number, word in enumerate(words) if Path(word).name == "audio-proxy"]
    if names and (names[0] == 0 or "docker run" in " ".join(words[: names[-1]])):
        arguments = list(words[names[-1] + 1 :])
        alternatives = next((word.split("|") for word in arguments if "|" in word), [""])
        yield from ([choice if "|" in word else word for word in arguments] for choice in alternatives)


#: What an action needs beside what a document says of it in passing, such as `audio-proxy keys revoke`.
_MISSING = {"revoke": ["KEY"], "import": ["FILE"], "keys": ["list"]}


@pytest.mark.parametrize(
    "arguments", [pytest.param(words, id=f"{place} {' '.join(words)}") for place, words in shown_commands()]
)
def test_commands_parse(arguments: list[str]) -> None:
    last = arguments[-1] if arguments else ""
    words = [*arguments, *_MISSING.get(last, [])]
    if {"--help", "--version"} & set(words):
        with pytest.raises(SystemExit, match=r"^0$"):
            cli.parse(words)
    else:
        assert cli.parse(words)


def test_commands_are_found() -> None:
    found = [arguments for _, arguments in shown_commands()]
    for words in (
        ["--config", "config.example.yaml"],  # behind another command
        ["check", "--config", "/etc/audio-proxy/config.yaml"],  # in a systemd unit
        ["keys", "create", "--alias", "night batch", "--models", "tts,whisper"],  # quoted
        ["--config", "/app/config.yaml", "--workers", "2"],  # in the text
        [],  # the image without arguments
    ):
        assert any(arguments[: len(words)] == words for arguments in found), words


@pytest.mark.parametrize("arguments", [["chekc"], ["--prot", "1"], ["usage", "--format", "xml"], ["keys"]])
def test_commands_with_mistakes_are_noticed(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        cli.parse(arguments)


# -- the reference -----------------------------------------------------------------------------------------------------


def test_the_reference_shows_every_public_name() -> None:
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "reference").glob("*.md"))
    shown = set(re.findall(r"\bproxy\.(?:errors\.)?(\w+)", pages))
    assert set(proxy.__all__) - shown == set()


@pytest.mark.parametrize("name", [name for name in proxy.__all__ if inspect.isfunction(getattr(proxy, name))])
def test_the_reference_shows_every_option(name: str) -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    (options,) = get_args(get_type_hints(getattr(proxy, name))["options"])
    fields: dict[str, Any] = get_type_hints(options)
    assert [field for field in fields if f"`{field}`" not in page] == []
