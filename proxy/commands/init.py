"""``audio-proxy init``: a commented configuration for the vendors whose keys are in the environment."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from proxy.providers.registry import VENDORS

#: What a vendor serves in a starter file: ``model_name`` → ``model``.
STARTERS: Mapping[str, Mapping[str, str]] = {
    "openai": {"tts": "openai/gpt-4o-mini-tts", "whisper": "openai/whisper-1", "transcribe": "openai/gpt-transcribe"},
}
LOCAL: Mapping[str, str] = {"tts": "local/espeak-ng", "whisper": "local/pocketsphinx"}

HEAD = """\
# Written by "audio-proxy init". Start it with: audio-proxy --config {path}
# Every key is explained in config.example.yaml; "audio-proxy check" says what is wrong with this file.

model_list:
"""
TAIL = """
general_settings:
  # The key of your callers: Authorization: Bearer {key}
  master_key: {key}
"""


def run(path: str, *, force: bool, environ: Mapping[str, str] = os.environ) -> int:
    """2 where the file exists already and ``force`` is not given."""
    target = Path(path)
    found = [vendor for vendor in STARTERS if environ.get(_variable(vendor))]
    text = document(found, path=path, key=f"sk-{secrets.token_urlsafe(32)}")
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(target, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        print(f"{path} exists already; --force overwrites it", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
        return 1
    names = ", ".join(f"{vendor} (${_variable(vendor)})" for vendor in found)
    print(f"Found keys of: {names}" if found else "Found no vendor's key in the environment; local engines only.")
    print(f"Wrote {path}, readable by you only. Next: audio-proxy --config {path}")
    return 0


def document(vendors: list[str], *, path: str, key: str) -> str:
    """The YAML: each vendor's models, and the local engines behind them as the last resort."""
    starters = [(name, model, vendor) for vendor in vendors for name, model in STARTERS[vendor].items()]
    entries = [_entry(name, model, _variable(vendor)) for name, model, vendor in starters]
    covered = {name for name, _, _ in starters}
    entries += [_entry(f"{name}-local" if name in covered else name, model, None) for name, model in LOCAL.items()]
    fallbacks = _fallbacks(sorted(covered & set(LOCAL)))
    return HEAD.format(path=path) + "\n".join(entries) + fallbacks + TAIL.format(key=key)


def _variable(vendor: str) -> str:
    return VENDORS[vendor].key_variable or ""


def _entry(name: str, model: str, variable: str | None) -> str:
    lines = [f"  - model_name: {name}", "    litellm_params:", f"      model: {model}"]
    if variable is not None:
        lines.append(f"      api_key: os.environ/{variable}")
    return "\n".join(lines) + "\n"


def _fallbacks(names: list[str]) -> str:
    if not names:
        return ""
    rows = "".join(f"    - {name}: [{name}-local]\n" for name in names)
    return f"\nrouter_settings:\n  # Who answers when a vendor fails. These voices are rough.\n  fallbacks:\n{rows}"
