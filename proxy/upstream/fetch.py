"""One request and its whole response, for servers that are not vendors: webhooks, moderation, collectors."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from proxy.upstream.client import Deadlines, foreign, read_whole


async def fetch(
    transport: httpx.AsyncBaseTransport,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    seconds: float,
    max_length: int,
) -> tuple[int, bytes]:
    """Status and body of the response. Raises ProxyError if it is late or longer than ``max_length`` bytes."""
    deadlines = Deadlines(total=seconds, first_byte=None, stall=None)
    try:
        request = httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": deadlines})
        request.headers["accept-encoding"] = "identity"
        response = await transport.handle_async_request(request)
    except (httpx.TransportError, httpx.InvalidURL, OSError) as error:
        raise foreign(error) from error
    try:
        return response.status_code, await read_whole(response, max_length)
    finally:
        await response.aclose()
