"""A server whose output nobody reads."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.conftest import MASTER_KEY, environment, standard_config
from tests.fakes.upstream import Upstream

HEADERS = {"authorization": f"Bearer {MASTER_KEY}"}
HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}


@contextlib.contextmanager
def unread(folder: Path, upstream: Upstream, *args: str) -> Iterator[tuple[subprocess.Popen[bytes], httpx.Client, int]]:
    """A server whose standard streams are a pipe that is full from the start, and the pipe's reading end."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x")
    os.set_blocking(writing, True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = standard_config(upstream.url)
    config["general_settings"] = config.get("general_settings", {}) | {"log_level": "debug"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "proxy", "--config", str(folder / "config.yaml"), "--host", "127.0.0.1"]
    process = subprocess.Popen(
        [*command, "--port", str(port), *args],
        stdin=subprocess.DEVNULL, stdout=writing, stderr=writing, env=environment(folder),
    )  # fmt: skip
    os.close(writing)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=HEADERS, timeout=30) as client:
        try:
            wait(lambda: client.get("/health/readiness").status_code == 200)
            yield process, client, reading
        finally:
            os.close(reading)
            process.kill()
            process.wait()


def wait(condition: object) -> None:
    limit = time.monotonic() + 30
    while time.monotonic() < limit:
        with contextlib.suppress(httpx.TransportError):
            if condition():  # type: ignore[operator]
                return
        time.sleep(0.05)
    raise AssertionError("not in time")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_calls_and_health_are_answered_and_the_end_is_clean(tmp_path: Path, upstream: Upstream, workers: str) -> None:
    with unread(tmp_path, upstream, "--workers", workers) as (process, client, _):
        for _ in range(50):
            assert client.post("/v1/audio/speech", json=HELLO).status_code == 200
            assert client.post("/v1/audio/speech", json=HELLO | {"model": "no-such-model"}).status_code == 404
        assert client.get("/health/liveliness").status_code == 200
        assert client.get("/health").status_code == 200
        assert "audio_proxy_log_dropped_lines_total 0.0" in client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_a_supervisor_replaces_a_worker_that_died(tmp_path: Path, upstream: Upstream) -> None:
    with unread(tmp_path, upstream, "--workers", "2") as (process, client, _):
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not listed.exists():
            pytest.skip("needs Linux")
        before = listed.read_text().split()
        os.kill(int(before[0]), signal.SIGKILL)
        wait(lambda: len(set(listed.read_text().split()) - set(before)) == 1)
        assert client.post("/v1/audio/speech", json=HELLO).status_code == 200
        process.terminate()
        process.wait(30)


def test_whoever_reads_at_last_gets_every_line(tmp_path: Path, upstream: Upstream) -> None:
    with unread(tmp_path, upstream) as (process, client, reading):
        ids = [f"unread-{number}" for number in range(100)]
        for identity in ids:
            client.post("/v1/audio/speech", json=HELLO, headers={"x-request-id": identity})
        process.send_signal(signal.SIGTERM)
        read = b""
        while chunk := os.read(reading, 65536):
            read += chunk
        assert process.wait(30) == 0
    assert b"RUNNING on http" in read
    assert [identity for identity in ids if f'"{identity}"'.encode() not in read] == []
