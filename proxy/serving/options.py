"""The command line's options for serving."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServerOptions:
    host: str = "0.0.0.0"  # noqa: S104
    port: int = 4000
    workers: int = 1
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    root_path: str = ""
    forwarded_allow_ips: str | None = None
    #: Whether calls are recorded.
    ledger: bool = True
