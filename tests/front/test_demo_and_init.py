"""The two commands that a newcomer meets first."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from proxy.commands.init import STARTERS
from proxy.config.environment import read_env_file
from proxy.providers.registry import VENDORS
from tests.conftest import command, start


def test_demo_speaks_a_sentence_hears_it_and_ends_without_lines_for_a_server_that_is_gone(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("pocketsphinx")
    done = command("demo", "--once", folder=tmp_path)
    assert "curl" not in done.stdout
    assert "audio-proxy init" in done.stdout
    assert done.returncode == 0, done.stderr
    heard = re.search(r"^Transcribed: (.+)$", done.stdout, re.MULTILINE)
    assert heard
    assert "fox" in heard[1]
    speech_file = re.search(r"audio/mpeg in (\S+)$", done.stdout, re.MULTILINE)
    assert speech_file
    assert Path(speech_file[1]).stat().st_size > 1000


def test_demo_goes_on_serving_and_prints_the_curl_lines(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    pytest.importorskip("pocketsphinx")
    with subprocess.Popen([sys.executable, "-m", "proxy", "demo"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if "audio-proxy init" in line:
                break
        process.send_signal(signal.SIGINT)
    assert process.returncode == 0
    assert len(re.findall(r"^curl http://127\.0\.0\.1:\d+/v1/audio/", said, re.MULTILINE)) == 2


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def master_key(folder: Path) -> str:
    return read_env_file(folder / ".env")["PROXY_MASTER_KEY"]


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_init_writes_a_file_for_all_to_read_and_its_keys_into_another_for_the_owner(tmp_path: Path, umask: int) -> None:
    env = {"OPENAI_API_KEY": "sk-from-the-environment"}
    earlier = os.umask(umask)
    try:
        done = command("init", folder=tmp_path, env=env)
    finally:
        os.umask(earlier)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "config.yaml"
    assert (mode(path), mode(tmp_path / ".env")) == (0o644, 0o600)
    text, key = path.read_text(), master_key(tmp_path)
    assert len(key) > 32
    assert key not in text + done.stdout
    assert "sk-from-the-environment" not in text + done.stdout + (tmp_path / ".env").read_text()
    written = yaml.safe_load(text)
    assert written["general_settings"]["master_key"] == "os.environ/PROXY_MASTER_KEY"
    assert "os.environ/OPENAI_API_KEY" in text
    assert {"tts", "whisper", "tts-local", "whisper-local"} <= {entry["model_name"] for entry in written["model_list"]}
    assert written["router_settings"]["fallbacks"] == [{"tts": ["tts-local"]}, {"whisper": ["whisper-local"]}]
    checked = command("check", folder=tmp_path, env=env)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stderr


def test_what_init_prints_works_when_it_is_pasted(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    folder = tmp_path / "a folder"
    folder.mkdir()
    done = command("init", "--config", "my config.yaml", folder=tmp_path, cwd=folder)
    _, start_it, *_, call_it = [block.strip() for block in re.split(r"^.*:\n\n", done.stdout, flags=re.MULTILINE)]
    assert start_it.startswith("audio-proxy --config ")
    script = start_it.replace("audio-proxy", f"exec {sys.executable} -m proxy") + " --host 127.0.0.1 --port 0"
    server = start(["bash", "-c", script], tmp_path, cwd=folder)
    try:
        asked = call_it.replace("http://localhost:4000", server.url).replace("curl", "curl -sS --fail-with-body")
        subprocess.run(["bash", "-euc", asked], cwd=folder, check=True, timeout=60)
        assert (folder / "speech.mp3").stat().st_size > 1000
    finally:
        assert server.stop() == 0


def test_init_keeps_the_variables_that_are_there(tmp_path: Path) -> None:
    """Vendors' keys among them are found, and a second configuration shares the master key."""
    env_file = tmp_path / ".env"
    env_file.write_text("OPENAI_API_KEY=sk-in-the-file\nOTHER=1")
    env_file.chmod(0o640)
    done = command("init", folder=tmp_path)
    assert "chmod 600 .env" in done.stdout
    assert env_file.read_text().startswith("OPENAI_API_KEY=sk-in-the-file\nOTHER=1\n")
    assert mode(env_file) == 0o640
    assert "os.environ/OPENAI_API_KEY" in (tmp_path / "config.yaml").read_text()
    before = env_file.read_text()
    assert command("init", "--config", "two.yaml", folder=tmp_path).returncode == 0
    assert command("init", "--force", folder=tmp_path).returncode == 0
    assert env_file.read_text() == before
    for name in ("config.yaml", "two.yaml"):
        assert command("check", "--config", name, folder=tmp_path).returncode == 0


def test_init_makes_no_master_key_if_the_environment_has_one(tmp_path: Path) -> None:
    done = command("init", folder=tmp_path, env={"PROXY_MASTER_KEY": "sk-of-the-environment"})
    assert done.returncode == 0
    assert not (tmp_path / ".env").exists()
    assert 'Bearer $PROXY_MASTER_KEY"' in done.stdout


def test_init_says_where_data_will_be(tmp_path: Path) -> None:
    done = command("init", folder=tmp_path, env={"AUDIO_PROXY_DATA": "data"})
    assert f"stored in {tmp_path}/data/audio-proxy.db" in done.stdout


@pytest.mark.parametrize("obstacle", [".env/", "config.yaml/", "config.yaml -> nowhere"])
def test_init_writes_nothing_if_it_cannot_write_all(tmp_path: Path, obstacle: str) -> None:
    name = obstacle.partition("/")[0].partition(" ")[0]
    if obstacle.endswith("/"):
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to("nowhere")
    done = command("init", folder=tmp_path)
    assert done.returncode in (1, 2)
    assert name in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]


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
    assert not (tmp_path / ".env").exists()
    assert command("init", "--force", folder=tmp_path).returncode == 0
    assert "model_list" in path.read_text()
