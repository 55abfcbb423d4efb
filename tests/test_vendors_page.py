"""docs/vendors.md says what the code declares."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from proxy.providers.registry import VENDORS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendors_page", ROOT / ".ci" / "vendors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_fresh(script: ModuleType) -> None:
    written = (ROOT / "docs" / "vendors.md").read_text(encoding="utf-8")
    assert written == script.page(), "stale: run `python .ci/vendors.py`"


def test_each_vendor_has_a_section_and_each_model_a_row(script: ModuleType) -> None:
    page = script.page()
    for name, vendor in VENDORS.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        assert not [model for model in vendor.models if f"`{model}`" not in section]


def test_the_page_is_honest(script: ModuleType) -> None:
    assert "No vendor on this page has been tested against its real service" in script.page()
