"""``audio-proxy init``: a commented configuration for the vendors whose keys are in the environment."""

from __future__ import annotations

import os
import secrets
import shlex
import sys
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from proxy.config import Config, Environment
from proxy.config.environment import ENV_FILE, read_env_file
from proxy.providers.registry import VENDORS
from proxy.storage.running import database_place

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

MASTER_KEY = "PROXY_MASTER_KEY"

HEAD = """\
# Written by "audio-proxy init". Start it with: audio-proxy --config {path}
# All settings are explained in config.example.yaml. "audio-proxy check" finds mistakes in this file.
# Keys are in the file .env next to it, so that this file may be read by everyone.

model_list:
"""
TAIL = f"""
general_settings:
  # Clients send this key: Authorization: Bearer …
  master_key: os.environ/{MASTER_KEY}
"""
ENV_HEAD = """\
# From "audio-proxy init": variables for the configuration next to it. audio-proxy reads this file by itself; for
# Docker, Compose and systemd, see docs/deployment.md. Keep it secret, and out of version control.
"""
ENV_VENDORS = "# Uncomment these for services and containers, which do not see the variables of your shell:\n"


def run(path: str, *, force: bool, environ: Mapping[str, str] = os.environ) -> int:
    """Writes the configuration, which holds no secret, and the master key into `.env` next to it, unless it is there.

    Returns 2 if the configuration exists, unless ``force`` is set, or is a folder; 1 if a file cannot be written.
    """
    target = Path(path)
    env_file = target.parent / ENV_FILE
    if target.is_dir():
        print(f"{path} is a folder; name a file in it", file=sys.stderr)
        return 2
    if os.path.lexists(target) and not force:
        print(f"{path} already exists; use --force to overwrite it", file=sys.stderr)
        return 2
    try:
        known = Environment(read_env_file(env_file) | dict(environ))
        vendors = [vendor for vendor in STARTERS if _variable(vendor) in known]
        master_key = _master_key(env_file, vendors, environ)
        text = document(vendors, path=path)
        _write(target, text, os.O_TRUNC if force else os.O_EXCL)
    except UnicodeDecodeError:
        print(f"cannot read {env_file}: it is not UTF-8", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot write {error.filename or path}: {error.strerror}", file=sys.stderr)
        return 1
    names = ", ".join(f"{vendor} (${_variable(vendor)})" for vendor in vendors)
    print(
        f"Found keys of: {names}" if vendors else "Found no vendor's key in the environment: using local engines only."
    )
    print(f"Wrote {path}. {master_key}")
    config = Config(path=path, deployments=(), environment=known)
    print(f"Virtual keys and calls will be stored in {database_place(config)}.")
    if "local/" in text and not _has_local_engines():
        print("The local engines are not installed: pip install 'audio-proxy[local]'")
    print(f"\nStart the server:\n\n{_command(path)}\n\nThen, in another terminal:\n\n{_curl(env_file, environ)}")
    return 0


def _master_key(env_file: Path, vendors: Iterable[str], environ: Mapping[str, str]) -> str:
    """Adds a master key to the file unless there is one, and says where it is. Nothing in the file is changed."""
    if MASTER_KEY in Environment(environ):
        return f"The master key is your ${MASTER_KEY}."
    existing_variables = read_env_file(env_file)
    if MASTER_KEY in existing_variables:
        return f"The master key is the one in {env_file}."
    names = [name for name in map(_variable, vendors) if name not in existing_variables]
    variables = "".join(f"# {name}=\n" for name in names)
    text = f"{MASTER_KEY}=sk-{secrets.token_urlsafe(32)}\n" + (variables and f"\n{ENV_VENDORS}{variables}")
    env_file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(env_file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "a+", encoding="utf-8") as file:
        file.seek(0)
        existing = file.read()
        file.write(("\n" if existing and not existing.endswith("\n") else "") + ENV_HEAD + text)
        is_private = not os.fstat(descriptor).st_mode & 0o077
    if is_private:
        return f"The master key is in {env_file}, readable by you only."
    return f"The master key is in {env_file}, which others can read: chmod 600 {shlex.quote(str(env_file))}"


def _write(path: Path, text: str, flag: int) -> None:
    """A file that every user can read, such as the one of the container image."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | flag, 0o644), "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)  # whatever the umask is
        file.write(text)


def _command(path: str) -> str:
    return f"audio-proxy --config {shlex.quote(path)}"


def _curl(env_file: Path, environ: Mapping[str, str]) -> str:
    key = f"${MASTER_KEY}"
    if MASTER_KEY not in Environment(environ):
        key = f"$(sed -n 's/^{MASTER_KEY}=//p' {shlex.quote(str(env_file))})"
    return f"""\
curl http://localhost:4000/v1/audio/speech -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "tts", "voice": "alloy", "input": "Hello!"}}' --output speech.mp3"""


def document(vendors: list[str], *, path: str) -> str:
    """The YAML text. Each vendor's models fall back to those of the next vendor, and finally to the local engines.

    Local engines that are not installed are only used for what no vendor offers.
    """
    served: dict[str, list[str]] = {name: [] for name in LOCAL}
    entries = []
    for vendor in vendors:
        for name, model in STARTERS[vendor].items():
            group = f"{name}-{vendor}" if served[name] else name
            served[name].append(group)
            entries.append(_entry(group, model, _variable(vendor)))
    for name, model in LOCAL.items():
        if served[name] and not _has_local_engines():
            continue
        group = f"{name}-local" if served[name] else name
        served[name].append(group)
        entries.append(_entry(group, model, None))
    return HEAD.format(path=shlex.quote(path)) + "\n".join(entries) + _fallbacks(served.values()) + TAIL


def _has_local_engines() -> bool:
    return find_spec("espeakng_loader") is not None


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
