"""The start of the server: checks that need no request, then one worker, or a supervisor with several."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress

import structlog

from proxy.config import Config
from proxy.serving.certificate import tls_context
from proxy.serving.config_file import ConfigFile, warn_of_doubtful_keys
from proxy.serving.options import ServerOptions
from proxy.serving.sockets import listen, raise_file_limit
from proxy.serving.supervisor import Supervisor
from proxy.serving.worker import run_worker
from proxy.storage import preparation, running
from proxy.storage.database import Unavailable
from proxy.telemetry import configure_logging

#: Open files of a process besides two for each stream: listeners, logs, databases, child processes.
OTHER_FILES = 100


def serve(file: ConfigFile, options: ServerOptions) -> int:
    """Serve until stopped; the exit status. Prints ``RUNNING on http://…`` once calls are answered.

    Raises OSError if it cannot listen, ConfigError for a certificate, a folder or a database that cannot be used.
    """
    tls_context(options)  # for its errors: each worker loads the certificate by itself
    general = file.config.general
    configure_logging(general.log_format, general.log_level)
    _raise_file_limit(general.max_concurrent_streams)
    preparation.check_spool(file.config)
    _prepare_database(file.config)
    sockets = listen(options.host, options.port)
    host = f"[{options.host}]" if ":" in options.host else options.host
    scheme = "https" if options.ssl_certfile else "http"
    address = f"{scheme}://{host}:{sockets[0].getsockname()[1]}"

    def announce() -> None:
        try:
            print(f"RUNNING on {address}", flush=True)
        except OSError:  # the reader is gone; serve anyway, and do not fail at exit when Python flushes again
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    with running.announced(file.config):
        if options.workers > 1:
            return Supervisor(file, options, sockets, announce).run()
        run_worker(file, options, sockets, lambda _: announce(), watch=True)
    return 0


def _prepare_database(config: Config) -> None:
    """An unreachable database may come back; one that can never be used is an error in the configuration."""
    log = structlog.get_logger()
    with suppress(OSError):  # nobody reads the log; serve anyway
        log.info("keys and calls are stored", database=running.database_place(config), ledger=str(config.ledger_dir))
        if (unused := running.unused_database(config)) is not None:
            log.warning("a database next to the configuration is not used", database=str(unused))
    try:
        asyncio.run(preparation.prepare_records(config))
    except Unavailable as error:
        log.error("the database is unreachable; virtual keys cannot be checked until it is back", reason=error.detail)
    else:
        warn_of_doubtful_keys(config)


def _raise_file_limit(streams: int) -> None:
    needed = 2 * streams + OTHER_FILES
    allowed = raise_file_limit(needed)
    if allowed < needed:
        structlog.get_logger().warning(
            "too few open files for max_concurrent_streams", streams=streams, needed=needed, allowed=allowed
        )
