"""Reports on the recorded calls: who used what, and what it cost. And the calls themselves."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from proxy.accounting.key_secrets import is_reference, key_id_of
from proxy.domain.caller import MASTER_KEY_ID
from proxy.domain.money import usd
from proxy.domain.timestamps import iso
from proxy.errors import BadRequest
from proxy.storage.calls import CallFilter, CallRepository, CallTotals
from proxy.storage.database import Database
from proxy.storage.end_users import EndUserRepository
from proxy.storage.keys import KeyRepository
from proxy.storage.refusals import RefusalRepository

#: What calls may be grouped by and filtered by: the name in the API → the column of ``calls``.
COLUMNS = {
    "key": "key_id",
    "user": "user_id",
    "team": "team_id",
    "end_user": "end_user",
    "model": "model",
    "vendor": "vendor",
    "deployment": "deployment",
}
FILTERS = (*COLUMNS, "tag")
GROUPS = ("day", *FILTERS)
NUMBERS = CallTotals._fields
MAX_GROUPS = 10_000
#: After which a call that has ended is usually in the database.
ROW_SECONDS = 1.5
MAX_CALLS = 1000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CURSOR = re.compile(r"(\d{1,15})\.([!-~]{1,32})")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls. ``start`` (included) and ``end`` (not included) in milliseconds since 1970."""

    start: int | None = None
    end: int | None = None
    #: By the names of `FILTERS`. A key may be named by its id, by its alias or by itself.
    equal: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    #: Only calls that failed.
    failed: bool = False
    #: Only calls that ended at this time or later, in milliseconds since 1970.
    ended: int | None = None
    #: Also calls that were refused because they had no valid key, unless there are other filters.
    refusals: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    rows: Sequence[Row]
    total: Row
    #: There are more groups than `MAX_GROUPS`; the total includes them all.
    truncated: bool = False


def selection(start: str | None, end: str | None, equal: Mapping[str, str]) -> Selection:
    """``start`` and ``end`` are dates (the end's day is included) or timestamps (the end is not), by default in UTC.

    Raises BadRequest.
    """
    for name, value in equal.items():
        if "\x00" in value:
            raise BadRequest(f"'{name}' must not contain NUL.", param=name, code="invalid_value")
    return Selection(_milliseconds("start", start), _milliseconds("end", end, is_end=True), equal)


def groups(text: str | None) -> tuple[str, ...]:
    """From a list such as ``model,end_user``. Raises BadRequest."""
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    for name in names:
        if name not in GROUPS:
            raise BadRequest(
                f"'group_by' must be one or more of {', '.join(GROUPS)}.", param="group_by", code="invalid_value"
            )
    return names


class UsageReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, selected: Selection, group_by: Sequence[str] = ()) -> Report:
        """A row for each group, the most expensive first (by day: the earliest first).

        A call with two tags is in the groups of both.
        """
        async with self._database.transaction() as connection:
            keys, calls = KeyRepository(connection), CallRepository(connection)
            chosen = await _filter(keys, selected)
            total = await calls.total(chosen)
            if not group_by:
                return Report([], _numbers(total))
            sums_by_group = await calls.groups(chosen, [COLUMNS.get(name, name) for name in group_by], MAX_GROUPS + 1)
            rows = [(dict(zip(group_by, values, strict=True)), sums) for values, sums in sums_by_group]
            ids = {group["key"] for group, _ in rows if group.get("key") is not None}
            aliases = await keys.aliases(ids) if "key" in group_by else {}
        return Report(
            [_group_row(group, aliases) | _numbers(sums) for group, sums in rows[:MAX_GROUPS]],
            _numbers(total),
            truncated=len(rows) > MAX_GROUPS,
        )

    async def calls(self, selected: Selection, limit: int, cursor: str | None = None) -> tuple[list[Row], str | None]:
        """The newest first, and the cursor of the next page; None after the last page."""
        before = None if cursor is None else _position(cursor)
        async with self._database.transaction() as connection:
            keys, calls = KeyRepository(connection), CallRepository(connection)
            chosen = await _filter(keys, selected)
            rows = await calls.page(chosen, limit + 1, before)
            if selected.refusals and not selected.equal:
                rows += await RefusalRepository(connection).page(chosen, limit + 1, before)
                rows.sort(key=lambda row: (row["time"], row["id"]), reverse=True)
            page = rows[:limit]
            tags = await calls.tags([row["id"] for row in page])
            aliases = await keys.aliases({row["key_id"] for row in page if row["key_id"] is not None})
        next_cursor = f"{page[-1]['time']}.{page[-1]['id']}" if len(rows) > limit else None
        return [_call_row(row, aliases, sorted(tags.get(row["id"], ()))) for row in page], next_cursor

    async def end_users(self, selected: Selection, limit: int, after: str = "") -> tuple[list[Row], str | None]:
        """By name: those who are named in calls, with their sums, and those who were blocked; and the next cursor."""
        async with self._database.transaction() as connection:
            calls, end_users = CallRepository(connection), EndUserRepository(connection)
            chosen = await _filter(KeyRepository(connection), selected)
            sums = await calls.by_end_user(chosen, after=after, limit=limit + 1)
            listed = await end_users.page(after=after, limit=limit + 1, name=selected.equal.get("end_user"))
            blocked = {**listed, **await end_users.blocked(sums.keys())}
        names = sorted(sums.keys() | listed.keys())
        rows = [
            {"id": name, "blocked": blocked.get(name, False), **_numbers(sums.get(name, CallTotals()))}
            for name in names[:limit]
        ]
        return rows, rows[-1]["id"] if len(names) > limit else None


