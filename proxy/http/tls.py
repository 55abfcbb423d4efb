"""The TLS settings of a transport."""

from __future__ import annotations

import ssl

import httpx


class TLS:
    """Called for the context, which is prepared on the first call because that takes tens of milliseconds.

    Without ``context``: certifi's roots, or those of SSL_CERT_FILE or SSL_CERT_DIR.
    """

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self._context = context
        self._is_ready = False

    def __call__(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = httpx.create_ssl_context()
        if not self._is_ready:
            self._context.set_alpn_protocols(["http/1.1"])
            self._is_ready = True
        return self._context
