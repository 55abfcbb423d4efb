"""``audio-proxy init``: a commented configuration for the vendors whose keys are in the environment."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from proxy.providers.registry import VENDORS

#: What a vendor serves in a starter file: ``model_name`` → ``model``. The first vendor found gets the bare names; those
#: of every further one end in its name. Nothing stands here that its vendor ends soon.
STARTERS: Mapping[str, Mapping[str, str]] = {
    "openai": {"tts": "openai/gpt-realtime-2.1-mini", "whisper": "openai/gpt-transcribe"},
    "elevenlabs": {"tts": "elevenlabs/eleven_flash_v2_5", "whisper": "elevenlabs/scribe_v2"},
    "deepgram": {"tts": "deepgram/aura-2", "whisper": "deepgram/nova-3"},
    "assemblyai": {"tts": "assemblyai/assemblyai-tts-1", "whisper": "assemblyai/universal-3-5-pro"},
    "gemini": {"tts": "gemini/gemini-3.8-flash-tts", "whisper": "gemini/gemini-3.5-transcribe"},
    "groq": {"tts": "groq/canopylabs/orpheus-v1-english", "whisper": "groq/whisper-large-v3"},
    "together_ai": {"whisper": "together_ai/openai/whisper-large-v3"},
    "fireworks_ai": {"whisper": "fireworks_ai/whisper-v3"},
    "mistral": {"whisper": "mistral/voxtral-mini-latest"},
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
    """The YAML: each vendor's models, and behind them the next vendor's, with the local engines as the last resort."""
    served: dict[str, list[str]] = {name: [] for name in LOCAL}
    entries = []
    for vendor in vendors:
        for name, model in STARTERS[vendor].items():
            group = f"{name}-{vendor}" if served[name] else name
            served[name].append(group)
            entries.append(_entry(group, model, _variable(vendor)))
    for name, model in LOCAL.items():
        group = f"{name}-local" if served[name] else name
        served[name].append(group)
        entries.append(_entry(group, model, None))
    return HEAD.format(path=path) + "\n".join(entries) + _fallbacks(served.values()) + TAIL.format(key=key)


def _variable(vendor: str) -> str:
    return VENDORS[vendor].key_variable or ""


def _entry(name: str, model: str, variable: str | None) -> str:
    lines = [f"  - model_name: {name}", "    litellm_params:", f"      model: {model}"]
    if variable is not None:
        lines.append(f"      api_key: os.environ/{variable}")
    return "\n".join(lines) + "\n"


def _fallbacks(chains: Iterable[list[str]]) -> str:
    rows = "".join(f"    - {first}: [{', '.join(rest)}]\n" for first, *rest in chains if rest)
    if not rows:
        return ""
    return f"\nrouter_settings:\n  # Who answers when a vendor fails; the local voices are rough.\n  fallbacks:\n{rows}"
