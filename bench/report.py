"""Prints medians over the rounds as Markdown tables: python report.py out/main.jsonl [more.jsonl ...]"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def step_of(row: Row, step: str) -> Row:
    """The figures of one step. `speech@64` is the step with 64 connections; an empty name means the row itself."""
    if not step:
        return row
    name, _, connections = step.partition("@")
    found = row.get(name) or {}
    if connections:
        found = next((each for each in found if each["c"] == int(connections)), {})
    return dict(found)


class Rows:
    """The rows by proxy, and separately the rows with errors."""

    def __init__(self, files: list[Path]) -> None:
        rows: list[Row] = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        self.failed = [row for row in rows if "error" in row]
        self.by_name: dict[str, list[Row]] = {}
        for row in rows:
            if "error" not in row:
                self.by_name.setdefault(row["name"], []).append(row)

    def values(self, name: str, step: str, key: str) -> list[float]:
        """One figure of one proxy, from each round that has it."""
        found = (step_of(row, step).get(key) for row in self.by_name.get(name, []))
        return [value for value in found if value is not None]

    def median(self, name: str, step: str, key: str) -> float | None:
        """None if no round has it."""
        values = self.values(name, step, key)
        return statistics.median(values) if values else None


def shown(value: float | None) -> str:
    """With about three significant digits."""
    if value is None:
        return "-"
    return f"{value:.{0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3}f}"


def median(rows: Rows, name: str, step: str, key: str) -> str:
    return shown(rows.median(name, step, key))


def span(rows: Rows, name: str, step: str, key: str) -> str:
    values = rows.values(name, step, key)
    return f"{min(values):g}-{max(values):g}" if len(values) > 1 else ""


def of_nginx(rows: Rows, name: str, step: str, key: str) -> str:
    value, nginx = rows.median(name, step, key), rows.median("nginx", step, key)
    return f"{100 * value / nginx:.1f} %" if value and nginx else "-"


def above_direct(rows: Rows, name: str, step: str, key: str) -> str:
    value, direct = rows.median(name, step, key), rows.median("direct", step, key)
    return shown(value - direct) if value is not None and direct is not None else "-"


@dataclass(frozen=True)
class Column:
    """A figure and its presentation."""

    heading: str
    key: str
    show: Callable[[Rows, str, str, str], str] = median


P50 = Column("p50 ms", "p50_ms")
P99 = Column("p99 ms", "p99_ms")
ERRORS = Column("errors", "errors")
CPU = Column("CPU s / 1000 req", "cpu_s_per_1k")
SHARE = Column("CPU share", "cpu_share")
PEAK = Column("RSS peak MB", "rss_peak_mb")
RATE = Column("req/s", "rps")
RATE_SPAN = Column("range", "rps", span)
RATE_OF_NGINX = Column("of nginx", "rps", of_nginx)
UP = Column("MB/s", "up_mb_s")
FIRST = Column("first byte p50 ms", "ttfb_ms_p50")
FIRST_99 = Column("first byte p99 ms", "ttfb_ms_p99")
LAG = Column("chunk lag p50 ms", "chunk_lag_ms_p50")
LAG_99 = Column("chunk lag p99 ms", "chunk_lag_ms_p99")
GOOD = Column("ok", "ok")

SPEECH = (
    RATE,
    RATE_SPAN,
    RATE_OF_NGINX,
    P50,
    Column("added p50 ms", "p50_ms", above_direct),
    P99,
    ERRORS,
    CPU,
    SHARE,
    PEAK,
)
BIG = (Column("MB/s", "down_mb_s"), Column("of nginx", "down_mb_s", of_nginx), P50, ERRORS, CPU, PEAK)
SLOW_1 = (FIRST, Column("added", "ttfb_ms_p50", above_direct), LAG, LAG_99, Column("stream ms", "stream_ms_p50"))
SLOW_32 = (GOOD, FIRST, FIRST_99, LAG, LAG_99, SHARE)
HOLD = (GOOD, Column("failed", "failed"), FIRST, FIRST_99, LAG, LAG_99, SHARE, Column("wall s", "wall_s"), PEAK)
UPLOAD_1 = (RATE, RATE_SPAN, RATE_OF_NGINX, UP, P50, P99, ERRORS, CPU, PEAK)
UPLOAD_25 = (RATE, RATE_OF_NGINX, UP, P50, ERRORS, CPU, PEAK)
HUGE = (Column("status", "status"), Column("s", "s"), Column("MB/s", "mb_s"), Column("CPU s", "cpu_s"), PEAK)
START = (
    Column("listening s", "listen_s"),
    Column("first good answer s", "cold_start_s"),
    Column("range", "cold_start_s", span),
    Column("RSS idle MB", "rss_idle_mb"),
    Column("RSS warm MB", "rss_warm_mb"),
    Column("RSS end MB", "rss_end_mb"),
)
#: title, step, columns
TABLES = (
    *((f"Speech, 8 KiB answer, concurrency {c}", f"speech@{c}", SPEECH) for c in (1, 16, 64, 256)),
    ("Speech, 5 MB streamed, concurrency 8", "big", BIG),
    ("Slow stream, 1 at a time (200 ms, then 50 x 4 KiB each 10 ms)", "slow1", SLOW_1),
    ("Slow streams, 32 at once", "slow32", SLOW_32),
    ("500 streams at once (200 ms, then 20 x 4 KiB each 100 ms)", "hold500", HOLD),
    ("Transcription upload 1 MB, concurrency 8", "stt1", UPLOAD_1),
    ("Transcription upload 25 MB, concurrency 8", "stt25", UPLOAD_25),
    ("One 200 MB upload", "huge200", HUGE),
    ("Start and memory", "", START),
)


def print_table(rows: Rows, title: str, step: str, columns: tuple[Column, ...]) -> None:
    """Leaves out proxies without figures, and the whole table if no proxy has any."""
    names = [name for name in rows.by_name if any(rows.values(name, step, column.key) for column in columns)]
    if not names:
        return
    print(f"\n### {title}\n")
    print(f"| proxy | {' | '.join(column.heading for column in columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name in names:
        print(f"| {name} | {' | '.join(column.show(rows, name, step, column.key) for column in columns)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path)
    rows = Rows(parser.parse_args().files)
    print("rounds:", ", ".join(f"{name} {len(of_one)}" for name, of_one in rows.by_name.items()))
    for row in rows.failed:
        print(f"failed: {row['name']}: {row['error']}")
    for title, step, columns in TABLES:
        print_table(rows, title, step, columns)


if __name__ == "__main__":
    main()
