"""The requests that each proxy gets: one at a time, or many at once from wrk."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meter import metered

HOST = "127.0.0.1"
KEY = "sk-bench-7f3a9c21d4e8b605"
_BOUNDARY = "----benchboundary7MA4YWxkTrZu0gW"
_SCRIPT = Path(__file__).with_name("post.lua")


class Failed(Exception):
    """The proxy sent a wrong answer or none, or wrk printed no figures."""


@dataclass(frozen=True)
class Target:
    """A proxy that is running."""

    port: int
    #: Root of its process tree; None if it was not started here and is not metered.
    pid: int | None


@dataclass(frozen=True)
class Request:
    """A request to POST."""

    path: str
    content_type: str
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers that every client sends."""
        return {"Content-Type": self.content_type, "Authorization": f"Bearer {KEY}"}


def speech(marks: str = "") -> Request:
    """`marks` control the answer of the upstream; see mock_upstream.c."""
    text = f"The quick brown fox jumps over the lazy dog. {marks}"
    body = {"model": "tts", "input": text, "voice": "alloy", "response_format": "mp3"}
    return Request("/v1/audio/speech", "application/json", json.dumps(body).encode())


def _wav(size: int) -> bytes:
    """A WAV file of that many bytes, which must be a multiple of four."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16_000)
        sound.writeframes(b"\x11\x22\x33\x44" * ((size - 44) // 4))
    return file.getvalue()


def transcription(size: int) -> Request:
    """The upload of a WAV file of that many bytes."""
    disposition = f"--{_BOUNDARY}\r\nContent-Disposition: form-data; name="
    head = (
        f'{disposition}"model"\r\n\r\nwhisper\r\n'
        f'{disposition}"response_format"\r\n\r\njson\r\n'
        f'{disposition}"file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    )
    body = b"".join((head.encode(), _wav(size), f"\r\n--{_BOUNDARY}--\r\n".encode()))
    return Request("/v1/audio/transcriptions", f"multipart/form-data; boundary={_BOUNDARY}", body)


def ask(port: int, request: Request, timeout: float = 120) -> tuple[int, bytes]:
    """Status and body of one answer, on a connection of its own."""
    with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=timeout)) as connection:
        # A proxy may refuse an upload before it is sent completely; its answer can still be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request("POST", request.path, request.body, request.headers | {"Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read()


def _wrk(port: int, request: Request, concurrency: int, secs: int) -> dict[str, Any]:
    command = ["wrk", "-t1", f"-c{concurrency}", f"-d{secs}s", "--timeout", "30s", "-s", str(_SCRIPT)]
    for name, value in request.headers.items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.NamedTemporaryFile() as body:
        body.write(request.body)
        body.flush()
        done = subprocess.run(
            [*command, f"http://{HOST}:{port}{request.path}"],
            env=os.environ | {"BODY": body.name},
            capture_output=True,
            text=True,
            timeout=secs + 120,
        )
    for line in done.stdout.splitlines():
        if line.startswith("JSON "):
            figures: dict[str, Any] = json.loads(line.removeprefix("JSON "))
            return figures
    raise Failed(f"wrk: {(done.stderr or done.stdout)[-300:]}")


def load(target: Target, request: Request, concurrency: int, secs: int) -> dict[str, Any]:
    """Sends as many requests as the proxy answers in `secs` seconds on `concurrency` keep-alive connections."""
    with metered(target.pid) as usage:
        figures = _wrk(target.port, request, concurrency, secs)
    good, seconds = figures["requests"] - figures["bad_status"], figures["us"] / 1e6
    return {
        "c": concurrency,
        "rps": round(good / seconds, 1),
        "p50_ms": round(figures["p50"] / 1000, 3),
        "p90_ms": round(figures["p90"] / 1000, 3),
        "p99_ms": round(figures["p99"] / 1000, 3),
        "max_ms": round(figures["max"] / 1000, 2),
        "requests": figures["requests"],
        "errors": figures["bad_status"] + figures["broken"],
        "down_mb_s": round(figures["bytes"] / seconds / 1e6, 2),
        "up_mb_s": round(good * len(request.body) / seconds / 1e6, 2),
        "cpu_s_per_1k": round(usage.cpu_s / good * 1000, 4) if usage.cpu_s is not None and good else None,
        "cpu_share": usage.cpu_share,
        "rss_peak_mb": usage.rss_peak_mb,
    }
