"""The house's front door: the real command on a real port, with the fake OpenAI behind it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import yaml

from tests.fakes.upstream import KEY, Upstream
from tests.fakes.upstream import running as running_upstream
from tests.slow import is_slow

ROOT = Path(__file__).resolve().parent.parent
MASTER_KEY = "sk-test-7f3a9c21d4e8b605c0ffee"
#: A card number that tests speak of; no real one.
CARD = "4929 3813 3266 4295"
#: What no log, no metric and no row of any server of any test may hold.
CANARIES = (MASTER_KEY, KEY, CARD, CARD.replace(" ", ""))
#: Nothing listens there: port 1 of the loopback interface.
NOWHERE = "http://127.0.0.1:1/v1"
_RUNNING = re.compile(r"^RUNNING on (https?://\S+)$", re.MULTILINE)


def group(name: str, model: str, url: str | None, mode: str | None = None, **params: Any) -> dict[str, Any]:
    """One entry of ``model_list``; without ``url`` it is OpenAI's own server, whose ranges are declared."""
    base = {"api_base": url} if url else {}
    entry: dict[str, Any] = {"model_name": name, "litellm_params": {"model": model, "api_key": KEY} | base | params}
    return entry | ({"model_info": {"mode": mode}} if mode else {})


def standard_config(url: str, **general: Any) -> dict[str, Any]:
    """Every kind of model group that the front-door tests speak to."""
    speech, transcription, translation = "audio_speech", "audio_transcription", "audio_translation"
    return {
        "model_list": [
            group("tts", "openai/tts-1", url),
            group("gpt-tts", "openai/gpt-4o-mini-tts", url),
            group("selfhosted", "openai/kokoro", url, speech),
            group("strict", "openai/kokoro-strict", url, speech, drop_unknown=True),
            group("narrator", "openai/kokoro-narrator", url, speech, voice="alloy", voices={"alloy": "am_adam"}),
            group("whisper", "openai/whisper-1", url, transcription),
            group("bare", "whisper-1", url, transcription),
            group("gpt-transcribe", "openai/gpt-transcribe", url),
            group("gpt-4o-transcribe", "openai/gpt-4o-transcribe", url),
            group("diarize", "openai/gpt-4o-transcribe-diarize", url),
            group("selfhosted-stt", "openai/faster-whisper", url, transcription),
            group("strict-stt", "openai/faster-whisper", url, transcription, drop_unknown=True),
            group("translator", "openai/whisper-1", url, translation),
            group("tiny", "openai/whisper-1", url, transcription, max_file_size_mb=0.0001),
            group("bad-key", "openai/tts-1", url, speech, api_key="sk-upstream-wrong-0d9c8b7a6f5e"),
            group("nowhere", "openai/tts-1", NOWHERE, speech),
            # Only for requests that are refused before they leave: no test may call it.
            group("openai-tts", "openai/tts-1", None, timeout=1),
            group("openai-whisper", "openai/whisper-1", None, timeout=1),
            group("openai-gpt-4o", "openai/gpt-4o-transcribe", None, timeout=1),
            group("impatient", "openai/impatient", url, speech, timeout=0.6),
        ],
        "general_settings": {"master_key": MASTER_KEY, "drain_delay": 0} | general,
    }


@dataclass
class Server:
    """A running ``audio-proxy``."""

    url: str
    process: subprocess.Popen[bytes]
    stdout_path: Path
    log_path: Path

    @property
    def config_path(self) -> Path:
        return self.log_path.with_name("config.yaml")

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def stdout(self) -> str:
        return self.stdout_path.read_text()

    def log(self) -> str:
        """Everything that the server wrote, to either stream."""
        return self.stdout() + self.log_path.read_text()

    def log_lines(self, request_id: str, *, count: int = 1) -> list[str]:
        """The lines that name a request; they may be written shortly after the answer."""
        limit = time.monotonic() + 5
        while len(found := [line for line in self._whole_lines() if request_id in line]) < count:
            assert time.monotonic() < limit, f"no line names {request_id} in\n{self.log()}"
            time.sleep(0.02)
        return found

    def _whole_lines(self) -> list[str]:
        """Without one that is being written."""
        texts = (self.stdout_path.read_text(), self.log_path.read_text())
        return [line for text in texts for line in text[: text.rfind("\n") + 1].splitlines()]

    def peak_memory(self) -> int:
        """Bytes of the largest resident set so far, the largest of its processes (Linux)."""
        pids = [self.process.pid, *_children(self.process.pid)]
        found = [re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
        return max(int(match[1]) for match in found if match) * 1024

    def leaks(self) -> list[str]:
        """Secrets in what it left behind: its logs, its database, its journal."""
        folder = self.log_path.parent
        kept = [path for name in ("audio-proxy.db*", "audio-proxy-ledger/*") for path in folder.glob(name)]
        written = [path.read_bytes() for path in (self.stdout_path, self.log_path, *kept)]
        return [canary for canary in CANARIES if any(canary.encode() in content for content in written)]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """SIGTERM, then the exit status. No secret may be in anything that it wrote."""
        if self.process.poll() is None:
            self.terminate()
        try:
            status = self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"the server did not end on SIGTERM:\n{self.log()}") from None
        assert self.leaks() == []
        return status


