"""What ``audio-proxy check`` and the start report about models that their vendor retires."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.conftest import MASTER_KEY, Server, command, group

CONFIG = {
    "model_list": [
        group("mouth", "openai/tts-1", None),
        group("own", "openai/kokoro", "http://127.0.0.1:1/v1", "audio_speech"),
    ],
    "general_settings": {"master_key": MASTER_KEY, "drain_delay": 0},
}
SAID = (
    r"'mouth' \(openai/tts-1\) (is retired in \d+ days?, on|is retired today,|was retired \d+ days? ago, on) 2027-01-06"
)


def test_check_names_them_with_the_days_left(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    done = command("check", "--config", str(path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"^{re.escape(str(path))}:\d+: {SAID}$", done.stdout, re.MULTILINE), done.stdout
    assert len(re.findall("2027-01-06", done.stdout)) == 1


def test_the_start_warns_once(serve: Callable[..., Server]) -> None:
    server = serve(CONFIG)
    assert re.search(rf"^warning: models near or past retirement: {SAID} \(see ", server.log(), re.MULTILINE)
    assert server.log().count("2027-01-06") == 1
