"""The configuration file while the server runs: loaded anew as a whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable

import structlog

from proxy.config import Config
from proxy.errors import ConfigError

#: Seconds between two looks at the file.
INTERVAL = 1.0


class ConfigFile:
    """The configuration in force, and the file behind it. ``load`` raises ConfigError for one with mistakes."""

    def __init__(self, load: Callable[[], Config]) -> None:
        self._load = load
        self.config = load()
        self._stamp = self._look()

    def changed(self) -> bool:
        """Whether the file is another one than at the last load; a missing one counts as unchanged."""
        stamp = self._look()
        return stamp is not None and stamp != self._stamp

    def reload(self) -> bool:
        """Whether there is a new ``config``. A file with mistakes changes nothing; they go to the log."""
        log = structlog.get_logger()
        self._stamp = self._look()
        try:
            self.config = self._load()
        except ConfigError as error:
            log.error("configuration refused, the old one stays", problems=error.problems)
            return False
        for warning in self.config.warnings:
            log.warning(warning)
        log.info("configuration loaded", deployments=len(self.config.deployments))
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.config.path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