def _children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a server's process gets, and nothing else."""
    base = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    measured = {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")}
    return base | measured | dict(extra or {})


def launch(
    config: str | Mapping[str, Any],
    folder: Path,
    *,
    args: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    workers: int = 1,
    host: str = "127.0.0.1",
    cwd: Path | None = None,
) -> Server:
    """Start the command and wait for its RUNNING line; a later ``--host`` in ``args`` wins over ``host``."""
    path = folder / "config.yaml"
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(dict(config), sort_keys=False))
    command = [sys.executable, "-m", "proxy", "--config", str(path), "--host", host, "--port", "0"]
    command += ["--workers", str(workers)] if workers != 1 else []
    return start([*command, *args], folder, env=env, cwd=cwd)


def start(
    command: Sequence[str], folder: Path, *, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Server:
    stdout_path, log_path = folder / "stdout.txt", folder / "log.txt"
    with stdout_path.open("wb") as stdout, log_path.open("wb") as log:
        process = subprocess.Popen(
            list(command), stdin=subprocess.DEVNULL, stdout=stdout, stderr=log, env=environment(folder, env), cwd=cwd
        )
    limit = time.monotonic() + 30
    while not (line := _RUNNING.search(stdout_path.read_text())):
        said = stdout_path.read_text() + log_path.read_text()
        if process.poll() is not None:
            pytest.fail(f"{command} ended with {process.returncode} before its RUNNING line:\n{said}")
        if time.monotonic() > limit:
            process.kill()
            pytest.fail(f"{command} printed no RUNNING line:\n{said}")
        time.sleep(0.01)
    return Server(line[1], process, stdout_path, log_path)


def command(
    *args: str, folder: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``audio-proxy ARGS`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", *args],
        env=environment(folder, env),
        cwd=cwd or folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.fixture(scope="session")
def fake() -> Iterator[Upstream]:
    with running_upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(fake: Upstream) -> Iterator[Upstream]:
    """The session's fake, fresh: no requests, no behaviours. Nothing malformed may ever arrive there."""
    fake.reset()
    yield fake
    broken = [request for request in fake.requests if request.broken]
    fake.reset()
    assert not broken


@pytest.fixture(scope="session")
def proxy(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with the standard configuration for all tests that need nothing else."""
    server = launch(standard_config(fake.url), tmp_path_factory.mktemp("proxy"))
    yield server
    metrics = httpx.get(server.url + "/metrics", headers={"authorization": f"Bearer {MASTER_KEY}"}).text
    assert [canary for canary in CANARIES if canary in metrics] == []
    assert server.stop() == 0, server.log()


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """``serve(config, args=(), env=None, workers=1)``: a server of the test's own, ended with SIGTERM and status 0."""
    servers: list[Server] = []

    def run(config: str | Mapping[str, Any], **settings: Any) -> Server:
        servers.append(launch(config, tmp_path_factory.mktemp("server"), **settings))
        return servers[-1]

    yield run
    statuses = [(server.stop(), server) for server in servers]
    for status, server in statuses:
        assert status == 0, server.log()


@pytest.fixture
def server(proxy: Server) -> Server:
    """The standard server; a module that needs another one has a fixture of this name."""
    return proxy


@pytest.fixture
def http(server: Server) -> Iterator[httpx.Client]:
    """A plain client of the module's server, with the key."""
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
def sdk(proxy: Server) -> Iterator[openai.OpenAI]:
    """OpenAI's package on the standard server, without retries."""
    with openai.OpenAI(base_url=proxy.url + "/v1", api_key=MASTER_KEY, max_retries=0, timeout=20) as client:
        yield client


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_slow(item.nodeid, item.fixturenames if isinstance(item, pytest.Function) else ()):
            item.add_marker(pytest.mark.slow)


def pytest_report_header() -> str:
    return f"openai {openai.__version__}"
