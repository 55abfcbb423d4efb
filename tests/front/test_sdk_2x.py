"""The essentials with the ``openai`` 2.x package, in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MASTER_KEY, ROOT, Server, environment
from tests.fakes import answers
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import Upstream

_SCRIPT = Path(__file__).with_name("sdk_2x_script.py")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with openai 2.x; an installer without network skips the tests, loudly, and fails them in CI."""
    folder = tmp_path_factory.mktemp("openai-2x")
    wanted = ["--target", str(folder), "openai>=2,<3"]
    installers = [[sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]]
    if uv := shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent)):
        installers.insert(0, [uv, "pip", "install", "--quiet", "--python", sys.executable, *wanted])
    said = ""
    for installer in installers:
        done = subprocess.run(installer, capture_output=True, text=True, timeout=180, check=False)
        if done.returncode == 0:
            return folder
        said += done.stderr
    reason = f"openai 2.x could not be installed: {said[-500:]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def results(packages: Path, proxy: Server, fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the script saw, by check; one process for all of them."""
    fake.reset()
    env = environment(tmp_path_factory.mktemp("home")) | {"PYTHONPATH": os.pathsep.join([str(packages), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), proxy.url + "/v1", MASTER_KEY],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_it_is_2x(results: dict[str, Any]) -> None:
    assert results["version"].startswith("2.")


def test_speech_in_six_formats(results: dict[str, Any]) -> None:
    assert results["speech"] == {wanted: len(audio) for wanted, audio in SPEECH.items()}


def test_streamed_speech(results: dict[str, Any]) -> None:
    assert results["streamed"] == len(SPEECH["mp3"])


def test_transcription_in_each_format(results: dict[str, Any]) -> None:
    assert results["json"] == answers.TEXT
    assert results["srt"] == answers.SRT
    assert results["vtt"] == answers.VTT
    assert results["text"] == answers.TEXT + "\n"
    assert results["words"] == ["The", "quick", "brown"]


def test_transcription_events(results: dict[str, Any]) -> None:
    assert results["events"] == ["transcript.text.delta"] * 9 + ["transcript.text.done"]


def test_translation(results: dict[str, Any]) -> None:
    assert results["translation"] == answers.TEXT


def test_errors(results: dict[str, Any]) -> None:
    assert results["too large"] == ["APIStatusError", 413]
    assert results["too large, 8 MB"] == ["APIStatusError", 413]
    assert results["no model"] == ["NotFoundError", 404]
    assert results["no key"] == ["AuthenticationError", 401]
    assert results["no voice"] == ["BadRequestError", 400]


def test_the_async_client(results: dict[str, Any]) -> None:
    assert results["async"] == len(SPEECH["mp3"])
