"""``/usage`` and ``/usage/calls`` through the front door: who sees what, and in which shape."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from proxy.commands.usage import dates
from proxy.storage.database import Database
from tests.accounting.test_usage import NOON, call, store
from tests.conftest import MASTER_KEY, Server, command, launch, standard_config
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of

SUMS = [
    "calls", "errors", "unpriced", "cost", "characters", "audio_seconds_in", "audio_seconds_out", "input_tokens",
    "output_tokens",
]  # fmt: skip


class Scene:
    """A server with two keys, and calls in its database: three of the first key, two of the second, one of nobody's."""

    def __init__(self, server: Server) -> None:
        self.server = server
        admin = httpx.Client(base_url=server.url, headers={"authorization": f"Bearer {MASTER_KEY}"})
        self.keys = [admin.post("/key/generate", json={"key_alias": name}).json() for name in ("red", "blue")]
        red, blue = (key["token"] for key in self.keys)
        calls = [
            call(1, key_id=red, end_user="alice", cost=5 * 10**9, tags=["eu"], characters=10),
            call(2, key_id=red, end_user="=HYPERLINK(1)", model="whisper", vendor="deepgram", audio_seconds_in=2.5),
            call(3, key_id=red, end_user="alice", error="upstream_timeout", status=504, cost=None, characters=None),
            call(4, key_id=blue, end_user="bob", cost=None, time=NOON + 86_400_000),
            call(5, key_id=blue, end_user="alice", input_text_tokens=7, output_audio_tokens=9, tags=["eu", "+x"]),
            call(6),
        ]

        async def fill() -> None:
            database = Database(f"sqlite:///{server.config_path.with_name('audio-proxy.db')}")
            await store(database, calls)
            await database.aclose()

        asyncio.run(fill())

    def get(self, path: str, secret: str = MASTER_KEY, /, **params: Any) -> httpx.Response:
        return httpx.get(
            self.server.url + path, params=params, headers={"authorization": f"Bearer {secret}"}, timeout=20
        )


@pytest.fixture(scope="module")
def scene(fake: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    running = launch(standard_config(fake.url), tmp_path_factory.mktemp("usage"))
    yield Scene(running)
    assert running.stop() == 0, running.log()


def test_the_shape_of_sums(scene: Scene) -> None:
    document = scene.get("/usage", group_by="model,end_user").json()
    assert list(document) == ["object", "data", "total"]
    assert document["object"] == "list"
    assert all(list(row) == ["model", "end_user", *SUMS] for row in document["data"])
    assert document["data"][0] == {
        "model": "tts", "end_user": "alice", "calls": 3, "errors": 1, "unpriced": 0, "cost": "0.500075",
        "characters": 15, "audio_seconds_in": 0.0, "audio_seconds_out": 0.0, "input_tokens": 7, "output_tokens": 9,
    }  # fmt: skip
    assert list(document["total"]) == SUMS
    assert (document["total"]["calls"], document["total"]["unpriced"]) == (6, 1)


def test_by_day_and_key(scene: Scene) -> None:
    rows = scene.get("/usage", group_by="day,key", start="2026-11-23", end="2026-11-24").json()["data"]
    found = {(row["day"], row["key"], row["key_alias"]): row["calls"] for row in rows}
    red, blue = (key["token"] for key in scene.keys)
    assert found == {
        ("2026-11-23", red, "red"): 3, ("2026-11-23", blue, "blue"): 1, ("2026-11-23", "master", None): 1,
        ("2026-11-24", blue, "blue"): 1,
    }  # fmt: skip


@pytest.mark.parametrize("path", ["/usage", "/usage/calls"])
def test_a_key_sees_its_own_and_no_other(scene: Scene, path: str) -> None:
    red, blue = scene.keys

    def count(secret: str, /, **params: Any) -> int:
        document = scene.get(path, secret, **params).json()
        return int(document["total"]["calls"]) if path == "/usage" else len(document["data"])

    assert [count(red["key"]), count(blue["key"]), count(MASTER_KEY)] == [3, 2, 6]
    assert count(red["key"], end_user="bob") == 0
    assert [count(red["key"], key=own) for own in (red["token"], red["key"], "red")] == [3, 3, 3]
    for other in (blue["token"], blue["key"], "blue", "master", "' OR 1=1 --"):
        error_of(scene.get(path, red["key"], key=other), 403, "permission_denied")
    for key in ("sk-wrong-0123456789abcdefghijklm", "nonsense"):
        error_of(scene.get(path, key), 401)


def test_csv_is_a_table_that_no_spreadsheet_runs(scene: Scene) -> None:
    reply = scene.get("/usage", group_by="end_user,key", format="csv")
    assert reply.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(reply.text)))
    assert list(rows[0]) == ["end_user", "key", "key_alias", *SUMS]
    assert len(rows) == 5
    assert "'=HYPERLINK(1)" in [row["end_user"] for row in rows]
    total = list(csv.DictReader(io.StringIO(scene.get("/usage", format="csv").text)))
    assert [row["calls"] for row in total] == ["6"]
    calls = list(csv.DictReader(io.StringIO(scene.get("/usage/calls", format="csv").text)))
    assert len(calls) == 6
    assert "'+x, eu" in [row["tags"] for row in calls]


def test_calls_are_paged_newest_first(scene: Scene) -> None:
    seen: list[str] = []
    cursor: str | None = None
    for _ in range(4):
        page = scene.get("/usage/calls", limit=2, **({"cursor": cursor} if cursor else {})).json()
        assert page["object"] == "list"
        seen += [row["request_id"] for row in page["data"]]
        cursor = page["next_cursor"]
        assert page["has_more"] is (cursor is not None)
        if cursor is None:
            break
    assert seen == ["req_4", "req_6", "req_5", "req_3", "req_2", "req_1"]
    first = scene.get("/usage/calls", format="csv", limit=2)
    assert first.headers["x-next-cursor"]


