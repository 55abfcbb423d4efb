"""The pages that are generated from declarations say what the code declares."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from proxy.config.models import DERIVED_FIELDS, Deployment, GeneralSettings, RouterSettings
from proxy.guardrails.registry import KINDS as GUARDRAILS
from proxy.providers.registry import VENDORS
from proxy.sinks.registry import KINDS as SINKS

ROOT = Path(__file__).parents[1]
SETTINGS = {
    f"{settings.__name__}.{name}": str(field.validation_alias or name)
    for settings in {Deployment, GeneralSettings, RouterSettings, *GUARDRAILS.classes.values(), *SINKS.classes.values()}
    for name, field in settings.model_fields.items()
    if name not in DERIVED_FIELDS | {"name", "kind", "successes", "failures"}
}


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_page", ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["vendors", "settings"])
def test_the_page_is_fresh(name: str) -> None:
    written = (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")
    assert written == script(name).page(), f"stale: run `python .ci/{name}.py`"


def test_each_vendor_has_a_section_and_each_model_a_row() -> None:
    page = script("vendors").page()
    for name, vendor in VENDORS.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        assert section, name
        assert not [model for model in vendor.models if f"`{model}`" not in section]


def test_the_page_is_honest() -> None:
    assert "No vendor on this page has been tested against its real service" in script("vendors").page()


def test_each_setting_has_a_row() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", script("settings").page(), re.MULTILINE))
    assert not {setting for setting, key in SETTINGS.items() if key not in rows}


def test_each_variable_of_the_program_is_on_the_page() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "proxy").rglob("*.py"))
    names = set(re.findall(r"\b(?:AUDIO_PROXY_[A-Z_]+|(?:LITELLM|PROXY)_MASTER_KEY)\b", source))
    page = script("settings").page()
    assert not {name for name in names if name not in page}
