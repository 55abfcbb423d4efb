"""Serving: listening sockets, worker processes, reloading, and the way to stop."""

from __future__ import annotations

from proxy.serving.options import Options
from proxy.serving.reload import ConfigFile
from proxy.serving.sockets import listen, raise_file_limit
from proxy.serving.supervisor import Supervisor
from proxy.serving.worker import run_worker

__all__ = ["ConfigFile", "Options", "listen", "run_worker", "serve"]


def serve(file: ConfigFile, options: Options) -> int:
    """Serve until told to stop; the exit status. Prints ``RUNNING on http://…`` once calls are answered."""
    raise_file_limit()
    sockets = listen(options.host, options.port)
    host = f"[{options.host}]" if ":" in options.host else options.host
    scheme = "https" if options.ssl_certfile else "http"
    address = f"{scheme}://{host}:{sockets[0].getsockname()[1]}"

    def announce() -> None:
        print(f"RUNNING on {address}", flush=True)

    if options.workers > 1:
        return Supervisor(file, options, sockets, announce).run()
    run_worker(file, options, sockets, lambda _: announce(), watch=True)
    return 0
