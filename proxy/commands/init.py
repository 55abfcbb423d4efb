"""``audio-proxy init``: a commented configuration for the vendors whose keys are in the environment."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from proxy.providers.registry import VENDORS

#: Each vendor's models in a new configuration: ``model_name`` → ``model``. The names of the first vendor are used as
#: they are; the name of each further vendor is appended to its own. No model is about to be retired.
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
# All settings are explained in config.example.yaml. "audio-proxy check" finds mistakes in this file.

model_list:
"""
TAIL = """
general_settings:
  # Clients send this key: Authorization: Bearer {key}
  master_key: {key}
"""


def run(path: str, *, force: bool, environ: Mapping[str, str] = os.environ) -> int:
    """Returns 2 if the file exists, unless ``force`` is set; 1 if it cannot be written."""
    target = Path(path)
    vendors = [vendor for vendor in STARTERS if environ.get(_variable(vendor))]
    text = document(vendors, path=path, key=f"sk-{secrets.token_urlsafe(32)}")
    flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
    try:
        with os.fdopen(os.open(target, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        print(f"{path} already exists; use --force to overwrite it", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"cannot write {path}: {error.strerror}", file=sys.stderr)
        return 1
    names = ", ".join(f"{vendor} (${_variable(vendor)})" for vendor in vendors)
    print(
        f"Found keys of: {names}" if vendors else "Found no vendor's key in the environment: using local engines only."
    )
    print(f"Wrote {path}, readable by you only. Next: audio-proxy --config {path}")
    return 0


def document(vendors: list[str], *, path: str, key: str) -> str:
    """The YAML text. Each vendor's models fall back to those of the next vendor, and finally to the local engines."""
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
    return (
        f"\nrouter_settings:\n  # Used if a vendor fails. Local engines are only for evaluation.\n  fallbacks:\n{rows}"
    )
