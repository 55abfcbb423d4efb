"""Sends a batch over HTTP."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.errors import ProxyError
from proxy.http.errors import TransportError
from proxy.http.messages import URL, Headers, Request
from proxy.http.transport import Transport
from proxy.sinks.base import Undelivered
from proxy.upstream.client import Deadlines, mapped_error, read_whole

#: For a whole exchange.
SECONDS = 15.0
#: Of an answer, which nobody reads.
MAX_ANSWER_LENGTH = 1024 * 1024
#: Statuses below 500 after which the same request may be taken.
AGAIN = frozenset({408, 425, 429})


async def send(transport: Transport, method: str, url: str, headers: Mapping[str, str], body: bytes) -> None:
    """Raises Undelivered if the answer is not a 2xx."""
    try:
        status = await _exchange(transport, method, url, Headers.of({**headers, "accept-encoding": "identity"}), body)
    except ProxyError as error:
        raise Undelivered(error.detail or error.message) from error
    if not 200 <= status < 300:
        raise Undelivered(f"status {status}", again=status >= 500 or status in AGAIN)


async def _exchange(transport: Transport, method: str, url: str, headers: Headers, body: bytes) -> int:
    deadlines = Deadlines(total=SECONDS, first_byte=None, stall=None)
    try:
        response = await transport.send(Request(method, URL(url), headers, body, timeouts=deadlines))
    except (TransportError, OSError) as error:
        raise mapped_error(error) from error
    try:
        await read_whole(response, MAX_ANSWER_LENGTH)
        return response.status_code
    finally:
        await response.aclose()


def pairs(text: str) -> dict[str, str]:
    """``name=value,name=value``, as environment variables hold headers and attributes."""
    parts = (item.partition("=") for item in text.split(",") if "=" in item)
    return {name.strip(): value.strip() for name, _, value in parts}
