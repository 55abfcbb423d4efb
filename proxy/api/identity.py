"""The id of each request, which its answer has as a header."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = b"x-request-id"

TRACEPARENT = b"traceparent"

_WELL_FORMED = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def request_id(own: bytes | None) -> bytes:
    """The client's id if it is well-formed, else a new one."""
    return own if own is not None and _WELL_FORMED.fullmatch(own) else b"req_%032x" % random.getrandbits(128)


def traceparent(own: bytes | None) -> str:
    """The client's header if it is well-formed, else nothing. Source: W3C, Trace Context, level 1."""
    return own.decode("ascii") if own is not None and _TRACEPARENT.fullmatch(own) else ""


class RequestIds:
    """Gives every request an id, as ``scope["request_id"]``, and its answer the header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        identity = request_id(_own(scope["headers"]))
        scope["request_id"] = identity.decode("ascii")

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (HEADER, identity)]
            await send(message)

        await self._app(scope, receive, send_with_id)


def _own(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    return next((value for name, value in headers if name == HEADER), None)
