"""Who used what, and what it cost: sums over the calls that the ledger has brought to the database, and the calls."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from proxy.accounting.keys import is_reference, key_id_of
from proxy.domain.caller import MASTER_KEY_ID
from proxy.errors import BadRequest
from proxy.storage.database import Database

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement
    from sqlalchemy.ext.asyncio import AsyncConnection

#: What sums may be grouped by and calls may be chosen by: the name in the API → the column of ``calls``.
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
MAX_GROUPS = 10_000
MAX_CALLS = 1000
NUMBERS = (
    "calls", "errors", "unpriced", "cost", "characters", "audio_seconds_in", "audio_seconds_out", "input_tokens",
    "output_tokens",
)  # fmt: skip
_DAY_MS = 86_400_000
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_CURSOR = re.compile(r"(\d{1,15})\.([!-~]{1,32})")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which calls. ``start`` (included) and ``end`` (not included) in milliseconds since 1970."""

    start: int | None = None
    end: int | None = None
    #: By the names of `FILTERS`. A key may be named by its id, by its alias or in clear.
    equal: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    rows: Sequence[Row]
    total: Row
    #: There are more groups than `MAX_GROUPS`; the total counts them all.
    truncated: bool = False


def selection(start: str | None, end: str | None, equal: Mapping[str, str]) -> Selection:
    """``start`` and ``end`` are dates (the end's day is included) or timestamps (the end is not), UTC unless they say.

    Raises BadRequest.
    """
    for name, value in equal.items():
        if "\x00" in value:
            raise BadRequest(f"'{name}' must not hold NUL.", param=name, code="invalid_value")
    return Selection(_moment("start", start), _moment("end", end, is_end=True), equal)


def groups(text: str | None) -> tuple[str, ...]:
    """``model,end_user``. Raises BadRequest."""
    names = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    for name in names:
        if name not in GROUPS:
            raise BadRequest(f"'group_by' must be of {', '.join(GROUPS)}.", param="group_by", code="invalid_value")
    return names


