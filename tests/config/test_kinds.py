"""A kind is a settings class in a table: the file is validated by it, and its errors have file and line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, model_validator

from proxy.config import Config, Kinds, load
from proxy.config.fields import Frozen, Text
from proxy.errors import ConfigError
from proxy.guardrails import registry as guardrails
from proxy.sinks import registry as sinks
from tests.config.conftest import VENDORS, infer_mode


class Settings(Frozen):
    name: Text = Field(validation_alias="guardrail_name")
    where: str = ""


class Upper(Settings):
    guardrail: Literal["upper", "UPPER"]


class Range(Settings):
    guardrail: Literal["range"]
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.low > self.high:
            raise ValueError("must have a low that is not above high")
        return self


def configured(folder: Path, params: str) -> Config:
    path = folder / "config.yaml"
    path.write_text(f"""
general_settings: {{allow_unauthenticated: true}}
model_list: [{{model_name: tts, litellm_params: {{model: tts-1}}}}]
guardrails:
  - guardrail_name: g
    litellm_params:
      {params}
""")
    kinds: Kinds[Any] = Kinds("guardrail", Upper, Range)
    return load(path, vendors=VENDORS, infer_mode=infer_mode, guardrails=kinds, sinks=sinks.KINDS, environ={})


def test_an_entry_becomes_the_settings_of_its_kind(tmp_path: Path) -> None:
    (entry,) = configured(tmp_path, "{guardrail: range, high: 3}").guardrails
    assert entry == Range.model_validate(
        {"guardrail_name": "g", "guardrail": "range", "high": 3, "where": f"{tmp_path}/config.yaml:5"}
    )
    (entry,) = configured(tmp_path, "{guardrail: UPPER}").guardrails
    assert isinstance(entry, Upper)


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ("{guardrail: rang}", "7: unknown guardrail 'rang'; use one of upper, UPPER, range; did you mean 'range'?"),
        ("{low: 3}", "5: 'guardrail' is missing in litellm_params; use one of upper, UPPER, range"),
        ("{guardrail: [range]}", "7: 'guardrail' in litellm_params must be text"),
        ("{guardrail: os.environ/KIND}", "7: variable 'KIND' is not set"),
        ("{guardrail: upper, low: 3}", "7: unknown key 'low' in litellm_params"),
        ("{guardrail: range, hihg: 3}", "7: unknown key 'hihg' in litellm_params; did you mean 'high'?"),
        ("{guardrail: range, high: x}", "7: 'high' in litellm_params must be a whole number"),
        ("{guardrail: range, low: 10}", "5: litellm_params must have a low that is not above high"),
        # Neither our names of fields nor what the loader adds can be set.
        ("{guardrail: upper, name: x}", "7: unknown key 'name' in litellm_params"),
        ("{guardrail: upper, where: x}", "7: unknown key 'where' in litellm_params"),
    ],
)
def test_errors_have_file_and_line(tmp_path: Path, params: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        configured(tmp_path, params)
    assert raised.value.problems == [f"{tmp_path}/config.yaml:{problem}"]


@pytest.mark.parametrize("kinds", [guardrails.KINDS, sinks.KINDS])
def test_every_kind_describes_itself(kinds: Kinds[Any]) -> None:
    assert kinds.union.json_schema(by_alias=True)["discriminator"]["mapping"].keys() == kinds.classes.keys()
