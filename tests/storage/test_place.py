"""The URL of the database, and the places that are looked at before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config import Config, Environment, GeneralSettings
from proxy.errors import ConfigError
from proxy.storage.database import async_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sqlite:////var/lib/a.db", "sqlite+aiosqlite:////var/lib/a.db"),
        ("postgresql://u:p%40@h:5432/d", "postgresql+asyncpg://u:p%40@h:5432/d"),
        ("postgres://u@h/d?sslmode=require", "postgresql+asyncpg://u@h/d?ssl=require"),
        ("postgresql://u@h/d?schema=public&connection_limit=5&pgbouncer=true", "postgresql+asyncpg://u@h/d"),
        ("postgresql://u:@/d?host=/var/run/pg", "postgresql+asyncpg://u:@/d?host=/var/run/pg"),
        ("postgresql+psycopg2://u@h/d", "postgresql+asyncpg://u@h/d"),
    ],
)
def test_urls_get_the_drivers_that_are_used_here(url: str, expected: str) -> None:
    assert async_url(url) == expected


@pytest.mark.parametrize("url", ["", "mysql://h/d", "postgresql:/h", "u:canary@h/d"])
def test_other_databases_are_refused_without_their_url(url: str) -> None:
    with pytest.raises(ConfigError) as raised:
        async_url(url)
    assert "canary" not in str(raised.value)


def test_records_are_kept_beside_the_configuration_or_where_the_variable_says(tmp_path: Path) -> None:
    path = str(tmp_path / "config.yaml")
    beside = Config(path=path, deployments=())
    assert beside.database_url == f"sqlite:///{tmp_path}/audio-proxy.db"
    assert beside.ledger_dir == tmp_path / "audio-proxy-ledger"
    elsewhere = Config(path=path, deployments=(), environment=Environment({"AUDIO_PROXY_DATA": "/data"}))
    assert elsewhere.database_url == "sqlite:////data/audio-proxy.db"
    assert elsewhere.ledger_dir == Path("/data/audio-proxy-ledger")
    general = GeneralSettings.model_validate({"database_url": "postgresql://h/d", "ledger_dir": "/elsewhere"})
    said = Config(path=path, deployments=(), general=general, environment=Environment({"AUDIO_PROXY_DATA": "/data"}))
    assert (said.database_url, said.ledger_dir) == ("postgresql://h/d", Path("/elsewhere"))


def test_relative_paths_count_from_the_configurations_folder(tmp_path: Path) -> None:
    path = str(tmp_path / "config.yaml")
    relative = Config(path=path, deployments=(), environment=Environment({"AUDIO_PROXY_DATA": "data"}))
    assert relative.database_url == f"sqlite:///{tmp_path}/data/audio-proxy.db"
    assert relative.ledger_dir == tmp_path / "data" / "audio-proxy-ledger"
    for url, expected in (
        ("sqlite:///a.db", f"sqlite:///{tmp_path}/a.db"),
        ("sqlite:///./data/a.db?timeout=3", f"sqlite:///{tmp_path}/./data/a.db?timeout=3"),
        ("sqlite:////var/a.db", "sqlite:////var/a.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("postgresql:///d?host=/run/pg", "postgresql:///d?host=/run/pg"),
    ):
        general = GeneralSettings.model_validate({"database_url": url, "ledger_dir": "ledger"})
        config = Config(path=path, deployments=(), general=general)
        assert (config.database_url, config.ledger_dir) == (expected, tmp_path / "ledger")
