"""Sending a batch over HTTP, through the vendors' kind of transport."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from proxy.errors import ProxyError
from proxy.sinks.base import Undelivered
from proxy.upstream.client import Deadlines, foreign, read_whole

#: For a whole exchange.
SECONDS = 15.0
#: Of an answer, which nobody reads.
MAX_ANSWER_LENGTH = 1024 * 1024
#: Statuses below 500 after which the same request may be taken.
AGAIN = frozenset({408, 425, 429})


async def send(
    transport: httpx.AsyncBaseTransport, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> None:
    """Raises Undelivered where the answer is no 2xx."""
    deadlines = Deadlines(total=SECONDS, first_byte=None, stall=None)
    request = httpx.Request(method, url, headers=headers, content=body, extensions={"timeout": deadlines})
    request.headers["accept-encoding"] = "identity"
    try:
        status = await _exchange(transport, request)
    except ProxyError as error:
        raise Undelivered(error.detail or error.message) from error
    if not 200 <= status < 300:
        raise Undelivered(f"status {status}", again=status >= 500 or status in AGAIN)


async def _exchange(transport: httpx.AsyncBaseTransport, request: httpx.Request) -> int:
    try:
        response = await transport.handle_async_request(request)
    except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
        raise foreign(error) from error
    try:
        await read_whole(response, MAX_ANSWER_LENGTH)
        return response.status_code
    finally:
        await response.aclose()


def pairs(text: str) -> dict[str, str]:
    """``name=value,name=value``, as environment variables hold headers and attributes."""
    parts = (item.partition("=") for item in text.split(",") if "=" in item)
    return {name.strip(): value.strip() for name, _, value in parts}
