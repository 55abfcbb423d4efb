"""Which settings a reload applies, and which only a restart does: what they are marked as is what happens."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from proxy.api import site as sites
from proxy.config import Config, Deployment, Environment, GeneralSettings, changes
from proxy.domain.requests import Mode
from tests.conftest import ROOT

#: No part of the site reads them: the loader does, and the worker, when it is told to stop.
READ_ELSEWHERE = {"allow_unauthenticated", "drain_delay"}
MARKED = {name for name in GeneralSettings.model_fields if changes.is_applied_at_start(name)}
#: Another value for each marked setting.
CHANGED: dict[str, Any] = {
    "spool_limit_mb": 7,
    "spool_dir": "/var/tmp",
    "database_url": SecretStr("postgresql://u:secret@localhost/other"),
    "ledger_dir": "/var/tmp/ledger",
    "ledger_durability": "power",
    "ledger_spool_mb": 7,
    "on_ledger_full": "allow",
    "ledger_retention_days": 7,
    "shutdown_timeout": 7,
    "max_concurrent_streams": 7,
    "log_format": "json",
    "log_level": "error",
}


class Watched(GeneralSettings):
    """Notes which of the settings are read."""

    def __getattribute__(self, name: str) -> Any:
        if name in GeneralSettings.model_fields:
            object.__getattribute__(self, "__dict__").setdefault("_read", set()).add(name)
        return super().__getattribute__(name)

    @property
    def read(self) -> set[str]:
        found: set[str] = self.__dict__["_read"]
        return found


def config(folder: Path, general: GeneralSettings | None = None, **deployment: Any) -> Config:
    fields = {"id": "a", "group": "tts", "vendor": "openai", "model": "tts-1", "mode": Mode.SPEECH, **deployment}
    return Config(
        path=str(folder / "config.yaml"),
        deployments=(Deployment.model_validate(fields),),
        general=general or GeneralSettings(),
        environment=Environment({}),
    )


def test_a_reload_reads_exactly_the_settings_that_are_not_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sites, "waiting_for_restart", lambda *_: ())
    started, reloaded = Watched(), Watched()

    async def scene() -> None:
        site = sites.Site(config(tmp_path, started))
        site.replace(config(tmp_path, reloaded))
        await site.aclose()

    asyncio.run(scene())
    assert reloaded.read == GeneralSettings.model_fields.keys() - MARKED - READ_ELSEWHERE
    # The paths and the log's settings are read where the worker starts.
    assert MARKED - started.read <= {"log_format", "log_level", "shutdown_timeout"}


def test_every_marked_setting_is_named_when_it_changes(tmp_path: Path) -> None:
    assert CHANGED.keys() == MARKED
    before = config(tmp_path)
    for name, value in CHANGED.items():
        after = config(tmp_path, GeneralSettings.model_validate({name: value}))
        assert changes.waiting_for_restart(before, after) == (f"general_settings.{name}",)
    assert changes.waiting_for_restart(before, config(tmp_path, GeneralSettings(docs_enabled=False))) == ()


def test_the_documentation_names_them_all() -> None:
    text = (ROOT / "docs" / "deployment.md").read_text().partition("Some changes need a restart")[2]
    listed = [line for line in text.partition("If a container")[0].splitlines() if line.startswith("- `")]
    assert set(re.findall(r"`(\w+)`", "".join(listed))) == MARKED


def test_a_place_that_only_the_environment_names_is_named_too(tmp_path: Path) -> None:
    before = config(tmp_path)
    after = before.model_copy(update={"environment": Environment({"AUDIO_PROXY_DATA": "/elsewhere"})})
    wanted = ("general_settings.database_url", "general_settings.ledger_dir")
    assert changes.waiting_for_restart(before, after) == wanted


def test_a_deployment_with_another_key_or_server_is_another_one(tmp_path: Path) -> None:
    before = config(tmp_path, api_key="sk-1", headers={"a": "b"})
    same = config(tmp_path, api_key="sk-1", headers={"a": "b"}, weight=3, timeout=5)
    assert changes.reconnected(before, same) == []
    for other in ({"api_key": "sk-2"}, {"api_base": "http://a"}, {"headers": {"a": "c"}}, {"model": "tts-1-hd"}):
        assert changes.reconnected(
            before, config(tmp_path, **({"api_key": "sk-1", "headers": {"a": "b"}} | other))
        ) == ["a"]
    with_key = before.model_copy(update={"environment": Environment({"OPENAI_API_KEY": "sk-3"})})
    assert changes.reconnected(before, with_key) == ["a"]
    assert changes.reconnected(config(tmp_path, id="b"), before) == ["a"]
