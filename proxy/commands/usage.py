"""``audio-proxy usage``: what was used and what it cost, as the route ``/usage`` tells."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from proxy.accounting.usage import Report, UsageReports, groups, selection
from proxy.api.usage import as_csv, columns_of
from proxy.commands.keys import told
from proxy.commands.table import print_table
from proxy.config import Config
from proxy.storage import place
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
    async def with_database() -> int:
        chosen, names = selection(start, end, equal), groups(group_by)
        await place.prepare(config)
        database = Database(config.database_url)
        try:
            report = await UsageReports(database).report(chosen, names)
        finally:
            await database.aclose()
        _print(report, names, format)
        return 0

    return told(with_database)


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
            print("There are more groups; the total counts them all.")
        if report.total["unpriced"]:
            print("unpriced: calls whose cost nobody knows; see audio-proxy prices")


def _text(value: Any) -> str:
    return "" if value is None else str(value)