class UsageReports:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def report(self, chosen: Selection, group_by: Sequence[str] = ()) -> Report:
        """A row a group, the dearest first (by day: the earliest). A call with two tags is in the groups of both."""
        from sqlalchemy import func, select

        from proxy.storage.tables import CALL_TAGS, CALLS

        async with self._database.transaction() as connection:
            where = await _conditions(connection, chosen)
            total = (await connection.execute(select(*_sums()).where(*where))).one()
            if not group_by:
                return Report([], _numbers(total))
            columns = [_group(name).label(f"by_{name}") for name in group_by]
            query = select(*columns, *_sums()).where(*where).group_by(*(_group(name) for name in group_by))
            query = query.select_from(CALLS.outerjoin(CALL_TAGS)) if "tag" in group_by else query
            days = [_group("day")] if "day" in group_by else []
            query = query.order_by(*days, func.coalesce(func.sum(CALLS.c.cost), 0).desc(), func.count().desc())
            rows = (await connection.execute(query.limit(MAX_GROUPS + 1))).all()
            aliases = await _aliases(connection, [row.by_key for row in rows]) if "key" in group_by else {}
        found = [_group_row(row, group_by, aliases) for row in rows[:MAX_GROUPS]]
        return Report(found, _numbers(total), truncated=len(rows) > MAX_GROUPS)

    async def calls(self, chosen: Selection, limit: int, cursor: str | None = None) -> tuple[list[Row], str | None]:
        """The newest first, and the cursor of the next page; None after the last one."""
        from sqlalchemy import and_, or_, select

        from proxy.storage.tables import CALL_TAGS, CALLS

        async with self._database.transaction() as connection:
            where = await _conditions(connection, chosen)
            if cursor is not None:
                time, call = _after(cursor)
                where.append(or_(CALLS.c.time < time, and_(CALLS.c.time == time, CALLS.c.id < call)))
            page = select(CALLS).where(*where).order_by(CALLS.c.time.desc(), CALLS.c.id.desc()).limit(limit + 1)
            rows = (await connection.execute(page)).all()
            shown = rows[:limit]
            tagged = select(CALL_TAGS).where(CALL_TAGS.c.call_id.in_([row.id for row in shown]))
            tags: dict[str, list[str]] = {}
            for call, tag in await connection.execute(tagged):
                tags.setdefault(call, []).append(tag)
        more = f"{shown[-1].time}.{shown[-1].id}" if len(rows) > limit else None
        return [_call_row(row, sorted(tags.get(row.id, ()))) for row in shown], more

    async def end_users(self, chosen: Selection, limit: int, after: str = "") -> tuple[list[Row], str | None]:
        """By name: those who were named in calls, with their sums, and those who were blocked; and the next cursor."""
        from sqlalchemy import select

        from proxy.storage.tables import CALLS, END_USERS

        async with self._database.transaction() as connection:
            caller, known = self._by_code_point(CALLS.c.end_user), self._by_code_point(END_USERS.c.id)
            where = [*await _conditions(connection, chosen), CALLS.c.end_user.is_not(None), caller > after]
            query = select(CALLS.c.end_user, *_sums()).where(*where).group_by(CALLS.c.end_user)
            spent = (await connection.execute(query.order_by(caller).limit(limit + 1))).all()
            only = [END_USERS.c.id == name for name in (chosen.equal.get("end_user"),) if name is not None]
            standings = select(END_USERS.c.id, END_USERS.c.blocked).where(known > after, *only).order_by(known)
            listed = {row.id: row.blocked for row in await connection.execute(standings.limit(limit + 1))}
            names = [row.end_user for row in spent]
            also = select(END_USERS.c.id, END_USERS.c.blocked).where(END_USERS.c.id.in_(names))
            blocked = listed | {row.id: row.blocked for row in await connection.execute(also)}
        sums = {row.end_user: _numbers(row) for row in spent}
        everybody = sorted(sums.keys() | listed.keys())
        rows = [
            {"id": name, "blocked": blocked.get(name, False), **sums.get(name, _NOTHING)} for name in everybody[:limit]
        ]
        return rows, rows[-1]["id"] if len(everybody) > limit else None

    def _by_code_point(self, column: Any) -> Any:
        """PostgreSQL orders by the language of its installation unless it is told not to."""
        return column if self._database.is_sqlite else column.collate("C")


_NOTHING: Mapping[str, Any] = {
    name: "0" if name == "cost" else 0.0 if name.startswith("audio") else 0 for name in NUMBERS
}


# -- from texts --------------------------------------------------------------------------------------------------------


def _moment(name: str, text: str | None, *, is_end: bool = False) -> int | None:
    """Milliseconds since 1970."""
    if not text:
        return None
    try:
        if _DATE.fullmatch(text):
            day = date.fromisoformat(text) + timedelta(days=1 if is_end else 0)
            moment = datetime(day.year, day.month, day.day, tzinfo=UTC)
        else:
            # In a query, + means a space.
            moment = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"'{name}' must be a date such as 2026-11-23 or a timestamp such as 2026-11-23T08:00:00Z.",
            param=name,
            code="invalid_value",
        ) from None


def _after(cursor: str) -> tuple[int, str]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadRequest("'cursor' must be the next_cursor of an answer.", param="cursor", code="invalid_value")
    return int(match[1]), match[2]


# -- to SQL ------------------------------------------------------------------------------------------------------------


async def _conditions(connection: AsyncConnection, chosen: Selection) -> list[ColumnElement[bool]]:
    from sqlalchemy import select

    from proxy.storage.tables import CALL_TAGS, CALLS

    conditions = []
    if chosen.start is not None:
        conditions.append(CALLS.c.time >= chosen.start)
    if chosen.end is not None:
        conditions.append(CALLS.c.time < chosen.end)
    for name, value in chosen.equal.items():
        if name == "tag":
            conditions.append(CALLS.c.id.in_(select(CALL_TAGS.c.call_id).where(CALL_TAGS.c.tag == value)))
        else:
            wanted = await _key_id(connection, value) if name == "key" else value
            conditions.append(CALLS.c[COLUMNS[name]] == wanted)
    return conditions


