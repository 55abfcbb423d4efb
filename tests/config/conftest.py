from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from proxy.config import Config, Mode, load
from proxy.errors import ConfigError
from proxy.guardrails import registry as guardrails
from proxy.sinks import registry as sinks

KEY = "sk-9f3kQz7LmW2xTb8RvYc5"
VENDORS = ("openai", "lemonfox")


def infer_mode(vendor: str, model: str) -> Mode | None:
    assert vendor in VENDORS
    if re.search("whisper|transcribe", model):
        return Mode.TRANSCRIPTION
    return Mode.SPEECH if re.search("tts|kokoro", model, re.IGNORECASE) else None


def load_file(path: str | Path, environ: Mapping[str, str]) -> Config:
    """With the vendors above, and the kinds of guardrails and sinks that there are."""
    return load(
        path,
        vendors=VENDORS,
        infer_mode=infer_mode,
        guardrails=guardrails.KINDS,
        sinks=sinks.KINDS,
        environ=environ,
    )


Load = Callable[..., Config]
Problems = Callable[..., list[str]]


@pytest.fixture
def load_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads a text as ``config.yaml`` of the current folder."""
    monkeypatch.chdir(tmp_path)

    def load_(text: str | bytes, environ: Mapping[str, str] | None = None, **files: str) -> Config:
        for name, content in files.items():
            Path(f"{name}.yaml").write_text(textwrap.dedent(content), encoding="utf-8")
        raw = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        Path("config.yaml").write_bytes(raw)
        environ = {"PROXY_MASTER_KEY": KEY} if environ is None else environ
        return load_file("config.yaml", environ)

    return load_


@pytest.fixture
def problems_of(load_text: Load) -> Problems:
    def problems(text: str | bytes, environ: Mapping[str, str] | None = None, **files: str) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            load_text(text, environ, **files)
        return raised.value.problems

    return problems


@pytest.fixture
def one(load_text: Load) -> Callable[..., Config]:
    """Loads one entry from its litellm_params (and model_info) as flow mappings."""

    def one_(params: str, info: str = "{}", environ: Mapping[str, str] | None = None) -> Config:
        entry = f"- model_name: tts\n  litellm_params: {{model: tts-1, {params}}}\n  model_info: {info}\n"
        return load_text(f"model_list:\n{entry}", environ)

    return one_


@pytest.fixture
def one_problems(one: Callable[..., Config]) -> Problems:
    def problems(params: str, info: str = "{}", environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as raised:
            one(params, info, environ)
        return raised.value.problems

    return problems
