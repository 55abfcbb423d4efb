"""Sends a batch over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.errors import ProxyError
from proxy.http.transport import Transport
from proxy.sinks.base import Undelivered
from proxy.upstream.fetch import fetch

#: For request and response.
SECONDS = 15.0
#: Of the response, which is ignored.
MAX_RESPONSE_LENGTH = 1024 * 1024
#: Statuses below 500 after which the same request may succeed.
RETRYABLE = frozenset({408, 425, 429})


async def send(transport: Transport, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Raises Undelivered unless the response is a 2xx."""
    try:
        status, _ = await fetch(transport, method, url, headers, body, seconds=SECONDS, max_length=MAX_RESPONSE_LENGTH)
    except ProxyError as error:
        raise Undelivered(error.detail or error.message) from error
    if not 200 <= status < 300:
        raise Undelivered(f"status {status}", again=status >= 500 or status in RETRYABLE)


def pairs(text: str) -> dict[str, str]:
    """Parse ``name=value,name=value``, the form of headers and attributes in environment variables."""
    parts = (item.partition("=") for item in text.split(",") if "=" in item)
    return {name.strip(): value.strip() for name, _, value in parts}
