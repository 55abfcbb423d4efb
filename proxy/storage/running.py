"""Which database a running server uses, so that a command does not change another one in vain.

A command may lack the server's environment variables, and then finds another data folder. So a server leaves a note
for the commands that are given the same configuration: a socket in Linux's abstract namespace whose name says all, and
to which nobody connects. It needs no folder that both may write, every user can see it in ``/proc/net/unix``, and it
ends with the process. Other systems have no such names; there, no mistake is noticed.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from proxy.config import Config
from proxy.config.environment import ENV_FILE
from proxy.config.models import DATA_VARIABLE, DATABASE_FILE
from proxy.errors import ConfigError

_PREFIX = "audio-proxy"
#: A name has at most 107 bytes; 37 are the prefix, the configuration and the process.
_MAX_PLACE = 70
_NAMES = Path("/proc/net/unix")


class _Note(NamedTuple):
    configuration: str
    process: str
    place: str


def database_place(config: Config) -> str:
    """Where the database is: a file, or a server and a name, without user and password."""
    try:
        url = make_url(config.database_url)
    except (ArgumentError, ValueError):
        return "an invalid database_url"  # reported when it is opened
    if url.drivername.startswith("sqlite"):
        return os.path.realpath(url.database or ":memory:")
    host = url.host or url.query.get("host", "")
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{host if isinstance(host, str) else ','.join(host)}{port}/{url.database or ''}"


def unused_database(config: Config) -> Path | None:
    """The database that a command without the server's variables has left next to the configuration."""
    beside = config.folder / DATABASE_FILE
    return beside if beside.exists() and os.path.realpath(beside) != database_place(config) else None


@contextmanager
def announced(config: Config) -> Iterator[None]:
    """A server with this configuration is running."""
    with ExitStack() as stack:
        # A container may share the network's namespace, but not the process ids, and a sandbox may forbid such sockets.
        with suppress(OSError):
            note = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            if sys.platform == "linux":
                note.bind("\0" + "/".join((_PREFIX, *_note(config))))
        yield


def check_same_database(config: Config) -> None:
    """Raises ConfigError if servers with this configuration are running, and all of them use another database."""
    own = _note(config)
    others = [note for note in _notes() if note.configuration == own.configuration]
    if others and own.place not in [note.place for note in others]:
        raise ConfigError(
            [
                f"this command would use the database {database_place(config)}, but the server that is running with "
                f"{config.path} (process {others[0].process}) uses {unquote(others[0].place)}. Both need the same "
                f"${DATA_VARIABLE}: {_remedy(config.folder / ENV_FILE)}"
            ]
        )


def _remedy(env_file: Path) -> str:
    if env_file.exists() and not os.access(env_file, os.R_OK):
        return f"{env_file} may have it, but cannot be read by this user"
    return f"write it into {env_file}, where every command finds it"


def _note(config: Config) -> _Note:
    place = quote(os.fsencode(database_place(config)), safe="/:,@")
    if len(place) > _MAX_PLACE:
        digest = f"{_digest(place)}..."
        place = f"{digest}{place[len(digest) - _MAX_PLACE :]}"
    return _Note(_digest(os.path.realpath(config.path)), str(os.getpid()), place)


def _digest(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:16]


def _notes() -> Iterator[_Note]:
    try:
        lines = _NAMES.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        columns = line.split(maxsplit=7)
        parts = columns[7].removeprefix("@").split("/", 3) if len(columns) == 8 else []
        if len(parts) == 4 and parts[0] == _PREFIX:
            yield _Note(*parts[1:])