def _milliseconds(name: str, text: str | None, *, is_end: bool = False) -> int | None:
    """Since 1970."""
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=1 if is_end else 0)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        else:
            # In a query, + stands for a space.
            moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"'{name}' must be a date such as 2026-11-23 or a timestamp such as 2026-11-23T08:00:00Z.",
            param=name,
            code="invalid_value",
        ) from None


def _position(cursor: str) -> tuple[int, str]:
    """The time and id of the last call on the page before."""
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadRequest("'cursor' must be the next_cursor of an answer.", param="cursor", code="invalid_value")
    return int(match[1]), match[2]


async def _filter(keys: KeyRepository, selected: Selection) -> CallFilter:
    """Raises BadRequest for an alias that no key has."""
    equal = {COLUMNS[name]: value for name, value in selected.equal.items() if name in COLUMNS}
    if (key := selected.equal.get("key")) is not None:
        equal["key_id"] = await _key_id(keys, key)
    if selected.request_id is not None:
        equal["request_id"] = selected.request_id
    tag = selected.equal.get("tag")
    return CallFilter(selected.start, selected.end, equal, tag, failed=selected.failed, ended=selected.ended)


async def _key_id(keys: KeyRepository, reference: str) -> str:
    if reference == MASTER_KEY_ID or is_reference(reference):
        return key_id_of(reference)
    key = await keys.get_by_alias(reference)
    if key is None:
        raise BadRequest("No key has this alias.", param="key", code="key_not_found")
    return key.id


def _numbers(totals: CallTotals) -> Row:
    """``cost`` as an exact decimal number; seconds to the millisecond."""
    return {
        **totals._asdict(),
        "cost": usd(totals.cost),
        "audio_seconds_in": round(totals.audio_seconds_in, 3),
        "audio_seconds_out": round(totals.audio_seconds_out, 3),
    }


def _group_row(group: Mapping[str, Any], aliases: Mapping[str, str]) -> Row:
    row: Row = {}
    for name, value in group.items():
        row[name] = _day(int(value)) if name == "day" else value
        if name == "key":
            row["key_alias"] = aliases.get(value)
    return row


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _call_row(row: Mapping[str, Any], aliases: Mapping[str, str], tags: Sequence[str]) -> Row:
    names = {column: name for name, column in COLUMNS.items()}
    named: Row = {}
    for column, value in row.items():
        named[names.get(column, column)] = value
        if column == "key_id":
            named["key_alias"] = aliases.get(value)
    return {
        **named,
        "time": iso(row["time"]),
        "cost": None if row["cost"] is None else usd(row["cost"]),
        "guardrails": json.loads(row["guardrails"]) if row["guardrails"] else [],
        "tags": list(tags),
    }
