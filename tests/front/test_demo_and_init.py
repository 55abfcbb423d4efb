"""The two commands that a newcomer meets first."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
import yaml

from proxy.commands.init import STARTERS
from proxy.providers.registry import VENDORS
from tests.conftest import command


def test_demo_speaks_a_sentence_hears_it_and_prints_the_curl_lines(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("pocketsphinx")
    done = command("demo", "--once", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    heard = re.search(r"^Transcribed: (.+)$", done.stdout, re.MULTILINE)
    assert heard
    assert "fox" in heard[1]
    speech_file = re.search(r"audio/mpeg in (\S+)$", done.stdout, re.MULTILINE)
    assert speech_file
    assert Path(speech_file[1]).stat().st_size > 1000
    assert len(re.findall(r"^curl http://127\.0\.0\.1:\d+/v1/audio/", done.stdout, re.MULTILINE)) == 2


def test_init_writes_what_check_accepts_with_a_strong_key_for_its_owner_only(tmp_path: Path) -> None:
    env = {"OPENAI_API_KEY": "sk-from-the-environment"}
    done = command("init", folder=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "config.yaml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert "sk-from-the-environment" not in text + done.stdout
    written = yaml.safe_load(text)
    assert "os.environ/OPENAI_API_KEY" in text
    assert {"tts", "whisper", "tts-local", "whisper-local"} <= {entry["model_name"] for entry in written["model_list"]}
    assert written["router_settings"]["fallbacks"] == [{"tts": ["tts-local"]}, {"whisper": ["whisper-local"]}]
    checked = command("check", folder=tmp_path, env=env)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr


def test_init_offers_every_vendor_that_it_finds_a_key_of_and_none_that_ends_soon(tmp_path: Path) -> None:
    env = {VENDORS[name].key_variable or "": "k" * 20 for name in STARTERS}
    assert command("init", folder=tmp_path, env=env).returncode == 0
    checked = command("check", folder=tmp_path, env=env)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr
    for models in STARTERS.values():
        assert all(model in checked.stdout for model in models.values())
    for model in (model for models in STARTERS.values() for model in models.values()):
        vendor, _, name = model.partition("/")
        declared = VENDORS[vendor].declared(name)
        assert declared is not None, f"{model} is not in the vendor's table"
        assert declared.shutdown_date is None


def test_init_without_any_key_serves_the_local_engines(tmp_path: Path) -> None:
    assert command("init", "--config", "mine.yaml", folder=tmp_path).returncode == 0
    checked = command("check", "--config", "mine.yaml", folder=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "local/espeak-ng" in checked.stdout


def test_init_overwrites_nothing_unless_told_to(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("mine: yes\n")
    done = command("init", folder=tmp_path)
    assert (done.returncode, path.read_text()) == (2, "mine: yes\n")
    assert "--force" in done.stderr
    assert command("init", "--force", folder=tmp_path).returncode == 0
    assert "model_list" in path.read_text()
