"""The proxies that can be compared, and how each is started and stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from load import HOST
from meter import alive, tree

HERE = Path(__file__).resolve().parent
WORK = HERE / "work"
#: Each proxy has this core to itself. The upstream and the load share LOAD_CORE.
PROXY_CORE = 0
LOAD_CORE = 1
UPSTREAM = HERE / "mock_upstream"
UPSTREAM_PORT = 9001


@dataclass(frozen=True)
class Peer:
    """A proxy. Without a command, it is running already, and its CPU time and memory are not measured."""

    port: int
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    start_timeout: float = 60.0
    #: Seconds of load per step, for proxies that answer too few requests in the usual time.
    secs: int | None = None


PEERS: Mapping[str, Peer] = {
    "direct": Peer(UPSTREAM_PORT),
    "nginx": Peer(8101, ("nginx", "-p", str(WORK), "-c", str(HERE / "nginx.conf"))),
    "audio-proxy": Peer(
        8141, ("audio-proxy", "--config", str(HERE / "audio-proxy.yaml"), "--host", HOST, "--port", "8141")
    ),
    "litellm": Peer(
        8102,
        (
            str(WORK / "venv-litellm/bin/litellm"),
            "--config",
            str(HERE / "litellm.yaml"),
            "--host",
            HOST,
            "--port",
            "8102",
        ),
        env={
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_TELEMETRY": "False",
        },
        start_timeout=120,
        secs=6,
    ),
}


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 0.5):
        return True
    return False


@contextlib.contextmanager
def upstream() -> Iterator[None]:
    """Runs the upstream during the block. If one is running already, it is used and left running."""
    if _listens(UPSTREAM_PORT):
        yield
        return
    process = subprocess.Popen([UPSTREAM, str(UPSTREAM_PORT)])
    try:
        while process.poll() is None and not _listens(UPSTREAM_PORT):
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def started(peer: Peer, log: Path) -> Iterator[subprocess.Popen[bytes] | None]:
    """Runs the peer's process on its core during the block, then ends it with all its descendants."""
    if not peer.command:
        yield None
        return
    with log.open("ab") as output:
        command = ["taskset", "-c", str(PROXY_CORE), *peer.command]
        process = subprocess.Popen(command, env=os.environ | peer.env, stdout=output, stderr=output)
    try:
        yield process
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    pids = tree(process.pid)
    for number, patience in ((signal.SIGTERM, 6), (signal.SIGKILL, 3)):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        give_up = time.monotonic() + patience
        while time.monotonic() < give_up:
            process.poll()
            if not any(alive(pid) for pid in pids):
                return
            time.sleep(0.05)
