"""Several real servers on one real database, and servers whose database is away, new or nowhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.storage.database import Database
from tests.accounting.conftest import Postgres
from tests.conftest import MASTER_KEY, Server, command, standard_config
from tests.fakes.upstream import Upstream

#: What is promised of a change: seconds until it is in force everywhere.
PROMISED = 2.0
HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}
MASTER = {"authorization": f"Bearer {MASTER_KEY}"}
Serve = Callable[..., Server]


def post(server: Server, path: str, document: dict[str, Any], key: str = MASTER_KEY) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(server.url + path, json=document, headers=headers, timeout=20)


def speak(server: Server, key: str, **fields: Any) -> int:
    return post(server, "/v1/audio/speech", HELLO | fields, key).status_code


def until(true: Callable[[], bool], what: str) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < 20, f"never: {what}"
        time.sleep(0.05)
    return time.monotonic() - began


def test_a_key_lives_and_ends_on_every_server_of_a_database(
    upstream: Upstream, serve: Serve, database_url: str
) -> None:
    config = standard_config(upstream.url, database_url=database_url)
    one, other = serve(config), serve(config, workers=2)
    key = post(one, "/key/generate", {"key_alias": "one"}).json()["key"]
    assert [speak(server, key) for server in (one, other, other, one)] == [200] * 4
    assert speak(other, key, user="eve") == 200
    assert post(one, "/end_users/block", {"user_ids": ["eve"]}).status_code == 200
    assert speak(one, key, user="eve") == 403
    assert post(one, "/key/delete", {"keys": [key]}).status_code == 200
    assert speak(one, key) == 401

    def ended_everywhere() -> bool:
        return all(speak(other, key) == 401 for _ in range(6))

    assert until(ended_everywhere, "the key ends") < PROMISED
    assert speak(other, MASTER_KEY, user="eve") == 403


def test_without_its_database_a_server_serves_the_keys_that_it_knows(
    upstream: Upstream, serve: Serve, postgres: Postgres
) -> None:
    server = serve(standard_config(upstream.url, database_url=postgres.new()))
    known = post(server, "/key/generate", {}).json()["key"]
    assert speak(server, known) == 200
    postgres.stop()
    try:
        assert [speak(server, key) for key in (known, MASTER_KEY) for _ in range(3)] == [200] * 6
        refused = post(server, "/v1/audio/speech", HELLO, "sk-nobody-0123456789abcdefghij")
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "database_unavailable"
        assert int(refused.headers["retry-after"]) > 0
        assert httpx.get(server.url + "/usage", headers=MASTER).status_code == 503
        assert post(server, "/key/generate", {}).status_code == 503
        assert httpx.get(server.url + "/health/readiness").status_code == 200
        late = serve(standard_config(upstream.url, database_url=server_url(server)))
        assert (speak(late, MASTER_KEY), speak(late, known)) == (200, 503)
    finally:
        postgres.start()
    until(lambda: speak(late, known) == 200, "the database is back")
    until(lambda: post(server, "/key/generate", {}).status_code == 200, "keys can be made again")
    assert speak(server, "sk-nobody-0123456789abcdefghij") == 401
    assert "Traceback" not in server.log() + late.log()


def server_url(server: Server) -> str:
    url: str = yaml.safe_load(server.config_path.read_text())["general_settings"]["database_url"]
    return url


def written(folder: Path, **general: Any) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(standard_config("http://127.0.0.1:1/v1", **general)))
    return path


def test_a_newer_database_ends_the_start(tmp_path: Path, database_url: str) -> None:
    async def age() -> None:
        database = Database(database_url)
        async with database.transaction() as connection:
            schema = "" if database.is_sqlite else "audio_proxy."
            await connection.exec_driver_sql(f"UPDATE {schema}audio_proxy_version SET version_num = '9999'")
        await database.aclose()

    asyncio.run(age())
    path = written(tmp_path, database_url=database_url)
    for arguments in (["--port", "0"], ["--port", "0", "--workers", "2"], ["keys", "list"], ["usage"]):
        place = arguments.index("list") + 1 if "list" in arguments else len(arguments)
        ended = command(*arguments[:place], "--config", str(path), *arguments[place:], folder=tmp_path)
        assert ended.returncode == 2, ended
        assert "9999" in ended.stderr
        assert "newer" in ended.stderr
        assert "Traceback" not in ended.stderr
        assert "RUNNING" not in ended.stdout


@pytest.mark.parametrize(
    ("general", "named"),
    [
        ({"database_url": "sqlite:////proc/nowhere/keys.db"}, "database_url"),
        ({"database_url": "sqlite:///:memory:"}, "database_url"),
        ({"ledger_dir": "/proc/nowhere"}, "ledger_dir"),
        ({"spool_dir": "nowhere"}, "spool_dir"),
        ({"spool_dir": "config.yaml"}, "spool_dir"),
        ({"database_url": "sqlite:///config.yaml"}, "database_url"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, general: dict[str, str], named: str) -> None:
    path = written(tmp_path, **general)
    ended = command("--config", str(path), "--port", "0", folder=tmp_path)
    assert ended.returncode == 2
    assert f"general_settings.{named}" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "RUNNING" not in ended.stdout


def test_a_database_url_that_cannot_be_used_is_not_repeated(tmp_path: Path) -> None:
    for url in (
        "postgresql://u:canary-Zq8@127.0.0.1:notaport/d",
        "postgresql://u:canary-Zq8@127.0.0.1:1/d?nonsense=canary-Zq8",
        "mysql://u:canary-Zq8@h/d",
    ):
        ended = command("--config", str(written(tmp_path, database_url=url)), "--port", "0", folder=tmp_path)
        assert ended.returncode == 2
        assert "database_url" in ended.stderr
        assert "canary" not in ended.stderr + ended.stdout
        assert "Traceback" not in ended.stderr


def test_the_file_of_sqlite_is_for_its_owner_only(upstream: Upstream, serve: Serve) -> None:
    server = serve(standard_config(upstream.url))
    post(server, "/key/generate", {})
    folder = server.config_path.parent
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.glob("audio-proxy*")}
    assert {"audio-proxy.db", "audio-proxy-ledger"} <= modes.keys()
    assert all(mode & 0o077 == 0 for mode in modes.values()), modes
