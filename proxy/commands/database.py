"""Runs commands that use the database directly, without a server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

from proxy.config import Config
from proxy.errors import ConfigError, ProxyError
from proxy.storage import preparation
from proxy.storage.database import Database
from proxy.storage.running import check_same_database, database_place


def run(config: Config, command: Callable[[Database], Awaitable[int]], *, writes: bool) -> int:
    """The command's exit status, or 1 and a message if it fails.

    Raises ConfigError, among other reasons if a running server uses another database. ``writes``: the command changes
    the database, and says which one.
    """
    check_same_database(config)
    if writes:
        print(f"Database: {database_place(config)}", file=sys.stderr)

    async def with_database() -> int:
        await preparation.prepare_records(config)
        database = Database(config.database_url)
        try:
            return await command(database)
        finally:
            await database.aclose()

    try:
        return asyncio.run(with_database())
    except ConfigError:
        raise
    except ProxyError as error:
        print(f"{error.message} {error.detail}".strip(), file=sys.stderr)
        return 1
