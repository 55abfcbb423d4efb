"""The database: SQLite beside the configuration, or PostgreSQL in a schema of our own; migrated when it is opened.

SQLAlchemy is loaded when a database is opened and not before: a server's first answer and the SDK do without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from proxy.errors import ConfigError, Overloaded

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

SCHEMA = "audio_proxy"
VERSION_TABLE = "audio_proxy_version"
#: The newest migration.
HEAD = "0001"
#: Any number, the same for every process: PostgreSQL's advisory locks are numbers.
_MIGRATION_LOCK = 0x6175_6469_6F
#: What LiteLLM's URLs may hold for its database library.
_PRISMA_OPTIONS = frozenset({
    "connect_timeout", "connection_limit", "pgbouncer", "pool_timeout", "schema", "socket_timeout", "sslaccept",
    "statement_cache_size",
})  # fmt: skip
#: SQLSTATE's classes of what may have passed soon: connections, rollbacks, locks, resources, a server that starts or
#: stops.
_PASSING = ("08", "40", "53", "55", "57")
_BUSY_SECONDS = 15.0
_CONNECT_SECONDS = 5.0


class Unavailable(Overloaded):
    """The database does not answer."""

    code = "database_unavailable"


class Database:
    """One engine; ``open`` it before use and ``aclose`` it."""

    def __init__(self, url: str) -> None:
        #: SQLAlchemy's URL with an asynchronous driver; may hold a password.
        self._url = asynchronous(url)
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self._url.startswith("sqlite")

    async def open(self) -> AsyncEngine:
        """Connect and bring the tables up to date, once. ConfigError where they are newer than the program."""
        async with self._opening:
            if self._engine is not None:
                return self._engine
            await asyncio.to_thread(_load, sqlite=self.is_sqlite)
            engine = _engine(self._url)
            try:
                async with _as_ours(engine.connect) as connection:
                    await _bring_up_to_date(connection, sqlite=self.is_sqlite)
            except BaseException:
                await engine.dispose()
                raise
            self._engine = engine
            return engine

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose changes are kept at the end, or none of them. Raises Unavailable."""
        engine = self._engine or await self.open()
        async with _as_ours(engine.begin) as connection:
            yield connection

    async def aclose(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None


def asynchronous(url: str) -> str:
    """``postgresql://…``, ``postgres://…`` and ``sqlite:///…``, with the drivers that are used here."""
    scheme, separator, rest = url.partition("://")
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    name = scheme.partition("+")[0]
    if not separator or name not in drivers:
        raise ConfigError(["database_url must begin with sqlite:/// or postgresql://"])
    return f"{drivers[name]}://{rest if name == 'sqlite' else _with_our_options(rest)}"


def _with_our_options(rest: str) -> str:
    """The URL after its scheme: libpq's ``sslmode`` as the driver calls it, Prisma's own options left out."""
    place, _, query = rest.partition("?")
    options = [(name, value) for name, value in parse_qsl(query) if name not in _PRISMA_OPTIONS]
    named = urlencode([("ssl" if name == "sslmode" else name, value) for name, value in options], safe="/")
    return f"{place}?{named}" if named else place


def _load(*, sqlite: bool) -> None:
    """What is imported takes a third of a second, in which calls go on."""
    for name in ("sqlalchemy.ext.asyncio", "aiosqlite" if sqlite else "asyncpg", "proxy.storage.tables"):
        import_module(name)


def _engine(url: str) -> AsyncEngine:
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    if not url.startswith("sqlite"):
        return create_async_engine(
            url,
            pool_size=4,
            max_overflow=4,
            pool_pre_ping=True,
            pool_timeout=_CONNECT_SECONDS,
            connect_args={"timeout": _CONNECT_SECONDS, "command_timeout": 30, "statement_cache_size": 0},
            execution_options={"schema_translate_map": {None: SCHEMA}},
        )
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine.sync_engine, "connect")
    def _settle(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


@asynccontextmanager
async def _as_ours(connect: Any) -> AsyncIterator[AsyncConnection]:
    """A connection; what says that the database is away becomes Unavailable, and all else stays as it is."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    try:
        async with connect() as connection:
            yield connection
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise Unavailable("The database does not answer. Please try again.", detail=_said(error)) from error
    except DBAPIError as error:
        passing = str(getattr(error.orig, "sqlstate", "") or "")[:2] in _PASSING
        if passing or error.connection_invalidated or isinstance(error.orig, OSError):
            raise Unavailable("The database does not answer. Please try again.", detail=_said(error)) from error
        raise


def _said(error: BaseException) -> str:
    """What the driver said, for the log; without the statement and its values, and without the URL."""
    said = getattr(error, "orig", None) or error
    return f"{type(said).__name__}: {str(said)[:200]}"


async def _bring_up_to_date(connection: AsyncConnection, *, sqlite: bool) -> None:
    from sqlalchemy import text

    if not sqlite:
        # One process migrates, the others wait here; the lock goes with the transaction.
        await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        await connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
    else:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    await connection.run_sync(_migrate)
    await connection.commit()


def _migrate(connection: Connection) -> None:
    from sqlalchemy import inspect, text

    schema = None if connection.dialect.name == "sqlite" else SCHEMA
    found = None
    if inspect(connection).has_table(VERSION_TABLE, schema=schema):
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise ConfigError(
            [f"the database is of a newer version ({found}) than this program ({HEAD}); use a newer audio-proxy"]
        )
    # Alembic takes long to load, and is needed once in the life of a version. It tells of its own parts as it loads.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("proxy.storage").joinpath("migrations")))
    config.attributes["connection"] = connection
    logging.getLogger("alembic").setLevel(logging.WARNING)
    command.upgrade(config, HEAD)
