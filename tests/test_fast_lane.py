"""The list of slow tests names tests that exist, and leaves some of every area to the fast lane."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.providers.conftest import every_case
from tests.slow import FAST, FAST_CASES, SLOW, is_slow

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "tests").rglob("test_*.py"))


@pytest.mark.parametrize("name", [*SLOW, *FAST])
def test_a_listed_test_exists(name: str) -> None:
    path, _, function = name.partition("::")
    assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8") if function else (ROOT / path).exists()


@pytest.mark.parametrize("names", [SLOW, FAST])
def test_the_lists_are_in_order(names: tuple[str, ...]) -> None:
    assert list(names) == sorted(set(names))


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES}), ids=lambda folder: folder.name)
def test_every_area_has_fast_tests(folder: Path) -> None:
    assert [file for file in FILES if file.parent == folder and not is_slow(str(file.relative_to(ROOT)))]


@pytest.mark.parametrize("prefix", FAST_CASES)
def test_a_fast_case_exists(prefix: str) -> None:
    assert [case.id for case in every_case().cases if case.id.startswith(prefix)]


@pytest.mark.parametrize(
    ("test", "slow"),
    [
        ("tests/accounting/test_crashes.py::test_any", True),
        ("tests/front/test_speech.py::test_any[mp3]", False),
        (FAST[0], False),
        ("tests/accounting/test_usage.py::test_any[postgresql]", True),
        ("tests/accounting/test_usage.py::test_any[sqlite]", False),
        ("tests/http/test_transport.py::test_any[uvloop-tls]", True),
        ("tests/providers/test_contract_speech.py::test_any[gemini-tts-mp3]", True),
        ("tests/providers/test_contract_speech.py::test_any[elevenlabs-eleven-v4-mp3]", False),
        ("tests/providers/test_contract_speech.py::test_any", False),
    ],
)
def test_what_is_slow(test: str, slow: bool) -> None:
    assert is_slow(test) is slow


def test_a_server_of_its_own_makes_a_test_slow() -> None:
    assert is_slow("tests/front/test_speech.py::test_any", ["serve"])
    assert not is_slow(FAST[0], ["serve"])
