"""Failures that any vendor may have, whatever the shape of its errors."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from tests.providers.contract import Case, Failure, Reply

#: What no extra may be called: it would lead a call elsewhere, or carry a key.
NEVER = re.compile(r"url|uri|callback|webhook|api[-_]?key|(^|_)token$|authorization|headers?$", re.IGNORECASE)
#: It must never arrive at a vendor.
SENTINEL = "http://evil.example/steal"
_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Bad gateway</body></html>"
_TELLS = "Incorrect key {key} for http://{host}/v1: see {host}"


@dataclass(frozen=True)
class GenericFailure:
    name: str
    failure: Failure

    def of(self, key: str, host: str) -> Failure:
        """With the vendor's own key and host in what it says."""
        body = self.failure.reply.whole.decode().replace("{key}", key).replace("{host}", host)
        return replace(self.failure, reply=replace(self.failure.reply, body=body))


def _says(status: int, *, headers: dict[str, str] | None = None) -> Reply:
    document = {"error": {"message": _TELLS, "code": None, "type": "x"}, "detail": _TELLS, "message": _TELLS}
    return Reply.json(document, status=status, headers=headers or {})


FAILURES = (
    GenericFailure("401", Failure(_says(401), 502, "upstream_credentials", code="upstream_credentials")),
    GenericFailure("403", Failure(_says(403), 502, "upstream_credentials", code="upstream_credentials")),
    GenericFailure("429", Failure(_says(429, headers={"retry-after": "0.05"}), 429, "upstream_rate_limited", 1)),
    GenericFailure("500", Failure(_says(500), 500, "upstream_unavailable")),
    GenericFailure("503", Failure(Reply(_PAGE, 503, "text/html"), 503, "upstream_unavailable")),
    GenericFailure("504", Failure(Reply("upstream timeout at {host}", 504, "text/plain"), 502, "upstream_unavailable")),
    GenericFailure(
        "302", Failure(Reply(_PAGE, 302, "text/html", {"location": "http://127.0.0.1:1/"}), 502, "upstream_invalid")
    ),
    GenericFailure("odd", Failure(Reply('["{key}", null]', 500), 500, "upstream_unavailable")),
)

BROKEN_ANSWERS = [
    pytest.param(Reply(b"", content_type="application/octet-stream"), id="no bytes"),
    pytest.param(Reply([], content_type="audio/mpeg"), id="no chunks"),
    pytest.param(Reply(_PAGE, content_type="text/html"), id="html"),
    pytest.param(Reply(_PAGE, content_type="audio/mpeg"), id="html called audio"),
    pytest.param(Reply.json({"error": {"message": "out of memory at 127.0.0.1"}}), id="json error"),
    pytest.param(Reply('{"error": "x"}', content_type="audio/mpeg"), id="json called audio"),
    pytest.param(Reply("null"), id="null"),
    pytest.param(Reply('{"a": [1, '), id="half json"),
]


def expect_failure(desk: Any, failure: Failure, ask: Callable[[], httpx.Response]) -> None:
    """The vendor fails so: the client sees what is due, and no secret."""
    desk.vendor.play(desk.case.named(failure.at), failure.reply)
    reply = ask()
    error = desk.failed(reply, failure.status)
    if failure.kind is not None:
        assert desk.kind_of(reply) == failure.kind
    if failure.code is not ...:
        assert error["code"] == failure.code, error
    if failure.message is not None:
        assert failure.message in error["message"]
    assert reply.headers.get("retry-after") == (None if failure.retry_after is None else str(failure.retry_after))


def named_failures(case: Case) -> Iterable[Failure]:
    if not case.errors:
        pytest.fail(f"{case.id} names no error of its vendor's")
    return case.errors
