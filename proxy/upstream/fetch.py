"""One request and its whole response, for servers that are not vendors: webhooks, moderation, collectors."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.http.errors import TransportError
from proxy.http.messages import URL, Headers, Request
from proxy.http.transport import Transport
from proxy.upstream.client import Deadlines, mapped_error, read_whole


async def fetch(
    transport: Transport,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    *,
    seconds: float,
    max_length: int,
) -> tuple[int, bytes]:
    """Status and body of the response. Raises ProxyError if it is late or longer than ``max_length`` bytes."""
    others = {name: value for name, value in headers.items() if name.lower() != "accept-encoding"}
    fields = Headers.of({**others, "accept-encoding": "identity"})
    deadlines = Deadlines(total=seconds, first_byte=None, stall=None)
    try:
        response = await transport.send(Request(method, URL(url), fields, content, timeouts=deadlines))
    except (TransportError, OSError) as error:
        raise mapped_error(error) from error
    try:
        return response.status_code, await read_whole(response, max_length)
    finally:
        await response.aclose()
