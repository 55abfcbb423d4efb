"""The recorded calls: sums over them, and the calls themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Row, Select, Table, and_, case, func, literal_column, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.storage.database import by_code_point
from proxy.storage.tables import CALL_TAGS, CALLS

#: Groups that are not columns: the day in UTC, as days since 1970, and the tags of a call.
DAY, TAG = "day", "tag"
_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class CallFilter:
    """Which calls. ``start`` (included) and ``end`` (not included) in milliseconds since 1970."""

    start: int | None = None
    end: int | None = None
    #: Values that columns must have.
    equal: Mapping[str, str] = field(default_factory=dict)
    tag: str | None = None
    #: Only calls that failed.
    failed: bool = False
    #: Only calls that ended at this time or later.
    ended: int | None = None


class CallTotals(NamedTuple):
    """Sums over some calls. ``cost`` in the units of ``domain/money.py``, of those calls that have a known cost."""

    calls: int = 0
    errors: int = 0
    #: Calls that succeeded and have no known cost.
    unpriced: int = 0
    cost: int = 0
    characters: int = 0
    audio_seconds_in: float = 0.0
    audio_seconds_out: float = 0.0
    #: Text and audio together.
    input_tokens: int = 0
    output_tokens: int = 0


class CallRepository:
    """The calls, in one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def total(self, chosen: CallFilter) -> CallTotals:
        return _totals((await self._connection.execute(select(*_sums()).where(*conditions(chosen)))).one())

    async def groups(
        self, chosen: CallFilter, group_by: Sequence[str], limit: int
    ) -> list[tuple[tuple[Any, ...], CallTotals]]:
        """The values of ``group_by`` (columns, `DAY` or `TAG`) and the sums of each group.

        The most expensive first; with `DAY` the earliest. A call with two tags is in the groups of both.
        """
        columns = [_group(name) for name in group_by]
        query = select(*columns, *_sums()).where(*conditions(chosen)).group_by(*columns)
        if TAG in group_by:
            query = query.select_from(CALLS.outerjoin(CALL_TAGS))
        days = [_group(DAY)] if DAY in group_by else []
        query = query.order_by(*days, func.coalesce(func.sum(CALLS.c.cost), 0).desc(), func.count().desc())
        rows = (await self._connection.execute(query.limit(limit))).all()
        return [(tuple(row[: len(columns)]), _totals(row)) for row in rows]

    async def by_end_user(self, chosen: CallFilter, *, after: str, limit: int) -> Mapping[str, CallTotals]:
        """The sums of the first ``limit`` end users after ``after``, by code point."""
        ordered = by_code_point(self._connection, CALLS.c.end_user)
        where = [*conditions(chosen), CALLS.c.end_user.is_not(None), ordered > after]
        query = select(CALLS.c.end_user, *_sums()).where(*where).group_by(CALLS.c.end_user).order_by(ordered)
        return {row.end_user: _totals(row) for row in await self._connection.execute(query.limit(limit))}

    async def page(self, chosen: CallFilter, limit: int, before: tuple[int, str] | None = None) -> list[dict[str, Any]]:
        """The columns of the newest calls, of those before a call with this time and id."""
        query = newest(CALLS, conditions(chosen), limit, before)
        return [row._asdict() for row in await self._connection.execute(query)]

    async def tags(self, ids: Sequence[str]) -> Mapping[str, list[str]]:
        """Of the calls with these ids; those without a tag are left out."""
        tags: dict[str, list[str]] = {}
        for call_id, tag in await self._connection.execute(select(CALL_TAGS).where(CALL_TAGS.c.call_id.in_(ids))):
            tags.setdefault(call_id, []).append(tag)
        return tags


def conditions(chosen: CallFilter, table: Table = CALLS) -> list[ColumnElement[bool]]:
    """``table`` has the columns of ``calls`` that are chosen by."""
    found = [table.c[name] == value for name, value in chosen.equal.items()]
    if chosen.start is not None:
        found.append(table.c.time >= chosen.start)
    if chosen.end is not None:
        found.append(table.c.time < chosen.end)
    if chosen.failed:
        found.append(table.c.error.is_not(None))
    if chosen.ended is not None:
        found.append(table.c.time + table.c.total_ms >= chosen.ended)
    if chosen.tag is not None:
        found.append(table.c.id.in_(select(CALL_TAGS.c.call_id).where(CALL_TAGS.c.tag == chosen.tag)))
    return found


def newest(
    table: Table, where: list[ColumnElement[bool]], limit: int, before: tuple[int, str] | None
) -> Select[tuple[Any, ...]]:
    """The newest rows, of those before a row with this time and id."""
    if before is not None:
        time, row_id = before
        where = [*where, or_(table.c.time < time, and_(table.c.time == time, table.c.id < row_id))]
    return select(table).where(*where).order_by(table.c.time.desc(), table.c.id.desc()).limit(limit)


def _group(name: str) -> ColumnElement[Any]:
    if name == DAY:
        # A literal: to PostgreSQL, two parameters with the same value are two expressions.
        return CALLS.c.time // literal_column(str(_DAY_MS))
    return CALL_TAGS.c.tag if name == TAG else CALLS.c[name]


def _sums() -> list[ColumnElement[Any]]:
    """In the order of `CallTotals`."""

    def total(*names: str) -> ColumnElement[Any]:
        sums = [func.coalesce(func.sum(CALLS.c[name]), 0) for name in names]
        return sums[0] if len(sums) == 1 else sums[0] + sums[1]

    unpriced = case((and_(CALLS.c.cost.is_(None), CALLS.c.error.is_(None)), 1), else_=0)
    return [
        func.count(CALLS.c.id),
        func.count(CALLS.c.error),
        func.coalesce(func.sum(unpriced), 0),
        total("cost"),
        total("characters"),
        total("audio_seconds_in"),
        total("audio_seconds_out"),
        total("input_text_tokens", "input_audio_tokens"),
        total("output_text_tokens", "output_audio_tokens"),
    ]


def _totals(row: Row[Any]) -> CallTotals:
    """From the last columns of a row. PostgreSQL returns sums of integers as Decimal."""
    values: tuple[Any, ...] = tuple(row)[-len(CallTotals._fields) :]
    calls, errors, unpriced, cost, characters, seconds_in, seconds_out, tokens_in, tokens_out = values
    return CallTotals(
        calls=calls,
        errors=errors,
        unpriced=int(unpriced),
        cost=int(cost),
        characters=int(characters),
        audio_seconds_in=float(seconds_in),
        audio_seconds_out=float(seconds_out),
        input_tokens=int(tokens_in),
        output_tokens=int(tokens_out),
    )
