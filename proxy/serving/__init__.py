"""Serving: listening sockets, worker processes, the HTTP server, reloading, and stopping."""

from proxy.serving.config_file import ConfigFile
from proxy.serving.options import ServerOptions
from proxy.serving.sockets import listen
from proxy.serving.startup import serve
from proxy.serving.worker import run_worker

__all__ = ["ConfigFile", "ServerOptions", "listen", "run_worker", "serve"]