@pytest.mark.parametrize(
    ("path", "params", "named"),
    [
        ("/usage", {"group_by": "nonsense"}, "group_by"), ("/usage", {"group-by": "model"}, "group-by"),
        ("/usage", {"start": "soon"}, "start"), ("/usage", {"end": "2026-99-01"}, "end"),
        ("/usage", {"format": "xml"}, "format"), ("/usage", {"end_user": "a\x00"}, "end_user"),
        ("/usage", {"key": "nobody"}, "key"), ("/usage/calls", {"limit": 0}, "limit"),
        ("/usage/calls", {"limit": 10**6}, "limit"), ("/usage/calls", {"cursor": "x"}, "cursor"),
        ("/usage/calls", {"group_by": "model"}, "group_by"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(scene: Scene, path: str, params: dict[str, Any], named: str) -> None:
    assert error_of(scene.get(path, **params), 400)["param"] == named


@pytest.mark.parametrize("text", ["'; DROP TABLE calls; --", '" OR ""="', "%", "_", "\\", "名前", "x" * 5000])
def test_a_filter_is_a_value_and_nothing_else(scene: Scene, text: str) -> None:
    for name in ("end_user", "user", "team", "tag", "model", "vendor", "deployment"):
        assert scene.get("/usage", **{name: text}).json()["total"]["calls"] == 0
    assert scene.get("/usage").json()["total"]["calls"] == 6


def test_end_users_with_what_they_used(scene: Scene) -> None:
    document = scene.get("/end_users").json()
    assert [(row["id"], row["calls"], row["blocked"]) for row in document["data"]] == [
        ("=HYPERLINK(1)", 1, False), ("alice", 3, False), ("bob", 1, False),
    ]  # fmt: skip
    assert list(document["data"][0]) == ["id", "blocked", *SUMS]
    page = scene.get("/end_users", limit=1).json()
    assert (page["has_more"], page["next_cursor"]) == (True, "=HYPERLINK(1)")
    assert scene.get("/end_users", limit=1, cursor=page["next_cursor"]).json()["data"][0]["id"] == "alice"
    assert scene.get("/end_users", end_user="bob", start="2026-11-25").json()["data"] == []


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        ("today", "2026-03-01", "2026-03-01"), ("yesterday", "2026-02-28", "2026-02-28"),
        ("this-month", "2026-03-01", "2026-03-01"), ("last-month", "2026-02-01", "2026-02-28"),
    ],
)  # fmt: skip
def test_periods_are_days_in_utc(period: str, start: str, end: str) -> None:
    assert dates(period, date(2026, 3, 1)) == (start, end)


def test_last_month_may_be_of_last_year() -> None:
    assert dates("last-month", date(2027, 1, 31)) == ("2026-12-01", "2026-12-31")


def test_the_command_reports_on_periods(scene: Scene) -> None:
    folder = scene.server.config_path.parent
    config = ("--config", str(scene.server.config_path))
    first = datetime.now(UTC).date().replace(day=1)
    printed = command("usage", *config, "--this-month", "--format", "json", folder=folder)
    assert json.loads(printed.stdout) == scene.get("/usage", start=first.isoformat()).json()
    for wrong in (["--today", "--last-month"], ["--this-month", "--start", "2026-01-01"], ["--today", "--end", "x"]):
        refused = command("usage", *config, *wrong, folder=folder)
        assert (refused.returncode, refused.stdout) == (2, "")


def test_tables_name_keys_by_alias_or_owner(scene: Scene) -> None:
    folder = scene.server.config_path.parent
    config = ("--config", str(scene.server.config_path))
    printed = command("usage", *config, "--group-by", "key,model", folder=folder).stdout
    assert printed.split()[:3] == ["key", "model", "calls"]
    assert not re.search("[0-9a-f]{20}", printed)
    assert re.search(r"^red  ", printed, re.MULTILINE)
    listed = command("keys", "list", *config, folder=folder).stdout
    assert not re.search("[0-9a-f]{20}", listed)
    short = next(line.split()[-1] for line in listed.splitlines() if " red " in line)
    for fmt in ("json", "csv"):
        exact = [command("usage", *config, "--key", key, "--format", fmt, folder=folder) for key in ("red", short)]
        assert exact[0].stdout == exact[1].stdout


def test_the_command_prints_the_same(scene: Scene) -> None:
    folder = scene.server.config_path.parent
    config = ("--config", str(scene.server.config_path))
    for key in ("red", scene.keys[0]["token"]):
        printed = command("usage", *config, "--group-by", "model", "--key", key, "--format", "json", folder=folder)
        assert printed.returncode == 0, printed.stderr
        asked = scene.get("/usage", group_by="model", key=key).json()
        assert json.loads(printed.stdout) == asked
    printed = command("usage", *config, "--group-by", "day,end_user", "--format", "csv", folder=folder)
    assert printed.stdout.splitlines() == scene.get("/usage", group_by="day,end_user", format="csv").text.splitlines()
    printed = command("usage", *config, "--group-by", "end_user", "--start", "2026-11-23", folder=folder)
    lines = printed.stdout.splitlines()
    assert lines[0].split() == ["end_user", *SUMS]
    assert lines[-2].split()[:2] == ["total", "6"]
    wrong = command("usage", *config, "--group-by", "nonsense", folder=folder)
    assert wrong.returncode == 1
    assert "group_by" in wrong.stderr
