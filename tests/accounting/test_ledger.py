"""Rows on their way through the journal to both databases: each exactly once, whatever happens on the way."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from proxy.accounting import ledger as ledger_module
from proxy.accounting.ledger import Ledger, LedgerFull, LedgerLimits
from proxy.storage import call_writer
from proxy.storage.call_writer import CallWriter
from proxy.storage.database import Database, Unavailable
from proxy.storage.journal import Journal
from proxy.storage.tables import CALL_TAGS, CALLS
from tests.accounting.test_usage import NOON, call

WithDatabase = Callable[[Callable[[Database], Awaitable[Any]]], Any]
DAY = 86_400
COLUMNS = [column.name for column in CALLS.columns]
REQUIRED = [column.name for column in CALLS.columns if not column.nullable]


class Lines:
    """In place of the log."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def error(self, event: str, **_: object) -> None:
        self.events.append(event)

    info = warning = exception = error


class Away(Database):
    """A database that can go away, and lets itself be counted."""

    away = False
    transactions = 0

    def transaction(self) -> Any:
        if self.away:
            raise Unavailable("away")
        self.transactions += 1
        return super().transaction()


def made(database: Database, folder: Path, *, power: bool = False, clock: Any = None, **bounds: Any) -> Ledger:
    made = Ledger(
        CallWriter(database),
        Journal(folder, power=power),
        LedgerLimits(**({"spool": 10_000_000} | bounds)),
        folder,
        *([clock] if clock else []),
    )
    made.open()
    made._log = Lines()  # type: ignore[assignment]
    return made


def row(ledger: Ledger, **said: Any) -> dict[str, Any]:
    return call(0, id=ledger.new_id()) | said


async def stored(database: Database) -> list[Any]:
    async with database.transaction() as connection:
        return list((await connection.execute(select(CALLS).order_by(CALLS.c.id))).mappings())


async def count(database: Database) -> int:
    async with database.transaction() as connection:
        return int((await connection.execute(select(func.count()).select_from(CALLS))).scalar_one())


def test_a_row_arrives_as_it_was(with_database: WithDatabase, tmp_path: Path) -> None:
    async def body(database: Database) -> None:
        ledger = made(database, tmp_path / "ledger")
        full = row(
            ledger, key_id="a" * 64, user_id="u", team_id="t", end_user="名前 '; DROP TABLE calls; --", characters=5,
            audio_seconds_in=1.25, audio_seconds_out=0.1, input_text_tokens=1 << 40, cost=(1 << 62) + 1,
            guardrails='[{"guardrail":"pii"}]', fallback="other", error="upstream_timeout", total_ms=1.125,
            tags=["eu", "+x", "日本"],
        )  # fmt: skip
        bare = {name: full[name] for name in REQUIRED} | {"id": ledger.new_id()}
        ledger.append(full)
        ledger.append(bare)
        assert ledger.waiting == 2
        assert ledger.size > 0
        await ledger.move()
        assert (ledger.waiting, ledger.size, ledger.lag) == (0, 0, 0.0)
        first, second = await stored(database)
        assert dict(first) == {name: full.get(name) for name in COLUMNS}
        assert dict(second) == {name: bare.get(name) for name in COLUMNS}
        async with database.transaction() as connection:
            tags = (await connection.execute(select(CALL_TAGS).order_by(CALL_TAGS.c.tag))).all()
        assert sorted(tags) == sorted((full["id"], tag) for tag in full["tags"])
        await ledger.aclose()
        assert list((tmp_path / "ledger").iterdir()) == []

    with_database(body)


def test_a_row_that_is_read_twice_is_one_row(with_database: WithDatabase, tmp_path: Path) -> None:
    async def body(database: Database) -> None:
        ledger = made(database, tmp_path)
        rows = [row(ledger, tags=["a"]) for _ in range(2500)]
        for one in rows:
            ledger.append(one)
        ledger._journal.rotate()
        (segment,) = ledger._journal.closed()
        await ledger._store(segment)
        ledger.append(row(ledger))
        await ledger.move()
        assert await count(database) == 2501
        assert ledger.waiting == 0

    with_database(body)


