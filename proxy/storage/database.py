"""The database: a SQLite file, or PostgreSQL with a schema of our own. Opening it brings its tables up to date."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlencode

from sqlalchemy import ColumnElement, Connection, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.errors import ConfigError, Overloaded

SCHEMA = "audio_proxy"
VERSION_TABLE = "audio_proxy_version"
#: The newest migration.
HEAD = "0003"
#: PostgreSQL identifies an advisory lock by a number: this one is the same for every process.
_MIGRATION_LOCK = 0x6175_6469_6F
#: Options that LiteLLM's URLs may contain for its database library.
_PRISMA_OPTIONS = frozenset({
    "connect_timeout", "connection_limit", "pgbouncer", "pool_timeout", "schema", "socket_timeout", "sslaccept",
    "statement_cache_size",
})  # fmt: skip
#: SQLSTATE classes of errors that may soon pass: connections, rollbacks, locks, resources, a server that starts or
#: stops.
_TRANSIENT = ("08", "40", "53", "55", "57")
_BUSY_SECONDS = 15.0
_CONNECT_SECONDS = 5.0


class Unavailable(Overloaded):
    """The database does not answer."""

    code = "database_unavailable"


class Database:
    """One engine. The first transaction opens it; close it with ``aclose``."""

    def __init__(self, url: str) -> None:
        #: SQLAlchemy's URL with an asynchronous driver; may contain a password.
        self._url = async_url(url)
        self._engine: AsyncEngine | None = None
        self._opening = asyncio.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self._url.startswith("sqlite")

    async def open(self) -> AsyncEngine:
        """Connect and bring the tables up to date, once. Raises ConfigError if they are newer than this program."""
        async with self._opening:
            if self._engine is not None:
                return self._engine
            engine = _engine(self._url)
            try:
                async with _mapped_errors(engine.connect) as connection:
                    await _upgrade(connection, sqlite=self.is_sqlite)
            except BaseException:
                await engine.dispose()
                raise
            self._engine = engine
            return engine

    async def is_current(self) -> bool:
        """Whether it exists and has the tables of this program's version. Changes nothing."""
        if self.is_sqlite and not _file_exists(self._url):
            return False
        engine = _engine(self._url)
        try:
            async with _mapped_errors(engine.connect) as connection:
                return await connection.run_sync(_version) == HEAD
        finally:
            await engine.dispose()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection whose changes are committed at the end, or rolled back on an error. Raises Unavailable."""
        engine = self._engine or await self.open()
        async with _mapped_errors(engine.begin) as connection:
            yield connection

    async def aclose(self) -> None:
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None


def async_url(url: str) -> str:
    """``postgresql://…``, ``postgres://…`` or ``sqlite:///…``, with the asynchronous driver's name in the scheme."""
    scheme, separator, rest = url.partition("://")
    drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
    name = scheme.partition("+")[0]
    if not separator or name not in drivers:
        raise ConfigError(["database_url must begin with sqlite:/// or postgresql://"])
    return f"{drivers[name]}://{rest if name == 'sqlite' else _with_asyncpg_options(rest)}"


def _with_asyncpg_options(rest: str) -> str:
    """The URL after its scheme: libpq's ``sslmode`` as asyncpg calls it, without Prisma's own options."""
    location, _, query = rest.partition("?")
    options = [(name, value) for name, value in parse_qsl(query) if name not in _PRISMA_OPTIONS]
    named = urlencode([("ssl" if name == "sslmode" else name, value) for name, value in options], safe="/")
    return f"{location}?{named}" if named else location


def _file_exists(url: str) -> bool:
    return os.path.exists(make_url(url).database or "")


def by_code_point(connection: AsyncConnection, column: ColumnElement[str]) -> ColumnElement[str]:
    """The column, to be ordered and compared by code point: PostgreSQL's default is the locale of its installation."""
    return column if connection.dialect.name == "sqlite" else column.collate("C")


def _engine(url: str) -> AsyncEngine:
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
    def _configure(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    return engine


@asynccontextmanager
async def _mapped_errors(
    connect: Callable[[], AbstractAsyncContextManager[AsyncConnection]],
) -> AsyncIterator[AsyncConnection]:
    """A connection. Errors that mean that the database is away become Unavailable; all others stay as they are."""
    try:
        async with connect() as connection:
            yield connection
    except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
        raise _unavailable(error) from error
    except DBAPIError as error:
        is_transient = sqlstate(error)[:2] in _TRANSIENT
        if is_transient or error.connection_invalidated or isinstance(error.orig, OSError):
            raise _unavailable(error) from error
        raise


def sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's code of the error; empty for SQLite, whose driver reports none."""
    return str(getattr(error.orig, "sqlstate", "") or "")


def _unavailable(error: BaseException) -> Unavailable:
    """``detail`` is for the log: the driver's message without the statement, its values and the URL."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    detail = f"{type(cause).__name__}: {str(cause)[:200]}"
    return Unavailable("The database does not answer. Please try again.", detail=detail)


async def _upgrade(connection: AsyncConnection, *, sqlite: bool) -> None:
    if not sqlite:
        # One process migrates while the others wait here; the lock ends with the transaction.
        await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATION_LOCK})
        await connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        await connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))
    else:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    await connection.run_sync(_migrate)
    await connection.commit()


def _version(connection: Connection) -> str | None:
    """The last migration that was applied; None if there are no tables yet."""
    schema = None if connection.dialect.name == "sqlite" else SCHEMA
    if not inspect(connection).has_table(VERSION_TABLE, schema=schema):
        return None
    table = VERSION_TABLE if schema is None else f"{schema}.{VERSION_TABLE}"
    version = connection.execute(text(f"SELECT version_num FROM {table}")).scalar()  # noqa: S608 - a constant
    return None if version is None else str(version)


def _migrate(connection: Connection) -> None:
    version = _version(connection)
    if version == HEAD:
        return
    if version is not None and version > HEAD:
        raise ConfigError(
            [f"the database has version {version}, newer than this program ({HEAD}); use a newer audio-proxy"]
        )
    # Alembic loads slowly and is needed once per version; it also logs its plugins while it loads.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(files("proxy.storage").joinpath("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, HEAD)
