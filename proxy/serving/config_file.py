"""The configuration file of a running server: a changed file replaces the configuration as a whole, or not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import structlog

from proxy.accounting import doubtful_keys
from proxy.config import Config
from proxy.config.environment import ENV_FILE
from proxy.errors import ConfigError, ProxyError

#: Seconds between two checks whether the file has changed.
CHECK_INTERVAL = 1.0
#: Time of change, size and inode of a file, or None without one.
_Stamp = tuple[int, int, int] | None


class ConfigFile:
    """The current configuration and its file. ``load`` raises ConfigError if the file is invalid."""

    def __init__(self, load: Callable[[], Config]) -> None:
        self._load = load
        self.config = load()
        self._stamp = self._current_stamp()

    def changed(self) -> bool:
        """Whether it or its `.env` has changed since it was last loaded. A missing file counts as unchanged."""
        stamp = self._current_stamp()
        return stamp[0] is not None and stamp != self._stamp

    def reload(self) -> bool:
        """Load the file. Returns whether it replaced ``config``; if it is invalid, the problems are logged."""
        log = structlog.get_logger()
        self._stamp = self._current_stamp()
        before = self.config.general.master_key
        try:
            self.config = self._load()
        except ConfigError as error:
            log.error("invalid configuration; the previous one stays active", problems=error.problems)
            return False
        for warning in self.config.warnings:
            log.warning(warning)
        if self.config.general.master_key != before:
            warn_of_doubtful_keys(self.config)
        log.info("configuration loaded", deployments=len(self.config.deployments))
        return True

    def _current_stamp(self) -> tuple[_Stamp, _Stamp]:
        return _stamp(self.config.path), _stamp(self.config.folder / ENV_FILE)


def _stamp(path: str | Path) -> _Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def warn_of_doubtful_keys(config: Config) -> None:
    """Does nothing if the database cannot be used: the start reports that."""
    try:
        warning = asyncio.run(doubtful_keys.warning(config))
    except ProxyError:
        return
    if warning is not None:
        structlog.get_logger().warning(warning)
