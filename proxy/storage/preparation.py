"""Prepares the places where records are stored, before anything is served, so that mistakes are reported at once."""

from __future__ import annotations

import os
import pwd
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from proxy.config import Config
from proxy.config.models import DATA_VARIABLE
from proxy.errors import ConfigError, ProxyError
from proxy.storage.database import Database

_IN_MEMORY = ("", ":memory:")
_DATABASE_URL = "database_url (sqlite:///… or postgresql://…)"


async def prepare_records(config: Config) -> None:
    """The ledger's folder, and a database that is up to date.

    Raises ConfigError if they cannot be used, Unavailable if the database does not answer.
    """
    if (file := _sqlite_file(config.database_url)) is not None:
        _create_file(file)
    _create_folder(config.ledger_dir)
    async with usable_database(config) as database:
        await database.open()


@asynccontextmanager
async def usable_database(config: Config) -> AsyncIterator[Database]:
    """The database. Raises ConfigError inside the block if it cannot be used, Unavailable if it does not answer."""
    database = Database(config.database_url)
    try:
        yield database
    except ProxyError:
        raise
    except Exception as error:
        # An option that the driver does not know, or a file that is not a database. The message never repeats the URL,
        # which may contain a password.
        raise ConfigError([f"general_settings.database_url cannot be used ({type(error).__name__})"]) from None
    finally:
        await database.aclose()


def check_spool(config: Config) -> None:
    """Raises ConfigError for a spool folder that cannot be used; otherwise the first large upload would fail."""
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
        raise ConfigError(
            ["general_settings.database_url must name a file: processes cannot share a database in memory"]
        )
    return Path(name)


def _create_file(path: Path) -> None:
    """Only its owner may read it; SQLite gives its other files the same mode and owner."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        writable = os.access(path.parent, os.W_OK | os.X_OK)
    except FileNotFoundError:
        raise _unusable("database", path, "its folder does not exist", _DATABASE_URL) from None
    except OSError as error:
        raise _unusable("database", path, error.strerror or "", _DATABASE_URL) from None
    if not writable:
        raise _unusable("database", path, "its folder is read-only", _DATABASE_URL)
    _give_to_owner_of_folder(path)


def _create_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        writable = os.access(path, os.W_OK | os.X_OK)
    except OSError as error:
        raise _unusable("ledger", path, error.strerror or "", "ledger_dir") from None
    if not writable:
        raise _unusable("ledger", path, "it is read-only", "ledger_dir")
    _give_to_owner_of_folder(path)


def _give_to_owner_of_folder(path: Path) -> None:
    """What root creates, with a command, must be usable by the server, to whose user the folder belongs."""
    if os.geteuid() != 0 or path.stat().st_uid != 0:
        return
    owner = path.parent.stat()
    with suppress(OSError):  # root without the right to give files away
        os.chown(path, owner.st_uid, owner.st_gid)


def _unusable(what: str, path: Path, why: str, setting: str) -> ConfigError:
    existing = next(place for place in (path, *path.parents) if _exists(place))
    owner = existing.stat().st_uid
    remedy = f"set ${DATA_VARIABLE} or general_settings.{setting} to another place"
    if owner != os.geteuid():
        remedy = f"run this command as {_user(owner)}, to whom {existing} belongs, or {remedy}"
    return ConfigError([f"cannot write the {what} at {path}: {why}; {remedy}"])


def _exists(path: Path) -> bool:
    """False if the folder may not even be looked at."""
    try:
        return path.exists()
    except OSError:
        return False


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
