"""``audio-proxy keys``: on the command line, straight in the database; and keys out of an export of LiteLLM's."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from proxy.commands.litellm_export import read
from proxy.errors import BadRequest
from tests.conftest import MASTER_KEY, Server, command, standard_config
from tests.fakes.upstream import Upstream

Authenticator = Callable[..., "subprocess.CompletedProcess[str]"]
LITELLM_KEY = "sk-2Hq7_oldLiteLLMkeyThatClientsHave"
#: A row of LiteLLM_VerificationToken, as PostgreSQL's ``COPY … TO … CSV HEADER`` writes it.
ROW = {
    "token": hashlib.sha256(LITELLM_KEY.encode()).hexdigest(), "key_name": "sk-...Have", "key_alias": "prod",
    "soft_budget_cooldown": "f", "spend": "12.5", "expires": "", "models": '{tts,"my model"}', "aliases": "{}",
    "config": "{}", "user_id": "default_user_id", "team_id": "", "permissions": "{}", "max_parallel_requests": "",
    "metadata": '{"tags": ["eu"], "owner": "ops"}', "blocked": "", "tpm_limit": "", "rpm_limit": "", "max_budget": "",
    "budget_duration": "", "budget_reset_at": "", "allowed_cache_controls": "{}", "allowed_routes": "{}",
    "model_spend": "{}", "model_max_budget": "{}", "budget_id": "", "organization_id": "",
    "created_at": "2025-05-01 10:00:00.123", "created_by": "default_user_id",
}  # fmt: skip


def as_csv(*rows: Mapping[str, Any]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(ROW))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def token(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


@pytest.fixture
def keys(tmp_path: Path, database_url: str) -> Authenticator:
    """``keys("list")``: the command on a fresh database."""
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(standard_config("http://127.0.0.1:1/v1", database_url=database_url)))

    def run(action: str, *args: str) -> subprocess.CompletedProcess[str]:
        return command("keys", action, "--config", str(path), *args, folder=tmp_path)

    return run


def listed(keys: Authenticator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(keys("list", "--json").stdout)
    return found


# -- create, list, revoke ----------------------------------------------------------------------------------------------


def test_create_list_and_revoke(keys: Authenticator) -> None:
    options = "--alias one --models tts,whisper --duration 30d --user u --team t --tags eu,batch"
    created = keys("create", *options.split(), "--metadata", '{"a": 1}')
    assert created.returncode == 0, created.stderr
    key = created.stdout.strip()
    assert key.startswith("sk-")
    assert "\n" not in key
    assert key not in created.stderr
    (row,) = listed(keys)
    assert row["id"] == hashlib.sha256(key.encode()).hexdigest()
    assert (row["key_alias"], row["models"], row["tags"]) == ("one", ["tts", "whisper"], ["eu", "batch"])
    assert (row["user_id"], row["team_id"], row["metadata"]) == ("u", "t", {"a": 1})
    table = keys("list").stdout.splitlines()
    assert len(table) == 2
    assert "one" in table[1]
    assert key not in "".join(table)
    assert keys("revoke", "one", "nobody").returncode == 1
    assert len(listed(keys)) == 1
    revoked = keys("revoke", "one")
    assert (revoked.returncode, revoked.stdout.strip()) == (0, f"revoked {row['id']}")
    assert listed(keys) == []


def test_the_id_that_the_table_shows_is_enough_to_revoke(keys: Authenticator) -> None:
    for user in ("u1", "u2"):
        keys("create", "--user", user)
    one = next(line.split()[-1] for line in keys("list").stdout.splitlines() if " u1 " in line)
    assert keys("revoke", one[:-1]).returncode == 1  # too short
    assert keys("revoke", "0" * 20).returncode == 1
    revoked = keys("revoke", one)
    assert revoked.returncode == 0
    assert revoked.stdout.startswith(f"revoked {one}")
    assert [row["user_id"] for row in listed(keys)] == ["u2"]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--duration", "soon"], "duration"), (["--models", "openai/*"], "models"), (["--metadata", "{"], "metadata"),
        (["--models", "tts,whsper"], "Did you mean 'whisper'?"),
        (["--metadata", "[]"], "metadata"), (["--alias", "x" * 300], "key_alias"),
    ],
)  # fmt: skip
def test_what_cannot_be_created(tmp_path: Path, options: list[str], named: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(standard_config("http://127.0.0.1:1/v1")))
    ended = command("keys", "create", "--config", str(path), *options, folder=tmp_path)
    assert ended.returncode == 1
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


# -- import ------------------------------------------------------------------------------------------------------------


def test_a_client_of_litellm_keeps_its_key(
    keys: Authenticator, upstream: Upstream, serve: Callable[..., Server], tmp_path: Path, database_url: str
) -> None:
    server = serve(standard_config(upstream.url, database_url=database_url))
    asks = {"authorization": f"Bearer {LITELLM_KEY}"}
    hello = {"model": "tts", "input": "Hello", "voice": "alloy"}
    assert httpx.post(server.url + "/v1/audio/speech", json=hello, headers=asks).status_code == 401
    (tmp_path / "export.csv").write_text(as_csv(ROW))
    imported = keys("import", str(tmp_path / "export.csv"))
    assert imported.returncode == 0, imported.stderr
    assert imported.stdout.strip() == "imported 1, already present 0, skipped 0"
    assert httpx.post(server.url + "/v1/audio/speech", json=hello, headers=asks).status_code == 200
    refused = httpx.post(server.url + "/v1/audio/speech", json=hello | {"model": "gpt-tts"}, headers=asks)
    assert refused.status_code == 404
    again = keys("import", str(tmp_path / "export.csv"))
    assert again.stdout.strip() == "imported 0, already present 1, skipped 0"


def test_what_a_row_says(keys: Authenticator, tmp_path: Path) -> None:
    rows = [
        ROW | {"expires": "2099-01-01 00:00:00", "blocked": "t"},
        ROW | {"token": token(1), "key_alias": "", "models": "{}", "metadata": "{}", "team_id": "red"},
    ]
    (tmp_path / "export.csv").write_text(as_csv(*rows))
    imported = keys("import", str(tmp_path / "export.csv"))
    assert "teams" in imported.stderr
    bare, full = sorted(listed(keys), key=lambda row: str(row["key_alias"] or ""))
    assert (full["models"], full["tags"], full["metadata"]) == (["tts", "my model"], ["eu"], {"owner": "ops"})
    assert (full["blocked"], full["expires"], full["key_name"]) == (True, "2099-01-01T00:00:00.000Z", "sk-...Have")
    assert (full["created"], full["user_id"]) == ("2025-05-01T10:00:00.123Z", "default_user_id")
    assert (bare["models"], bare["blocked"], bare["expires"], bare["team_id"]) == ([], False, None, "red")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"max_budget": "10"}, "max_budget"), ({"max_budget": "0"}, "max_budget"), ({"rpm_limit": "5"}, "rpm_limit"),
        ({"allowed_routes": "{/chat/completions}"}, "allowed_routes"), ({"organization_id": "o"}, "organization_id"),
        ({"aliases": '{"a": "b"}'}, "aliases"), ({"metadata": '{"model_rpm_limit": {"a": 1}}'}, "model_rpm_limit"),
        ({"budget_id": "b"}, "budget_id"),
    ],
)  # fmt: skip
def test_limits_are_not_dropped_in_silence(change: dict[str, str], why: str) -> None:
    taken, refused = read(as_csv(ROW | change), own=(), without_limits=False)
    assert taken == []
    assert [row.name for row in refused] == ["prod"]
    assert why in refused[0].reason
    taken, refused = read(as_csv(ROW | change), own=(), without_limits=True)
    assert (len(taken), refused) == (1, [])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"token": "abc"}, "token"), ({"token": ""}, "token"), ({"models": "{openai/*}"}, "patterns"),
        ({"models": "{all-team-models}"}, "all-team-models"), ({"models": "{no-default-models}"}, "no-default-models"),
        ({"expires": "2020-01-01 00:00:00"}, "expired"), ({"expires": "soon"}, "cannot be read"),
        ({"team_id": "litellm-dashboard"}, "dashboard"), ({"metadata": "{"}, "cannot be read"),
        ({"metadata": "[1]"}, "cannot be read"), ({"key_alias": "x" * 300}, "key_alias"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("without_limits", [True, False])
def test_rows_that_are_left_out(change: dict[str, str], why: str, without_limits: bool) -> None:
    taken, refused = read(as_csv(ROW | change), own=(), without_limits=without_limits)
    assert taken == []
    assert why in refused[0].reason


def test_the_configurations_own_keys_are_no_virtual_keys(keys: Authenticator, tmp_path: Path) -> None:
    master = ROW | {"token": hashlib.sha256(MASTER_KEY.encode()).hexdigest()}
    (tmp_path / "export.csv").write_text(as_csv(master))
    assert keys("import", str(tmp_path / "export.csv")).stdout.strip() == "imported 0, already present 0, skipped 1"
    assert listed(keys) == []


def test_a_taken_alias_leaves_the_key_out(keys: Authenticator, tmp_path: Path) -> None:
    keys("create", "--alias", "prod")
    (tmp_path / "export.csv").write_text(as_csv(ROW, ROW | {"token": token(1), "key_alias": "other"}))
    imported = keys("import", "--dry-run", str(tmp_path / "export.csv"))
    assert imported.stdout.startswith("would import 2")
    assert len(listed(keys)) == 1
    imported = keys("import", str(tmp_path / "export.csv"))
    assert imported.returncode == 1
    assert "alias" in imported.stderr
    assert sorted(str(row["key_alias"]) for row in listed(keys)) == ["other", "prod"]


#: A row as ``row_to_json`` and LiteLLM's own ``/key/list?return_full_object=true`` write it.
JSON_ROW = {
    "token": token(7), "key_name": "sk-...Have", "key_alias": None, "spend": 0.0, "expires": "2099-01-01T00:00:00Z",
    "models": ["tts"], "aliases": {}, "permissions": {}, "metadata": {}, "blocked": None, "max_budget": None,
    "created_at": "2025-05-01T10:00:00Z",
}  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        json.dumps([JSON_ROW]),
        json.dumps({"keys": [JSON_ROW], "total_count": 1}),
        json.dumps(JSON_ROW),
        json.dumps(JSON_ROW) + "\n" + json.dumps(JSON_ROW | {"token": token(8)}) + "\n",
        "\ufeff" + json.dumps([JSON_ROW], indent=2),
    ],
)
def test_json_in_its_forms(text: str) -> None:
    taken, refused = read(text, own=(), without_limits=False)
    assert refused == []
    assert (taken[0].id, list(taken[0].models), taken[0].blocked) == (token(7), ["tts"], False)


@pytest.mark.parametrize("models", [["*"], ["all-proxy-models"], ["tts", "all-proxy-models"], []])
def test_every_model_is_every_model(models: list[str]) -> None:
    (key,), _ = read(json.dumps([JSON_ROW | {"models": models}]), own=(), without_limits=False)
    assert key.models == []


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "[1]", '{"a": 1}\nnonsense\n', "[{}]", '{"keys": [1]}'])
def test_what_is_no_export(text: str) -> None:
    with pytest.raises(BadRequest):
        read(text, own=(), without_limits=False)


def test_a_file_that_cannot_be_read(keys: Authenticator, tmp_path: Path) -> None:
    for name, content in (("none", None), ("bytes", b"\xff\xfe\x00")):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        ended = keys("import", str(tmp_path / name))
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
