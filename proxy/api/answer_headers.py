"""The headers of an answer: routing, guardrails, cost and warnings."""

from __future__ import annotations

from decimal import Decimal

from proxy.api.exchange import Header
from proxy.domain.call import Attempt, Call
from proxy.render.body import RenderedBody


def body_headers(body: RenderedBody) -> list[Header]:
    headers = [(b"content-type", body.content_type.encode("latin-1"))]
    if body.is_sse:
        headers.append((b"cache-control", b"no-store"))
    if body.rest is None:
        headers.append((b"content-length", b"%d" % len(body.first)))
    return headers


def routing_headers(call: Call, *, expose_deployment: bool) -> list[Header]:
    """Empty if no guardrail has checked the call and no deployment was tried."""
    headers = _guardrail_headers(call) if call.guardrails or call.guardrails_skipped else []
    if not call.attempts:
        return headers
    headers.append((b"x-proxy-attempts", b"%d" % len(call.attempts)))
    if call.fallback:
        headers.append((b"x-proxy-fallback", call.fallback.encode("latin-1", "replace")))
    if call.won is None:
        return headers
    if call.won.upstream_id:
        headers.append((b"x-proxy-upstream-id", call.won.upstream_id.encode("latin-1", "replace")))
    if call.won.warnings:
        headers.append(warnings_header(call.won))
    if expose_deployment:
        headers.append((b"x-proxy-deployment", call.won.deployment.encode("ascii")))
    upstream, overhead = call.upstream_seconds, call.overhead
    if upstream is not None:
        headers.append((b"x-proxy-upstream-ms", b"%.2f" % (upstream * 1000)))
    if overhead is not None:
        headers.append((b"x-proxy-overhead-ms", b"%.2f" % (overhead * 1000)))
    return headers


def warnings_header(attempt: Attempt) -> Header:
    return b"x-proxy-warnings", "; ".join(attempt.warnings).encode("ascii", "replace")


def cost_headers(cost: Decimal | None) -> list[Header]:
    """USD in plain digits; no header if the cost is not known."""
    return [] if cost is None else [(b"x-proxy-response-cost", f"{cost.normalize():f}".encode("ascii"))]


def _guardrail_headers(call: Call) -> list[Header]:
    """The names of guardrails that checked something, and of those that were due but had nothing to check."""
    applied = dict.fromkeys(result.guardrail for result in call.guardrails)
    named = {b"x-proxy-guardrails-applied": applied, b"x-proxy-guardrails-skipped": call.guardrails_skipped}
    return [(header, ", ".join(names).encode()) for header, names in named.items() if names]
