"""Commands and a running server with the same configuration use the same database, or the command says so."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.config import Config, Environment, GeneralSettings
from proxy.errors import ConfigError
from proxy.storage import preparation
from proxy.storage.running import announced, check_same_database, database_place, unused_database
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract sockets")


def config(path: Path, data: str = "", database_url: str | None = None) -> Config:
    general = GeneralSettings.model_validate({"database_url": database_url} if database_url else {})
    return Config(path=str(path), deployments=(), general=general, environment=Environment({"AUDIO_PROXY_DATA": data}))


def test_another_data_folder_is_an_error_as_long_as_the_server_runs(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    beside, elsewhere = config(path), config(path, "data")
    check_same_database(beside)
    with announced(elsewhere):
        check_same_database(elsewhere)
        with pytest.raises(ConfigError) as raised:
            check_same_database(beside)
        message = str(raised.value)
        assert f"database {tmp_path}/audio-proxy.db" in message
        assert f"process {os.getpid()}" in message
        assert "data/audio-proxy.db. Both need the same $AUDIO_PROXY_DATA" in message
        assert f"{tmp_path}/.env" in message
    check_same_database(beside)


def test_another_configuration_is_free_to_use_another_database(tmp_path: Path) -> None:
    with announced(config(tmp_path / "a.yaml", "data")):
        check_same_database(config(tmp_path / "b.yaml"))


def test_of_several_servers_with_one_configuration_one_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with announced(config(path, "one")), announced(config(path, "two")), announced(config(path, "two")):
        check_same_database(config(path, "two"))
        check_same_database(config(path, "one"))
        with pytest.raises(ConfigError):
            check_same_database(config(path, "three"))


def test_links_lead_to_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with announced(config(tmp_path / "real" / "config.yaml")):
        check_same_database(config(tmp_path / "link" / "config.yaml"))
        check_same_database(config(tmp_path / "real" / "config.yaml", str(tmp_path / "link")))
        with pytest.raises(ConfigError):
            check_same_database(config(tmp_path / "link" / "config.yaml", str(tmp_path)))


@pytest.mark.parametrize("name", ["x" * 200, "sp ace", "new\nline", "umlaut-ä", "100%", "a/b"])
def test_names_of_every_kind(tmp_path: Path, name: str) -> None:
    path = tmp_path / "config.yaml"
    with announced(config(path, name)):
        check_same_database(config(path, name))
        for other in (name + "y", "y" + name):
            with pytest.raises(ConfigError):
                check_same_database(config(path, other))


def test_a_server_that_was_killed_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    program = (
        "import sys, time\nfrom tests.storage.test_running import Path, announced, config\n"
        "with announced(config(Path(sys.argv[1]), 'data')):\n    print('up', flush=True)\n    time.sleep(60)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert server.stdout
    assert server.stdout.readline() == b"up\n"
    with pytest.raises(ConfigError, match=f"process {server.pid}"):
        check_same_database(config(path))
    server.send_signal(signal.SIGKILL)
    server.communicate()
    check_same_database(config(path))


def test_servers_of_databases_are_named_without_password_and_user(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    one = config(path, database_url="postgresql://u:canary@db.example.com:5432/audio?sslmode=require")
    assert database_place(one) == "postgresql://db.example.com:5432/audio"
    assert database_place(config(path, database_url="postgres://u:canary@/d?host=/run/pg")) == "postgresql:///run/pg/d"
    for password in ("canary[", "canary?x", "canary/y", "canary%40", "canary#"):
        assert "canary" not in database_place(config(path, database_url=f"postgresql://u:{password}@h/d"))
    with announced(one):
        assert "canary" not in Path("/proc/net/unix").read_text()
        check_same_database(config(path, database_url="postgres://other:canary@db.example.com:5432/audio"))
        with pytest.raises(ConfigError) as raised:
            check_same_database(config(path, database_url="postgresql://u:canary@db2.example.com/audio"))
        assert "canary" not in str(raised.value)


def test_a_database_that_lies_unused_next_to_the_configuration_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert unused_database(config(path, "data")) is None
    (tmp_path / "audio-proxy.db").touch()
    assert unused_database(config(path)) is None
    assert unused_database(config(path, "data")) == tmp_path / "audio-proxy.db"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_creates_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12346)
    asyncio.run(preparation.prepare_records(config(tmp_path / "config.yaml")))
    for name in ("audio-proxy.db", "audio-proxy-ledger"):
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_gid) == (12345, 12346)
    assert {path.stat().st_uid for path in tmp_path.iterdir()} == {12345}
