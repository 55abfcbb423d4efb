"""``audio-proxy usage``: what was used and what it cost, as the route ``/usage`` reports it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

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
        _print(await UsageReports(records).report(selection(start, end, equal), names), names, format)
        return 0

    return database.run(config, report)


def _print(report: Report, group_by: tuple[str, ...], format: str) -> None:
    columns = columns_of(group_by)
    if format == "json":
        print(json.dumps({"object": "list", "data": report.rows, "total": report.total}, indent=2))
    elif format == "csv":
        print(as_csv(columns, report.rows if group_by else [report.total]), end="")
    else:
        rows = [[_text(row.get(column)) for column in columns] for row in report.rows]
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