async def _key_id(connection: AsyncConnection, reference: str) -> str:
    from sqlalchemy import select

    from proxy.storage.tables import KEYS

    if reference == MASTER_KEY_ID or is_reference(reference):
        return key_id_of(reference)
    found = (await connection.execute(select(KEYS.c.id).where(KEYS.c.key_alias == reference))).scalar()
    if found is None:
        raise BadRequest("There is no key of this alias.", param="key", code="key_not_found")
    return str(found)


async def _aliases(connection: AsyncConnection, ids: Sequence[str | None]) -> Mapping[str, str]:
    from sqlalchemy import select

    from proxy.storage.tables import KEYS

    wanted = [key_id for key_id in set(ids) if key_id is not None]
    named = select(KEYS.c.id, KEYS.c.key_alias).where(KEYS.c.id.in_(wanted), KEYS.c.key_alias.is_not(None))
    return {row.id: row.key_alias for row in await connection.execute(named)}


def _group(name: str) -> ColumnElement[Any]:
    from sqlalchemy import literal_column

    from proxy.storage.tables import CALL_TAGS, CALLS

    if name == "day":
        # As a literal: PostgreSQL takes two parameters of one value for two expressions.
        return CALLS.c.time // literal_column(str(_DAY_MS))
    return CALL_TAGS.c.tag if name == "tag" else CALLS.c[COLUMNS[name]]


def _sums() -> list[ColumnElement[Any]]:
    from sqlalchemy import and_, case, func

    from proxy.storage.tables import CALLS

    def total(*names: str) -> ColumnElement[Any]:
        sums = [func.coalesce(func.sum(CALLS.c[name]), 0) for name in names]
        return sums[0] if len(sums) == 1 else sums[0] + sums[1]

    unpriced = case((and_(CALLS.c.cost.is_(None), CALLS.c.error.is_(None)), 1), else_=0)
    return [
        func.count(CALLS.c.id).label("calls"),
        func.count(CALLS.c.error).label("errors"),
        func.coalesce(func.sum(unpriced), 0).label("unpriced"),
        total("cost").label("cost"),
        total("characters").label("characters"),
        total("audio_seconds_in").label("audio_seconds_in"),
        total("audio_seconds_out").label("audio_seconds_out"),
        total("input_text_tokens", "input_audio_tokens").label("input_tokens"),
        total("output_text_tokens", "output_audio_tokens").label("output_tokens"),
    ]


# -- from rows ---------------------------------------------------------------------------------------------------------


def _numbers(row: Any) -> Row:
    values = row._mapping
    return {name: _number(name, values[name]) for name in NUMBERS}


def _number(name: str, value: Any) -> Any:
    if name == "cost":
        return money(int(value))
    return round(float(value), 3) if name.startswith("audio") else int(value)


def money(units: int) -> str:
    """USD in plain digits, exactly."""
    from proxy.storage.tables import MONEY

    digits = f"{Decimal(units) * MONEY:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _group_row(row: Any, group_by: Sequence[str], aliases: Mapping[str, str]) -> Row:
    group: Row = {}
    for name in group_by:
        value = row._mapping[f"by_{name}"]
        group[name] = _day(int(value)) if name == "day" else value
        if name == "key":
            group["key_alias"] = aliases.get(value)
    return {**group, **_numbers(row)}


def _day(number: int) -> str:
    return (date(1970, 1, 1) + timedelta(days=number)).isoformat()


def _call_row(row: Any, tags: Sequence[str]) -> Row:
    names = {column: name for name, column in COLUMNS.items()}
    shown: Row = {names.get(column, column): value for column, value in row._mapping.items()}
    return {
        **shown,
        "time": iso(row.time),
        "cost": None if row.cost is None else money(row.cost),
        "guardrails": json.loads(row.guardrails) if row.guardrails else [],
        "tags": list(tags),
    }


def iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
