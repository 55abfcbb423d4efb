"""``audio-proxy calls``: the recorded calls and their errors, straight from the database."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proxy.accounting.key_secrets import SHORT_ID
from proxy.accounting.key_store import KeyStore
from proxy.accounting.usage_reports import ROW_SECONDS, Row, Selection, UsageReports, selection
from proxy.commands import database
from proxy.commands.table import print_table, printable
from proxy.config import Config
from proxy.errors import BadRequest
from proxy.storage.database import Database

MAX_CALLS = 10_000
#: Seconds between two looks for new calls.
INTERVAL = 1.0
#: A new call is found if its row arrives within these seconds, and if it did not last longer than those.
LATE_SECONDS, LONGEST_SECONDS = 60, 3600
_HEAD = ("time (UTC)", "status", "endpoint", "model", "deployment", "total", "cost", "key", "request id", "error")
_AGO = re.compile(r"(\d{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for. ``since`` is a date, a timestamp, or a time ago such as ``2h``."""

    request_id: str | None = None
    failed: bool = False
    since: str | None = None
    #: By the names of `usage_reports.FILTERS`.
    equal: Mapping[str, str] = field(default_factory=dict)
    limit: int = 20

    def selection(self) -> Selection:
        """Raises BadRequest."""
        ago = _AGO.fullmatch(self.since or "")
        try:
            chosen = selection(None if ago else self.since, None, self.equal)
        except BadRequest as error:
            if error.param != "start":
                raise
            what = "a date such as 2026-11-23, a timestamp such as 2026-11-23T08:00:00Z, or a time ago such as 2h"
            raise BadRequest(f"--since must be {what}.") from None
        start = _now() - int(ago[1]) * _SECONDS[ago[2]] * 1000 if ago else chosen.start
        return replace(chosen, start=start, request_id=self.request_id, failed=self.failed, refusals=True)


def run(config: Config, query: Query, *, follow: bool, as_json: bool) -> int:
    """The newest calls, the newest last; with ``follow``, also those that end from now on, until Ctrl-C.

    Returns 1 if there is no call with the request id.
    """

    async def show(records: Database) -> int:
        reports, chosen = UsageReports(records), query.selection()
        if "key" in chosen.equal:
            key = await KeyStore(records).complete(chosen.equal["key"])
            chosen = replace(chosen, equal={**chosen.equal, "key": key})
        output = _Json() if as_json else _Details() if query.request_id else _Table()
        known = {row["id"] for row in await _recent(reports, chosen)} if follow else set()
        rows, _ = await reports.calls(chosen, query.limit)
        if query.request_id and not rows and not follow:
            await asyncio.sleep(ROW_SECONDS)
            rows, _ = await reports.calls(chosen, query.limit)
            if not rows:
                print(f"No call with the request id {printable(query.request_id)} is recorded.", file=sys.stderr)
                return 1
        output.print(rows[::-1])
        known |= {row["id"] for row in rows}
        while follow:
            await asyncio.sleep(INTERVAL)
            recent = await _recent(reports, chosen)
            output.print([row for row in reversed(recent) if row["id"] not in known])
            known = {row["id"] for row in recent}
        return 0

    return database.run(config, show, writes=False)


async def _recent(reports: UsageReports, chosen: Selection) -> Sequence[Row]:
    """Calls that ended within the last minute: rows arrive then, but reports are ordered by the calls' beginnings."""
    now = _now()
    start = max(chosen.start or 0, now - LONGEST_SECONDS * 1000)
    rows, _ = await reports.calls(replace(chosen, start=start, ended=now - LATE_SECONDS * 1000), MAX_CALLS)
    return rows


def _now() -> int:
    return int(time.time() * 1000)


class _Table:
    def __init__(self) -> None:
        self._widths: list[int] = []

    def print(self, rows: Sequence[Row]) -> None:
        """The head comes first, even if there are no calls yet."""
        head = [] if self._widths else [_HEAD]
        if head or rows:
            self._widths = print_table([*head, *map(_cells, rows)], self._widths)
            sys.stdout.flush()


class _Details:
    def print(self, rows: Sequence[Row]) -> None:
        for row in rows:
            print_table([(name, _text(value)) for name, value in row.items() if value not in (None, [])])
            print(flush=True)


class _Json:
    def print(self, rows: Sequence[Row]) -> None:
        for row in rows:
            print(json.dumps(row), flush=True)


def _cells(row: Row) -> tuple[str, ...]:
    key = row["key_alias"] or (row["key"] or "")[:SHORT_ID]
    return (
        row["time"][:19].replace("T", " "),
        str(row["status"]),
        row["endpoint"],
        row["model"],
        row["deployment"] or "",
        f"{row['total_ms'] / 1000:.2f} s",
        "" if row["cost"] is None else f"${row['cost']}",
        key,
        row["request_id"],
        ": ".join(filter(None, (row["error"], row["error_message"]))),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
