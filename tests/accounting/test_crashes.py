"""What clients have got is in the ledger exactly once, whatever dies meanwhile: the server, or its database.

``AUDIO_PROXY_KILLS=20`` for more kills than the three of every run.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy

from tests.accounting.conftest import Postgres
from tests.accounting.test_servers import until
from tests.conftest import MASTER_KEY, Server, launch, standard_config
from tests.fakes.upstream import Upstream

KILLS = int(os.environ.get("AUDIO_PROXY_KILLS", "3"))
CLIENTS = 8
MASTER = {"authorization": f"Bearer {MASTER_KEY}"}
Serve = Callable[..., Server]


class Load:
    """Clients that call without pause, each call with an id of its own; ``completed`` are those that came whole."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._url = ""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.completed: list[str] = []
        self.failed: list[str] = []

    @contextmanager
    def on(self, server: Server) -> Iterator[None]:
        self._url = server.url
        self._stop.clear()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join()

    def _call(self, client: int) -> None:
        model = ("tts", "gpt-tts", "whisper", "selfhosted")[client % 4]
        with httpx.Client(headers=MASTER, timeout=20) as http:
            count = 0
            while not self._stop.is_set():
                count += 1
                name = f"{self._name}.{time.monotonic_ns()}.{client}.{count}"
                try:
                    answer = self._ask(http, model, name)
                except httpx.TransportError:
                    self.failed.append(name)
                    continue
                (self.completed if answer.status_code == 200 else self.failed).append(name)

    def _ask(self, http: httpx.Client, model: str, name: str) -> httpx.Response:
        headers = {"x-request-id": name}
        if model == "whisper":
            form = {"model": model, "response_format": "json"}
            return http.post(
                f"{self._url}/v1/audio/transcriptions", data=form, files={"file": b"RIFF"}, headers=headers
            )
        body = {"model": model, "input": "Hello there", "voice": "alloy"}
        return http.post(f"{self._url}/v1/audio/speech", json=body, headers=headers)


def rows(url: str) -> Counter[str]:
    """How often each request is in the ledger."""
    plain = url.replace("postgresql://", "postgresql+asyncpg://").replace("sqlite://", "sqlite+aiosqlite://")
    import asyncio

    from proxy.storage.database import Database

    async def read() -> Counter[str]:
        database = Database(plain)
        async with database.transaction() as connection:
            table = "calls" if database.is_sqlite else "audio_proxy.calls"
            found = (await connection.execute(sqlalchemy.text(f"SELECT request_id FROM {table}"))).scalars().all()
        await database.aclose()
        return Counter(found)

    return asyncio.run(read())


def config(upstream: Upstream, url: str, **general: Any) -> dict[str, Any]:
    upstream.behave("kokoro", chunk_size=300, gap=0.004)
    return standard_config(upstream.url, database_url=url, **general)


@pytest.mark.parametrize("durability", ["process", "power"])
def test_kill_9_under_load_loses_no_completed_answer(
    upstream: Upstream, database_url: str, tmp_path: Path, durability: str
) -> None:
    load = Load("k")
    settings = config(upstream, database_url, ledger_durability=durability)
    for kill in range(KILLS):
        server = launch(settings, tmp_path, workers=1 + kill % 2)
        with load.on(server):
            time.sleep(0.3 + 0.1 * (kill % 10))
            for pid in children(server.process.pid) or [server.process.pid]:
                os.kill(pid, 9)
            server.process.kill()
            server.process.wait()
    last = launch(settings, tmp_path)
    until(lambda: not list((tmp_path / "audio-proxy-ledger").glob("*.log")), "the rows of the dead are recovered")
    assert last.stop() == 0
    found = rows(database_url)
    assert len(load.completed) > 10 * KILLS
    lost = [name for name in load.completed if found[name] == 0]
    doubled = [name for name, times in found.items() if times > 1]
    print(
        f"{KILLS} kills, {len(load.completed)} completed, {len(found)} rows, {len(lost)} lost, {len(doubled)} doubled"
    )
    assert (lost, doubled) == ([], [])
    assert "rejected.jsonl" not in os.listdir(tmp_path / "audio-proxy-ledger")


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def test_while_the_database_is_away_no_call_fails_and_no_row_is_lost(
    upstream: Upstream, serve: Serve, postgres: Postgres
) -> None:
    url = postgres.new()
    server, load = serve(config(upstream, url)), Load("a")
    with load.on(server):
        time.sleep(1.2)
        postgres.stop()
        try:
            time.sleep(float(os.environ.get("AUDIO_PROXY_AWAY", "3")))
            assert server.process.poll() is None
            waiting = metric(server, "audio_proxy_ledger_waiting_rows")
            assert waiting > 50
            assert metric(server, "audio_proxy_ledger_lag_seconds") > 1
            assert httpx.get(f"{server.url}/health/readiness").status_code == 200
        finally:
            postgres.start()
        time.sleep(0.5)
    until(lambda: metric(server, "audio_proxy_ledger_waiting_rows") == 0, "the rows have moved")
    assert metric(server, "audio_proxy_ledger_lost_rows_total") == 0
    found = rows(url)
    assert load.failed == []
    assert {name: found[name] for name in load.completed if found[name] != 1} == {}
    assert "Traceback" not in server.log()
    print(f"{len(load.completed)} calls, {waiting:.0f} rows waited")


def metric(server: Server, name: str) -> float:
    text = httpx.get(f"{server.url}/metrics", headers=MASTER).text
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))


def test_a_full_journal_denies_calls_or_lets_them_pass(upstream: Upstream, serve: Serve, postgres: Postgres) -> None:
    url = postgres.new()
    servers = {
        policy: serve(config(upstream, url, ledger_spool_mb=0.02, on_ledger_full=policy))
        for policy in ("deny", "allow")
    }
    body = {"model": "tts", "input": "Hello", "voice": "alloy"}
    postgres.stop()
    try:
        statuses = {
            policy: [
                httpx.post(f"{server.url}/v1/audio/speech", json=body, headers=MASTER).status_code for _ in range(80)
            ]
            for policy, server in servers.items()
        }
        refused = httpx.post(f"{servers['deny'].url}/v1/audio/speech", json=body, headers=MASTER)
    finally:
        postgres.start()
    assert set(statuses["allow"]) == {200}
    assert statuses["deny"] == sorted(statuses["deny"])
    assert set(statuses["deny"]) == {200, 503}
    assert refused.json()["error"]["code"] == "ledger_full"
    assert int(refused.headers["retry-after"]) > 0
    assert all("ledger journal nearly full" in server.log() for server in servers.values())
    for server in servers.values():
        until(lambda: metric(server, "audio_proxy_ledger_waiting_rows") == 0, "the rows have moved")  # noqa: B023
    assert httpx.post(f"{servers['deny'].url}/v1/audio/speech", json=body, headers=MASTER).status_code == 200
    assert metric(servers["deny"], "audio_proxy_ledger_lost_rows_total") == 0
    lost = metric(servers["allow"], "audio_proxy_ledger_lost_rows_total")
    assert lost > 0
    assert sum(rows(url).values()) >= statuses["deny"].count(200) + 80 - lost
