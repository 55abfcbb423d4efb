"""``audio-proxy demo``: serves the local engines on loopback, and speaks and transcribes a sentence."""

from __future__ import annotations

import contextlib
import secrets
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import httpx

from proxy import serving
from proxy.config import Config, Deployment, GeneralSettings
from proxy.domain.requests import Mode

PORT = 4000
SENTENCE = "the quick brown fox jumped over the lazy dogs"
NEXT = 'These engines are only for evaluation. "audio-proxy init" writes a configuration for real vendors.'
SPEECH = Deployment(id="demo-tts", group="tts", vendor="local", model="espeak-ng", mode=Mode.SPEECH)
TRANSCRIPTION = Deployment(
    id="demo-whisper", group="whisper", vendor="local", model="pocketsphinx", mode=Mode.TRANSCRIPTION
)


def run(*, once: bool) -> int:
    """Serve until interrupted, or with ``once`` until the sentence is transcribed. Returns 1 if that fails."""
    key = f"sk-{secrets.token_hex(16)}"
    folder = Path(tempfile.mkdtemp(prefix="audio-proxy-demo-"))
    config = Config(
        path=str(folder / "demo"),
        deployments=(SPEECH, TRANSCRIPTION),
        general=GeneralSettings.model_validate({"master_key": key, "log_level": "warning"}),
    )
    listeners = serving.listen("127.0.0.1", _free_port())
    url = f"http://127.0.0.1:{listeners[0].getsockname()[1]}/v1"
    outcome: list[int] = []

    def show(stop: Callable[[], object]) -> None:
        try:
            with contextlib.suppress(BrokenPipeError):  # nobody reads on; the server stops
                outcome.append(_show(url, key, folder / "speech.mp3", once=once))
        finally:
            if once or not outcome or outcome[0]:
                stop()

    serving.run_worker(
        serving.ConfigFile(lambda: config),
        serving.ServerOptions(host="127.0.0.1", ledger=False),
        listeners,
        lambda stop: threading.Thread(target=show, args=(stop,), daemon=True).start(),
        watch=False,
    )
    return outcome[0] if outcome else 1


def _free_port() -> int:
    """The default port, or 0 for any other if it is taken."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", PORT))
        except OSError:
            return 0
    return PORT


def _show(url: str, key: str, speech_file: Path, *, once: bool) -> int:
    print(f"Serving the local engines on {url}\n\nSpeaking: {SENTENCE}", flush=True)
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        speech = client.post(f"{url}/audio/speech", json={"model": "tts", "voice": "alloy", "input": SENTENCE})
        if speech.is_error:
            return _failed(speech)
        speech_file.write_bytes(speech.content)
        print(f"  {len(speech.content)} bytes of {speech.headers['content-type']} in {speech_file}", flush=True)
        with speech_file.open("rb") as file:
            transcript = client.post(f"{url}/audio/transcriptions", data={"model": "whisper"}, files={"file": file})
        if transcript.is_error:
            return _failed(transcript)
        print(f"Transcribed: {transcript.json()['text']}\n", flush=True)
    if not once:
        print(_curl(url, key, speech_file))
    print(NEXT, flush=True)
    return 0


def _failed(response: httpx.Response) -> int:
    print(f"  failed: {response.json()['error']['message']}", flush=True)
    return 1


def _curl(url: str, key: str, file: Path) -> str:
    return f"""Try it yourself:

curl {url}/audio/speech -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "tts", "voice": "alloy", "input": "{SENTENCE}"}}' --output {file}

curl {url}/audio/transcriptions -H "Authorization: Bearer {key}" \\
  -F file=@{file} -F model=whisper
"""
