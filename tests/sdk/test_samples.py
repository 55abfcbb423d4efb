"""Code written for LiteLLM's functions, in programs of their own; only the package's name was changed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import answers
from tests.fakes.samples import SPEECH
from tests.fakes.upstream import Upstream

ROOT = Path(__file__).resolve().parents[2]

QUICK_START = """
from pathlib import Path
from proxy import speech
import os 

os.environ["OPENAI_API_KEY"]="sk-.."

speech_file_path = Path(__file__).parent /"speech.mp3"
response = speech(
        model="openai/tts-1",
        voice="alloy",
input="the quick brown fox jumped over the lazy dogs",
)
response.stream_to_file(speech_file_path)
"""  # noqa: W291

ASYNC_USAGE = """
from proxy import aspeech
from pathlib import Path
import os, asyncio

os.environ["OPENAI_API_KEY"]="sk-.."

async def test_async_speech():
    speech_file_path = Path(__file__).parent /"speech.mp3"
    response =await aspeech(
            model="openai/tts-1",
            voice="alloy",
input="the quick brown fox jumped over the lazy dogs",
            api_base=None,
            api_key=None,
            organization=None,
            project=None,
            max_retries=1,
            timeout=600,
            client=None,
            optional_params={},
)
    response.stream_to_file(speech_file_path)

asyncio.run(test_async_speech())
"""


@pytest.mark.parametrize("sample", [QUICK_START, ASYNC_USAGE], ids=["sync", "async"])
def test_the_sample_runs_and_writes_its_file(sample: str, upstream: Upstream, tmp_path: Path) -> None:
    # The sample's key is a placeholder, so the fake asks for none.
    upstream.behave("tts-1", answer=lambda request: answers.speech(request.json))
    program = tmp_path / "sample.py"
    program.write_text(sample)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "OPENAI_BASE_URL": upstream.url}
    done = subprocess.run(
        [sys.executable, "-X", "dev", str(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    # What asyncio's debug mode says of a step that took long is about the machine.
    complaints = re.sub(r"^Executing <.*> took \S+ seconds\n", "", done.stderr, flags=re.MULTILINE)
    assert (done.returncode, done.stdout, complaints) == (0, "", "")
    assert (tmp_path / "speech.mp3").read_bytes() == SPEECH["mp3"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sample.py", "speech.mp3"]
    assert upstream.last.header("authorization") == "Bearer sk-.."
    assert upstream.last.json == {
        "model": "tts-1",
        "input": "the quick brown fox jumped over the lazy dogs",
        "voice": "alloy",
        "response_format": "mp3",
    }
