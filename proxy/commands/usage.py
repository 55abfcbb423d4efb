"""``audio-proxy usage``: what was used and what it cost, as the route ``/usage`` reports it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from proxy.accounting.key_store import KeyStore
from proxy.accounting.usage_reports import Report, UsageReports, groups, selection
from proxy.api.usage import as_csv, columns_of
from proxy.commands import database
from proxy.commands.table import print_table
from proxy.config import Config
from proxy.storage.database import Database


def run(
    config: Config,
    *,
    start: str | None,
    end: str | None,
    group_by: str | None,
    equal: Mapping[str, str],
    format: str,
) -> int:
    async def report(records: Database) -> int:
        names = groups(group_by)
        keys = KeyStore(records)
        chosen = {**equal, "key": await keys.complete(equal["key"])} if "key" in equal else equal
        result = await UsageReports(records).report(selection(start, end, chosen), names)
        if format == "table":
            ids = {row["key"] for row in result.rows if row["key"]} if "key" in names else set()
            _print_table(result, names, await keys.labels(ids))
        else:
            _print_data(result, names, format)
        return 0

    return database.run(config, report, writes=False)


def dates(period: str, today: date) -> tuple[str, str]:
    """The first and the last day of a period such as ``this-month``."""
    first = today.replace(day=1)
    before = first - timedelta(days=1)
    yesterday = today - timedelta(days=1)
    days = {
        "today": (today, today),
        "yesterday": (yesterday, yesterday),
        "this-month": (first, today),
        "last-month": (before.replace(day=1), before),
    }
    start, end = days[period]
    return start.isoformat(), end.isoformat()


def _print_data(report: Report, group_by: tuple[str, ...], format: str) -> None:
    if format == "json":
        print(json.dumps({"object": "list", "data": report.rows, "total": report.total}, indent=2))
    else:
        print(as_csv(columns_of(group_by), report.rows if group_by else [report.total]), end="")


def _print_table(report: Report, group_by: tuple[str, ...], key_labels: Mapping[str, str]) -> None:
    """A key is shown by its label, since its id is too long for a table."""
    columns = [column for column in columns_of(group_by) if column != "key_alias"]
    rows = [
        [_text(key_labels.get(row["key"], row["key"]) if column == "key" else row.get(column)) for column in columns]
        for row in report.rows
    ]
    total = [_text(report.total.get(column)) for column in columns]
    if group_by:
        total[0] = "total"
    print_table([columns, *rows, total])
    if report.truncated:
        print("Not all groups are listed; the total includes them all.")
    if report.total["unpriced"]:
        print("unpriced: calls with no known price (run `audio-proxy prices`)")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
