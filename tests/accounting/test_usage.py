"""Sums over the calls on both databases, against the same sums worked out in Python."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import insert

from proxy.accounting.end_user_store import EndUserStore
from proxy.accounting.key_store import KeyStore
from proxy.accounting.usage_reports import GROUPS, UsageReports, groups, selection
from proxy.domain.money import usd
from proxy.errors import BadRequest
from proxy.storage import tables
from proxy.storage.database import Database
from proxy.storage.tables import CALL_TAGS, CALLS

Run = Callable[[Callable[[Database, KeyStore], Awaitable[Any]]], Any]
Call = dict[str, Any]
NOON = 1_795_435_200_000  # 2026-11-23T12:00:00Z
DAY = 86_400_000
NASTY = "'; DROP TABLE calls; --"


def call(number: int, **said: Any) -> Call:
    """A row as the ledger writes it."""
    row = {
        "id": f"{number:032x}", "time": NOON + number, "request_id": f"req_{number}", "endpoint": "speech",
        "key_id": "master", "user_id": None, "team_id": None, "end_user": None, "model": "tts", "deployment": "tts-1",
        "vendor": "openai", "vendor_model": "tts-1", "status": 200, "error": None, "characters": 5,
        "audio_seconds_in": None, "audio_seconds_out": None, "input_text_tokens": None, "input_audio_tokens": None,
        "cached_text_tokens": None, "cached_audio_tokens": None, "output_text_tokens": None,
        "output_audio_tokens": None, "cost": 750_000, "cost_basis": "characters", "first_byte_ms": 1.5,
        "total_ms": 2.5, "bytes_in": 10, "bytes_out": 20, "attempts": 1, "fallback": None, "guardrails": None,
        "tags": [],
    }  # fmt: skip
    return row | said


async def store(database: Database, calls: Sequence[Call]) -> None:
    rows = [{name: value for name, value in one.items() if name != "tags"} for one in calls]
    tags = [{"call_id": one["id"], "tag": tag} for one in calls for tag in one["tags"]]
    async with database.transaction() as connection:
        await connection.execute(insert(CALLS), rows)
        if tags:
            await connection.execute(insert(CALL_TAGS), tags)


def many(seed: int, count: int = 300) -> list[Call]:
    chance = random.Random(seed)

    def maybe(value: Any) -> Any:
        return value if chance.random() < 0.7 else None

    return [
        call(
            number,
            time=NOON + chance.randrange(-4 * DAY, 4 * DAY),
            key_id=chance.choice(["master", "a" * 64, "b" * 64, None]),
            user_id=chance.choice(["u1", "u2", None]),
            team_id=chance.choice(["red", None]),
            end_user=chance.choice(["alice", "bob", NASTY, "名前", None]),
            model=chance.choice(["tts", "whisper"]),
            deployment=chance.choice(["d1", "d2", None]),
            vendor=chance.choice(["openai", "deepgram", None]),
            error=chance.choice([None, None, "upstream_timeout"]),
            cost=maybe(chance.randrange(0, 10**12)),
            characters=maybe(chance.randrange(4096)),
            audio_seconds_in=maybe(chance.randrange(10_000) / 8),
            audio_seconds_out=maybe(chance.randrange(10_000) / 8),
            input_text_tokens=maybe(chance.randrange(9999)),
            input_audio_tokens=maybe(chance.randrange(9999)),
            output_text_tokens=maybe(chance.randrange(9999)),
            output_audio_tokens=maybe(chance.randrange(9999)),
            tags=chance.sample(["eu", "batch", "x"], chance.randrange(3)),
        )
        for number in range(count)
    ]


def sums(calls: Sequence[Call]) -> dict[str, Any]:
    def total(*names: str) -> Any:
        return sum(one[name] or 0 for one in calls for name in names)

    return {
        "calls": len(calls),
        "errors": sum(one["error"] is not None for one in calls),
        "unpriced": sum(one["error"] is None and one["cost"] is None for one in calls),
        "cost": Decimal(total("cost")) / 10**10,
        "characters": total("characters"),
        "audio_seconds_in": total("audio_seconds_in"),
        "audio_seconds_out": total("audio_seconds_out"),
        "input_tokens": total("input_text_tokens", "input_audio_tokens"),
        "output_tokens": total("output_text_tokens", "output_audio_tokens"),
    }


def groups_of(one: Call, name: str) -> list[Any]:
    if name == "tag":
        return one["tags"] or [None]
    if name == "day":
        return [f"2026-11-{23 + (one['time'] - (NOON - DAY // 2)) // DAY}"]
    return [one[{"key": "key_id", "user": "user_id", "team": "team_id"}.get(name, name)]]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "cost": Decimal(row["cost"])}


@pytest.mark.parametrize(
    "group_by",
    [(name,) for name in GROUPS] + [("model", "end_user"), ("day", "key", "vendor"), ("tag", "team", "deployment")],
)
def test_sums_by_group_are_those_of_the_rows(with_key_store: Run, group_by: tuple[str, ...]) -> None:
    calls = many(seed=len(group_by))
    expected: dict[tuple[Any, ...], list[Call]] = {}
    for one in calls:
        keys: list[tuple[Any, ...]] = [()]
        for name in group_by:
            keys = [(*key, value) for key in keys for value in groups_of(one, name)]
        for key in keys:
            expected.setdefault(key, []).append(one)

    async def body(database: Database, _: KeyStore) -> None:
        await store(database, calls)
        report = await UsageReports(database).report(selection(None, None, {}), group_by)
        found = {tuple(row[name] for name in group_by): comparable(row) for row in report.rows}
        assert found.keys() == expected.keys()
        for key, those in expected.items():
            assert {name: found[key][name] for name in sums(those)} == sums(those)
        assert comparable(report.total) == sums(calls)
        costs = [Decimal(row["cost"]) for row in report.rows]
        if "day" in group_by:
            assert [row["day"] for row in report.rows] == sorted(row["day"] for row in report.rows)
        else:
            assert costs == sorted(costs, reverse=True)

    with_key_store(body)


@pytest.mark.parametrize(
    ("equal", "chosen"),
    [
        ({"key": "master"}, lambda one: one["key_id"] == "master"),
        ({"key": "A" * 64}, lambda one: one["key_id"] == "a" * 64),
        ({"user": "u1", "team": "red"}, lambda one: (one["user_id"], one["team_id"]) == ("u1", "red")),
        ({"end_user": NASTY}, lambda one: one["end_user"] == NASTY),
        ({"tag": "eu"}, lambda one: "eu" in one["tags"]),
        (
            {"tag": "eu", "model": "tts", "vendor": "openai"},
            lambda one: "eu" in one["tags"] and (one["model"], one["vendor"]) == ("tts", "openai"),
        ),
        ({"deployment": "nobody's"}, lambda one: False),
    ],
)
def test_filters(with_key_store: Run, equal: dict[str, str], chosen: Callable[[Call], bool]) -> None:
    calls = many(seed=7)

    async def body(database: Database, _: KeyStore) -> None:
        await store(database, calls)
        wanted = selection(None, None, equal)
        assert comparable((await UsageReports(database).report(wanted)).total) == sums(
            [one for one in calls if chosen(one)]
        )
        listed, more = await UsageReports(database).calls(wanted, 1000)
        assert more is None
        assert {row["id"] for row in listed} == {one["id"] for one in calls if chosen(one)}
        async with database.transaction() as connection:
            count = len((await connection.execute(tables.CALLS.select())).all())
        assert count == len(calls)

    with_key_store(body)


@pytest.mark.parametrize(
    ("start", "end", "first", "last"),
    [
        ("2026-11-23", None, NOON - DAY // 2, None),
        (None, "2026-11-23", None, NOON + DAY // 2 - 1),
        ("2026-11-23", "2026-11-23", NOON - DAY // 2, NOON + DAY // 2 - 1),
        ("2026-11-23T12:00:00Z", "2026-11-23T12:00:01Z", NOON, NOON + 999),
        ("2026-11-23T13:00:00+01:00", None, NOON, None),
        ("2026-11-23T13:00:00 01:00", None, NOON, None),
        ("2026-11-23T12:00:00.250", None, NOON + 250, None),
        ("2026-11-23 12:00", None, NOON, None),
    ],
)
def test_a_period_has_its_start_and_the_day_of_its_end(
    start: str | None, end: str | None, first: int | None, last: int | None
) -> None:
    chosen = selection(start, end, {})
    assert chosen.start == first
    assert chosen.end == (None if last is None else last + 1)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "2026-11-31", "1", "9999-12-31", "'; --", "2026-11-23T99"])
def test_a_period_that_is_none(text: str) -> None:
    with pytest.raises(BadRequest) as raised:
        selection(None, text, {})
    assert raised.value.param == "end"


def test_bounds_of_the_period_decide_to_the_millisecond(with_key_store: Run) -> None:
    async def body(database: Database, _: KeyStore) -> None:
        await store(database, [call(number, time=NOON + number) for number in range(-2, 3)])
        listed, _more = await UsageReports(database).calls(
            selection("2026-11-23T11:59:59.999Z", "2026-11-23T12:00:00.001Z", {}), 10
        )
        assert [row["time"] for row in listed] == ["2026-11-23T12:00:00.000Z", "2026-11-23T11:59:59.999Z"]

    with_key_store(body)


def test_pages_show_every_call_once_also_where_times_are_the_same(with_key_store: Run) -> None:
    calls = [call(number, time=NOON + number // 7) for number in range(60)]

    async def body(database: Database, _: KeyStore) -> None:
        await store(database, calls)
        usage, cursor, seen = UsageReports(database), None, []
        for page in range(20):
            rows, cursor = await usage.calls(selection(None, None, {}), 9, cursor)
            seen += [row["id"] for row in rows]
            await store(database, [call(1000 + page, time=NOON + 10**9)])  # comes before them all
            if cursor is None:
                break
        assert seen == [one["id"] for one in sorted(calls, key=lambda one: (one["time"], one["id"]), reverse=True)]

    with_key_store(body)


@pytest.mark.parametrize("cursor", ["", "x", "1.", "1.a b", "1; DROP", "9" * 30 + ".a", "-1.a"])
def test_a_cursor_of_ones_own_making(with_key_store: Run, cursor: str) -> None:
    async def body(database: Database, _: KeyStore) -> None:
        with pytest.raises(BadRequest):
            await UsageReports(database).calls(selection(None, None, {}), 10, cursor)

    with_key_store(body)


def test_a_call_is_told_with_all_that_is_known_of_it(with_key_store: Run) -> None:
    one = call(1, guardrails='["pii: 2 names"]', tags=["eu", "batch"], cost=1, end_user="alice", audio_seconds_out=1.25)

    async def body(database: Database, _: KeyStore) -> None:
        await store(database, [one, call(2, cost=None, time=NOON + 5)])
        (unpriced, row), _more = await UsageReports(database).calls(selection(None, None, {}), 10)
        assert unpriced["cost"] is None
        assert row["cost"] == "0.0000000001"
        assert (row["tags"], row["guardrails"]) == (["batch", "eu"], ["pii: 2 names"])
        assert (row["key"], row["end_user"], row["audio_seconds_out"]) == ("master", "alice", 1.25)
        assert not {"key_id", "user_id", "team_id"} & row.keys()

    with_key_store(body)


def test_a_key_may_be_named_by_its_alias(with_key_store: Run) -> None:
    async def body(database: Database, key_store: KeyStore) -> None:
        secret, key = await key_store.generate({"key_alias": "batch job"}, "master")
        await store(database, [call(1, key_id=key.id), call(2)])
        for reference in ("batch job", key.id, secret):
            report = await UsageReports(database).report(selection(None, None, {"key": reference}), ("key",))
            assert [(row["key"], row["key_alias"], row["calls"]) for row in report.rows] == [(key.id, "batch job", 1)]
        with pytest.raises(BadRequest, match="alias"):
            await UsageReports(database).report(selection(None, None, {"key": "nobody"}))

    with_key_store(body)


def test_large_sums_are_exact(with_key_store: Run) -> None:
    async def body(database: Database, _: KeyStore) -> None:
        cost = 10**17 + 1  # ten million dollars and a little
        await store(database, [call(number, cost=cost) for number in range(50)])
        assert (await UsageReports(database).report(selection(None, None, {}))).total["cost"] == "500000000.000000005"

    with_key_store(body)


@pytest.mark.parametrize(
    ("units", "shown"), [(0, "0"), (1, "0.0000000001"), (10**10, "1"), (12 * 10**9, "1.2"), (10**13, "1000")]
)
def test_money_is_plain_digits(units: int, shown: str) -> None:
    assert usd(units) == shown


def test_end_users_by_name_with_what_they_used_and_those_that_are_only_blocked(with_key_store: Run) -> None:
    names = ["Zoe", "alice", "bob", "eve", "äh", "名前"]

    async def body(database: Database, key_store: KeyStore) -> None:
        await store(database, [call(number, end_user=names[number % 3 + 1]) for number in range(9)])
        await store(database, [call(100, end_user="äh"), call(101, end_user="Zoe"), call(102)])
        await EndUserStore(database).block(["eve", "bob", "名前"], blocked=True, actor="master")
        seen: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            rows, cursor = await UsageReports(database).end_users(selection(None, None, {}), 2, cursor)
            seen += rows
        assert [row["id"] for row in seen] == names
        found = {row["id"]: (row["calls"], row["blocked"]) for row in seen}
        assert found == {
            "Zoe": (1, False), "alice": (3, False), "bob": (3, True), "eve": (3, True), "äh": (1, False),
            "名前": (0, True),
        }  # fmt: skip
        only, _more = await UsageReports(database).end_users(selection(None, None, {"end_user": "eve"}), 10)
        assert [(row["id"], row["calls"]) for row in only] == [("eve", 3)]

    with_key_store(body)


def test_groups_are_read_and_checked() -> None:
    assert groups(" model, end_user ,model") == ("model", "end_user")
    assert groups(None) == groups("") == ()
    with pytest.raises(BadRequest, match="deployment"):
        groups("model,nonsense")
