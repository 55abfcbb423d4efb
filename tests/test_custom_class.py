"""Classes that the configuration names: beside it, or installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.custom_class import load_class

METHOD = "send(self, records)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "kinds_of_ours.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Good:\n    level: int = 1\n    async def send(self, records): ...\n"
        "class Blocking:\n    def send(self, records): ...\n"
        "text = 'no class'\n"
    )
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "module.py").write_text("class Deep:\n    async def send(self, records): ...\n")
    (tmp_path / "broken_of_ours.py").write_text("1 / 0\n")
    return tmp_path


def test_a_class_beside_the_configuration(folder: Path) -> None:
    assert load_class("kinds_of_ours.Good", folder, METHOD)(level=3).level == 3
    assert load_class("inner.module.Deep", folder, METHOD).__name__ == "Deep"


def test_an_installed_class(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"JSONDecoder must be a class with 'async def decode\(self\)'"):
        load_class("json.JSONDecoder", tmp_path, "decode(self)")
    assert load_class("asyncio.StreamReader", tmp_path, "read(self)").__name__ == "StreamReader"


@pytest.mark.parametrize(
    ("path", "error", "message"),
    [
        ("Good", ValueError, "must be module.Class"),
        ("", ValueError, "must be module.Class"),
        ("../kinds.Good", ValueError, "must be module.Class"),
        ("kinds_of_ours.Missing", ValueError, "the module has no Missing"),
        ("kinds_of_ours.Blocking", ValueError, r"Blocking must be a class with 'async def send\(self, records\)'"),
        ("kinds_of_ours.text", ValueError, "text must be a class"),
        ("no_such_module_of_ours.Class", ModuleNotFoundError, "no_such_module_of_ours"),
        ("broken_of_ours.Class", ZeroDivisionError, "division by zero"),
    ],
)
def test_what_cannot_be_loaded(folder: Path, path: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_class(path, folder, METHOD)
