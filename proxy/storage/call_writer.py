"""Writes the rows of calls, in batches of JSON documents as the journal holds them, and deletes old ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from pydantic_core import from_json
from sqlalchemy import delete, select
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from proxy.storage.database import SCHEMA, Database, sqlstate
from proxy.storage.tables import CALLS

#: Rows that one statement deletes, so that it holds no lock for long.
DELETE_BATCH = 2000
#: SQLSTATE classes of bad data and of violated constraints.
_ROW_ERRORS = ("22", "23")
_POSTGRESQL_CALLS = (
    f"INSERT INTO {SCHEMA}.calls SELECT * FROM "  # noqa: S608 - a constant
    f"json_populate_recordset(NULL::{SCHEMA}.calls, $1::text::json) ON CONFLICT DO NOTHING"
)
_POSTGRESQL_TAGS = (
    f"INSERT INTO {SCHEMA}.call_tags (call_id, tag) SELECT call->>'id', tag "  # noqa: S608 - a constant
    "FROM json_array_elements($1::text::json) AS call, json_array_elements_text(call->'tags') AS tag "
    "ON CONFLICT DO NOTHING"
)

_Statement = tuple[str, Any]


class RowRejected(Exception):
    """The database will never accept one of the rows of the batch."""


class CallWriter:
    """A batch is one transaction. The statements are the drivers' own: they cost a fraction of SQLAlchemy's."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, records: Sequence[bytes]) -> None:
        """Rows that exist already stay as they are. Raises RowRejected or Unavailable, and then inserts none."""
        statements = await asyncio.to_thread(_sqlite if self._database.is_sqlite else _postgresql, records)
        try:
            async with self._database.transaction() as connection:
                for statement, values in statements:
                    await connection.exec_driver_sql(statement, values)
        except DBAPIError as error:
            if sqlstate(error)[:2] in _ROW_ERRORS or isinstance(error, DataError | IntegrityError):
                raise RowRejected(type(error.orig).__name__) from error
            raise

    async def delete_before(self, time: int) -> None:
        """Delete the calls that began before ``time`` (milliseconds since 1970), a batch per transaction."""
        old = select(CALLS.c.id).where(CALLS.c.time < time).limit(DELETE_BATCH)
        deleted = DELETE_BATCH
        while deleted >= DELETE_BATCH:
            async with self._database.transaction() as connection:
                deleted = (await connection.execute(delete(CALLS).where(CALLS.c.id.in_(old)))).rowcount


def _sqlite(records: Sequence[bytes]) -> list[_Statement]:
    """Rows as tuples: SQLite's own JSON functions are slower."""
    names = CALLS.columns.keys()
    try:
        rows = [from_json(record) for record in records]
        calls = [tuple(map(row.get, names)) for row in rows]
        tags = [(row["id"], tag) for row in rows if "tags" in row for tag in row["tags"]]
    except (ValueError, AttributeError) as error:
        raise RowRejected("not JSON") from error
    placeholders = ", ".join("?" * len(names))
    insert = f"INSERT INTO calls ({', '.join(names)}) VALUES ({placeholders}) ON CONFLICT DO NOTHING"  # noqa: S608 - constants
    statements: list[_Statement] = [(insert, calls)]
    if tags:
        statements.append(("INSERT INTO call_tags (call_id, tag) VALUES (?, ?) ON CONFLICT DO NOTHING", tags))
    return statements


def _postgresql(records: Sequence[bytes]) -> list[_Statement]:
    """All rows as one parameter, which the server splits."""
    try:
        rows = (b"[" + b",".join(records) + b"]").decode()
    except UnicodeDecodeError as error:
        raise RowRejected("not UTF-8") from error
    statements: list[_Statement] = [(_POSTGRESQL_CALLS, (rows,))]
    if any(b'"tags":[' in record for record in records):
        statements.append((_POSTGRESQL_TAGS, (rows,)))
    return statements