def test_the_rows_of_a_dead_process_are_recovered_by_one_of_the_others(
    with_database: WithDatabase, tmp_path: Path
) -> None:
    async def body(database: Database) -> None:
        pid = os.fork()
        if not pid:
            _die_with_rows(tmp_path, 50)
        os.waitpid(pid, 0)  # noqa: ASYNC222
        alive = [made(database, tmp_path) for _ in range(3)]
        alive[0].append(row(alive[0]))
        await asyncio.gather(*(ledger.move() for ledger in alive))
        assert await count(database) == 51
        for ledger in alive:
            await ledger.aclose()
        assert not {Path(name).suffix for name in os.listdir(tmp_path)} & {".log", ".lock"}

    with_database(body)


def _die_with_rows(folder: Path, rows: int) -> None:
    journal = Journal(folder)
    journal.open()
    for number in range(rows):
        journal.append(json.dumps(call(number)).encode())
    journal.append(b"")
    with open(folder / f"{journal.owner}-00000001.log", "r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b'{"id": "half of a ro')
    os._exit(0)


def test_while_the_database_is_away_rows_wait(database_url: str, tmp_path: Path) -> None:
    async def body() -> None:
        database, now = Away(database_url), [1000.0]
        ledger = made(database, tmp_path / "ledger", clock=lambda: now[0])
        database.away = True
        for _ in range(100):
            ledger.admit()
            ledger.append(row(ledger))
            now[0] += 1
            await ledger.move()
        assert (ledger.waiting, ledger.lost, ledger.lag) == (100, 0, 100.0)
        # No more files than needed, however long it takes.
        assert len(list((tmp_path / "ledger").glob("*.log"))) <= 2
        database.away = False
        await ledger.move()
        assert (ledger.waiting, ledger.size, ledger.lag) == (0, 0, 0.0)
        assert await count(database) == 100
        assert ledger._log.events == [
            "ledger database does not answer; rows stay in the journal",
            "ledger database is available again",
        ]
        await database.aclose()

    asyncio.run(body())


@pytest.mark.parametrize("deny", [True, False])
def test_a_journal_is_bounded_and_says_so_before_it_is_full(tmp_path: Path, deny: bool) -> None:
    async def body() -> None:
        database = Away(f"sqlite:///{tmp_path / 'records.db'}")
        database.away = True
        ledger = made(database, tmp_path / "ledger", spool=20_000, deny_when_full=deny)
        taken, alarmed_at = 0, 0
        for _ in range(100):
            if deny and ledger.size >= 20_000:
                with pytest.raises(LedgerFull) as full:
                    ledger.admit()
                assert (full.value.status, full.value.code) == (503, "ledger_full")
                break
            ledger.admit()
            ledger.append(row(ledger))
            taken += 1
            if ledger._log.events and not alarmed_at:
                alarmed_at = ledger.size
        assert 0.8 * 20_000 <= alarmed_at < 20_000
        assert ledger.size < 21_000
        if deny:
            assert 0 < taken < 100
            assert ledger.lost == 0
        else:
            assert taken == 100
            assert 0 < ledger.lost < 100
        database.away = False
        await ledger.move()
        ledger.admit()
        assert await count(database) == taken - ledger.lost
        await database.aclose()

    asyncio.run(body())


def test_rows_that_the_disk_does_not_take_go_past_it(
    with_database: WithDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(database: Database) -> None:
        ledger = made(database, tmp_path / "ledger")
        ledger.append(row(ledger))
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
        for _ in range(3):
            ledger.append(row(ledger))
        with pytest.raises(LedgerFull):
            ledger.admit()
        monkeypatch.undo()
        assert (ledger.waiting, ledger.lost) == (4, 0)
        await ledger.move()
        ledger.admit()
        assert (ledger.waiting, await count(database)) == (0, 4)
        assert not list((tmp_path / "ledger").glob("rejected*"))
        await ledger.aclose()

    with_database(body)


def test_the_limit_of_a_files_size_loses_nothing(tmp_path: Path) -> None:
    """The system's own refusal, in a process of its own."""
    outcome = multiprocessing.get_context("spawn").Process(target=_fill, args=(str(tmp_path),))
    outcome.start()
    outcome.join(60)
    assert outcome.exitcode == 0


def _fill(folder: str) -> None:
    import resource

    async def body() -> None:
        database = Away(f"sqlite:///{folder}/records.db")
        await database.open()
        ledger = made(database, Path(folder, "ledger"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
        for _ in range(20):
            ledger.append(row(ledger))
        assert 0 < len(ledger._buffer) < 20
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        await ledger.move()
        assert await count(database) == 20
        assert ledger.lost == 0
        await ledger.aclose()
        await database.aclose()

    asyncio.run(body())


def test_one_bad_row_holds_up_no_other(with_database: WithDatabase, tmp_path: Path) -> None:
    async def body(database: Database) -> None:
        ledger = made(database, tmp_path / "ledger")
        good = [row(ledger) for _ in range(5)]
        for one in good[:3]:
            ledger.append(one)
        ledger.append(row(ledger, model=None))
        ledger.append(row(ledger, end_user="nul \x00 in it"))
        ledger.append(row(ledger, end_user="half \ud800 of a pair"))
        ledger._journal.append(b"no JSON at all")
        ledger._journal.append(b"\xff\xfe")
        for one in good[3:]:
            ledger.append(one)
        await ledger.move()
        assert await count(database) == 7
        assert ledger.size == 0
        rejected = (tmp_path / "ledger" / "rejected.jsonl").read_bytes().splitlines()
        assert len(rejected) == 3
        await ledger.aclose()

    with_database(body)


def test_retention(with_database: WithDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_writer, "DELETE_BATCH", 7)

    async def body(database: Database) -> None:
        now = [NOON / 1000]
        ledger = made(database, tmp_path / "ledger", clock=lambda: now[0], retention=3)
        for age in range(60):
            ledger.append(row(ledger, time=NOON - age * 3_600_000 * 2, tags=["x"]))
        await ledger.move()
        rows = await stored(database)
        assert len(rows) == 37
        assert min(one["time"] for one in rows) >= NOON - 3 * DAY * 1000
        now[0] += DAY
        await ledger.move()
        assert len(await stored(database)) == 25
        async with database.transaction() as connection:
            assert (await connection.execute(select(func.count()).select_from(CALL_TAGS))).scalar_one() == 25
            await connection.execute(delete(CALLS))
        await ledger.aclose()

    with_database(body)


def test_power_waits_for_the_disk_and_shares_the_wait(
    with_database: WithDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from proxy.storage import journal as journal_module

    synced: list[int] = []
    real = journal_module._fdatasync
    monkeypatch.setattr(journal_module, "_fdatasync", lambda file: (synced.append(os.fstat(file).st_size), real(file)))

    async def body(database: Database) -> None:
        ledger = made(database, tmp_path / "ledger", power=True)
        assert ledger.needs_sync

        async def one() -> int:
            ledger.append(row(ledger))
            size = ledger.size
            await ledger.sync()
            return size

        sizes = await asyncio.gather(*(one() for _ in range(200)), ledger.move())
        assert sum(synced) >= max(size for size in sizes if size)
        assert len(synced) < 20
        await ledger.move()
        assert await count(database) == 200
        await ledger.aclose()

    with_database(body)


def test_two_processes_lose_and_double_nothing(database_url: str, tmp_path: Path) -> None:
    asyncio.run(_opened(database_url))
    processes = multiprocessing.get_context("spawn")
    writers = [processes.Process(target=_write, args=(database_url, str(tmp_path / "ledger"), 2500)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0, 0]

    async def numbers() -> tuple[int, int]:
        database = Database(database_url)
        async with database.transaction() as connection:
            counts = select(func.count(), func.count(func.distinct(CALLS.c.id))).select_from(CALLS)
            total, different = (await connection.execute(counts)).one()
        await database.aclose()
        return total, different

    assert asyncio.run(numbers()) == (5000, 5000)


@pytest.fixture(autouse=True)
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows move when a test says so."""
    monkeypatch.setattr(ledger_module, "INTERVAL", 60.0)


async def _opened(url: str) -> None:
    database = Database(url)
    await database.open()
    await database.aclose()


def _write(url: str, folder: str, rows: int) -> None:
    ledger_module.INTERVAL = 0.01

    async def body() -> None:
        database = Database(url)
        ledger = made(database, Path(folder))
        for number in range(rows):
            ledger.append(row(ledger))
            if number % 50 == 0:
                await asyncio.sleep(0.001)
        await ledger.aclose()
        assert (ledger.waiting, ledger.lost) == (0, 0)
        await database.aclose()

    asyncio.run(body())
