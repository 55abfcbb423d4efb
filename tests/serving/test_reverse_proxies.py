"""The client's address and scheme behind a reverse proxy (``--forwarded-allow-ips``)."""

from __future__ import annotations

import pytest
from starlette.types import Receive, Scope, Send

from proxy.serving.worker import trust_reverse_proxies
from tests.serving.listening import request, responses

FORWARDED = request("X-Forwarded-For: 203.0.113.9", "X-Forwarded-Proto: https")


@pytest.mark.parametrize(
    ("trusted", "reported"),
    [
        (None, b"127.0.0.1 http"),
        ("192.0.2.1", b"127.0.0.1 http"),
        ("127.0.0.1", b"203.0.113.9 https"),
        ("192.0.2.1, 127.0.0.0/8", b"203.0.113.9 https"),
        ("*", b"203.0.113.9 https"),
    ],
)
def test_only_trusted_addresses_may_set_them(trusted: str | None, reported: bytes) -> None:
    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        body = f"{scope['client'][0]} {scope['scheme']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    assert responses(trust_reverse_proxies(application, trusted), FORWARDED).endswith(b"\r\n\r\n" + reported)
