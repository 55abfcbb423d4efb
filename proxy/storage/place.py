"""Where records are kept: looked at before anything is served, so that what cannot work is said at once."""

from __future__ import annotations

import os
from pathlib import Path

from proxy.config import Config
from proxy.errors import ConfigError, ProxyError
from proxy.storage.database import Database

_IN_MEMORY = ("", ":memory:")
_DATABASE_URL = "database_url (sqlite:///… or postgresql://…)"


async def prepare(config: Config) -> None:
    """Bring the database up to date. Raises ConfigError where it cannot be used, Unavailable where it is away."""
    if (file := _sqlite_file(config.database_url)) is not None:
        _make_file(file)
    _make_folder(config.ledger_dir)
    database = Database(config.database_url)
    try:
        await database.open()
    except ProxyError:
        raise
    except Exception as error:
        # A URL with an option that the driver does not know, a file that is no database: never repeated, it may hold
        # a password.
        raise ConfigError([f"general_settings.database_url cannot be used ({type(error).__name__})"]) from None
    finally:
        await database.aclose()


def check_spool(config: Config) -> None:
    """Raises ConfigError for a folder of uploads that is not there: else the first large one would find out."""
    folder = config.general.spool_dir
    if folder is None:
        return
    if not os.path.isdir(folder):
        raise _unusable("spool", Path(folder), "no such folder", "spool_dir")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unusable("spool", Path(folder), "it is read-only", "spool_dir")


def _sqlite_file(url: str) -> Path | None:
    scheme, _, rest = url.partition("://")
    if not scheme.startswith("sqlite"):
        return None
    name = rest.removeprefix("/").partition("?")[0]
    if name in _IN_MEMORY:
        raise ConfigError(["general_settings.database_url must name a file: one in memory would be each process's own"])
    return Path(name)


def _make_file(path: Path) -> None:
    """For its owner only; SQLite gives its other files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        writable = os.access(path.parent, os.W_OK | os.X_OK)
    except OSError as error:
        raise _unusable(
            "database", path, error.strerror or "", "database_url (sqlite:///… or postgresql://…)"
        ) from None
    if not writable:
        raise _unusable("database", path, "its folder is read-only", "database_url (sqlite:///… or postgresql://…)")


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise _unusable("ledger", path, error.strerror or "", "ledger_dir") from None
    if not writable:
        raise _unusable("ledger", path, "it is read-only", "ledger_dir")


def _unusable(what: str, path: Path, why: str, setting: str) -> ConfigError:
    return ConfigError(
        [f"the {what} cannot be written at {path}: {why}; name another place: general_settings.{setting}"]
    )
