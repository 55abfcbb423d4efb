"""Workers whose supervisor is gone."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.conftest import Server, launch, standard_config
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import Upstream
from tests.front.wire import AUTHORIZATION, JSON, Wire

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="asks Linux for the workers' ids")

SPEAK = "/v1/audio/speech"
HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}


@contextmanager
def two_workers(upstream: Upstream, folder: Path) -> Iterator[tuple[Server, list[int]]]:
    """The server and its workers' process ids; all are killed afterwards."""
    server = launch(standard_config(upstream.url), folder, workers=2)
    workers = children(server)
    try:
        yield server, workers
    finally:
        for process in filter(runs, [server.process.pid, *workers]):
            os.kill(process, signal.SIGKILL)
        server.process.wait()


def children(server: Server) -> list[int]:
    pid = server.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def runs(pid: int) -> bool:
    """Whether the process exists and is not a zombie: its parent may be gone."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < limit, "timed out"
        time.sleep(0.02)


def accepts(server: Server) -> bool:
    try:
        return httpx.get(server.url + "/health/liveliness", timeout=1).status_code == 200
    except httpx.TransportError:
        return False


def test_they_finish_their_streams_and_stop(upstream: Upstream, tmp_path: Path) -> None:
    gate = upstream.gate()
    upstream.behave("tts-1", gate=gate)
    gate.release()
    body = json.dumps(HELLO).encode()
    with two_workers(upstream, tmp_path) as (server, workers), Wire(server.port) as wire:
        wire.head("POST", SPEAK, {**JSON, "Content-Length": str(len(body))})
        wire.send(body)
        response = wire.begin()
        received = response.read(1)
        server.process.kill()
        until(lambda: not accepts(server))
        assert any(map(runs, workers))
        gate.open()
        assert received + response.read() == SPEECH["mp3"]
        until(lambda: not any(map(runs, workers)))
        assert "the supervisor is gone" in server.log()
        assert "Traceback" not in server.log()


def test_a_replacement_worker_stops_as_well(upstream: Upstream, tmp_path: Path) -> None:
    with two_workers(upstream, tmp_path) as (server, workers):
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(children(server)) == 2 and workers[0] not in children(server))
        workers[:] = children(server)
        until(lambda: accepts(server))
        server.process.kill()
        until(lambda: not any(map(runs, workers)))
        assert not accepts(server)


def test_a_normal_stop_does_not_look_like_a_lost_supervisor(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url), workers=2)
    assert httpx.post(server.url + SPEAK, json=HELLO, headers={"authorization": AUTHORIZATION}).status_code == 200
    assert server.stop() == 0
    assert "the supervisor is gone" not in server.log()
