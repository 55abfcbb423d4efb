"""What one call opens, and how it is retried."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import count
from typing import Final, TypeVar

from proxy.attempts import AttemptRunner
from proxy.audio.pool import WorkerPool
from proxy.errors import ProxyError, UpstreamCredentials, UpstreamNotFound
from proxy.http.transport import HTTPTransport, Transport
from proxy.matching import BoundDeployment
from proxy.sdk.clients import Client, transport_of
from proxy.upstream.client import Upstream

T = TypeVar("T")

#: Seconds. If a vendor requests a longer pause, the error is raised at once.
MAX_PAUSE: Final = 60.0
_FIRST_PAUSE: Final = 0.5
_MAX_OWN_PAUSE: Final = 8.0


async def open_runner(stack: AsyncExitStack, bound: BoundDeployment, client: Client | None) -> AttemptRunner:
    """A runner for this deployment. ``stack`` closes what it uses, except the caller's client."""
    encoders = WorkerPool(size=1)
    stack.push_async_callback(encoders.aclose)
    upstream = Upstream(_transports(stack, bound, client))
    stack.push_async_callback(upstream.aclose)
    return AttemptRunner(upstream, encoders, readers=encoders)


def _transports(stack: AsyncExitStack, bound: BoundDeployment, client: Client | None) -> Mapping[str, Transport]:
    if bound.deployment.vendor == "local":
        from proxy.engines.transport import LocalTransport  # the engines are loaded for those who use them

        readers = WorkerPool(size=1)
        stack.push_async_callback(readers.aclose)
        return {"local": LocalTransport(readers)}
    if bound.adapter.over_socket:
        from proxy.upstream.websocket import WebSocketTransport  # as above

        readers = WorkerPool(size=1)
        stack.push_async_callback(readers.aclose)
        sockets = WebSocketTransport(readers)
        return {"ws": sockets, "wss": sockets}
    transport: Transport = HTTPTransport() if client is None else transport_of(client)
    return {"http": transport, "https": transport}


async def repeated(attempt: Callable[[], Awaitable[T]], max_retries: int) -> T:
    """Returns the first success, or raises the last error. Errors that would occur again are not retried."""
    for retries in count():
        try:
            return await attempt()
        except ProxyError as error:
            seconds = pause(error, retries)
            if seconds is None or retries >= max_retries:
                raise
        await asyncio.sleep(seconds)
    raise AssertionError("count() does not end")


def pause(error: ProxyError, retries: int) -> float | None:
    """Seconds before the next attempt, with jitter; None if another one would be pointless."""
    is_permanent = isinstance(error, UpstreamCredentials | UpstreamNotFound) or error.code == "insufficient_quota"
    if not error.retryable or is_permanent:
        return None
    if error.retry_after is None:
        return min(_FIRST_PAUSE * 2.0**retries, _MAX_OWN_PAUSE) * random.uniform(0.5, 1.0)  # noqa: S311
    if error.retry_after > MAX_PAUSE:
        return None
    return error.retry_after + random.uniform(0.0, 0.1 * error.retry_after)  # noqa: S311
