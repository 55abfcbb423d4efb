"""Where data lies: a server and the commands of a shell use the same database, or the command refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.conftest import MASTER_KEY, Server, command, group, launch, standard_config
from tests.fakes.upstream import Upstream


def models(server: Server, key: str) -> int:
    return httpx.get(server.url + "/v1/models", headers={"authorization": f"Bearer {key}"}).status_code


@pytest.mark.parametrize("workers", [1, 2])
def test_a_command_without_the_servers_variables_changes_nothing(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path, workers: int
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    server = serve(standard_config(upstream.url), env={"AUDIO_PROXY_DATA": str(data)}, workers=workers)
    folder, config = server.config_path.parent, ("--config", str(server.config_path))
    assert f'"database":"{data}/audio-proxy.db"' in server.log()
    for words in (["keys", "create"], ["keys", "list"], ["keys", "revoke", "x"], ["usage"]):
        refused = command(*words, *config, folder=folder)
        assert (refused.returncode, refused.stdout) == (2, "")
        for part in (f"{folder}/audio-proxy.db", "data/audio-proxy.db", f"(process {server.process.pid})", ".env"):
            assert part in refused.stderr
    assert not (folder / "audio-proxy.db").exists()

    env_file = folder / ".env"
    env_file.write_text(f"AUDIO_PROXY_DATA={data}\n")
    created = command("keys", "create", *config, folder=folder, cwd=tmp_path)
    assert created.returncode == 0, created.stderr
    assert f"Database: {data}/audio-proxy.db\n" in created.stderr
    assert models(server, created.stdout.strip()) == 200


def test_what_is_documented_for_systemd_makes_keys_that_the_server_takes(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path
) -> None:
    """The service gets the file's variables; a shell has none of them, and another folder."""
    data = tmp_path / "state"
    data.mkdir()
    variables = {"AUDIO_PROXY_DATA": str(data), "PROXY_MASTER_KEY": MASTER_KEY, "TTS_KEY": "sk-x"}
    config = {"model_list": [group("tts", "openai/tts-1", upstream.url, api_key="os.environ/TTS_KEY")]}
    server = serve(config, env=variables)
    text = "".join(f"{name}={value}\n" for name, value in variables.items())
    (server.config_path.parent / ".env").write_text(text)
    created = command("keys", "create", "--config", str(server.config_path), folder=tmp_path)
    assert created.returncode == 0, created.stderr
    assert models(server, created.stdout.strip()) == 200


def test_two_servers_with_two_configurations_do_not_disturb_each_other(
    upstream: Upstream, serve: Callable[..., Server]
) -> None:
    one, two = serve(standard_config(upstream.url)), serve(standard_config(upstream.url))
    for server, other in ((one, two), (two, one)):
        config = ("--config", str(server.config_path))
        key = command("keys", "create", *config, folder=server.config_path.parent).stdout.strip()
        assert (models(server, key), models(other, key)) == (200, 401)


def test_a_database_that_the_server_does_not_use_is_reported_at_startup(upstream: Upstream, tmp_path: Path) -> None:
    """A command may have made it while no server was running."""
    (tmp_path / "data").mkdir()
    command_made = tmp_path / "audio-proxy.db"
    for reported in (False, True):
        server = launch(standard_config(upstream.url), tmp_path, env={"AUDIO_PROXY_DATA": "data"})
        assert server.stop() == 0
        assert ("a database next to the configuration is not used" in server.log()) is reported
        command_made.touch()


def test_check_says_where_data_is(upstream: Upstream, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(json.dumps(standard_config(upstream.url)))
    checked = command("check", folder=tmp_path, env={"AUDIO_PROXY_DATA": "data"})
    assert checked.stdout.splitlines()[-1] == f"Virtual keys and calls are stored in {tmp_path}/data/audio-proxy.db"
