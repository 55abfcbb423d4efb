"""What a vendor's HTTP error means, for every vendor whose status tells; the shapes of the body vary."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import httpx

from proxy.errors import (
    ProxyError,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

LONGEST_MESSAGE = 2000


def from_response(response: httpx.Response, body: bytes, *, secrets: Iterable[str] = ()) -> ProxyError:
    """The error for a response that is no success. ``secrets`` (keys, hosts) are blotted out of what is passed on."""
    status = response.status_code
    stated = _stated(body)
    message = _blotted(stated["message"], secrets)
    detail = f"upstream status {status}: {message or _blotted(body[:500].decode('latin-1'), secrets)}"
    if status < 400:
        return UpstreamInvalid("The upstream vendor sent an answer that is no answer.", detail=detail)
    if status in (401, 403):
        return UpstreamCredentials("The upstream vendor refused the credentials of this deployment.", detail=detail)
    if status == 408:
        return UpstreamTimeout("The upstream vendor timed out.", detail=detail)
    wait = retry_after(response.headers)
    if status in (402, 429):
        return UpstreamRateLimited(
            message or "The upstream vendor's rate limit is reached.",
            type=stated["type"],
            code=stated["code"] or ("insufficient_quota" if status == 402 else None),
            retry_after=wait,
            detail=detail,
        )
    if status < 500:
        refusal = UpstreamNotFound if status in (404, 410) else UpstreamRejected
        return refusal(
            message or f"The upstream vendor refused the request with status {status}.",
            status=400 if status == 422 else status,
            type=stated["type"],
            param=stated["param"],
            code=stated["code"],
            retry_after=wait,
            detail=detail,
        )
    return UpstreamUnavailable(
        message or "The upstream vendor failed to answer.",
        status=status if status in (500, 503) else 502,
        code=stated["code"],
        retry_after=wait,
        detail=detail,
    )


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds of ``retry-after-ms`` or ``retry-after``; dates and nonsense count as absent."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 86_400 * 31:
            return seconds
    return None


def _stated(body: bytes) -> dict[str, Any]:
    """Message, type, param and code, of OpenAI's shape, FastAPI's ``detail`` or a plain ``message``; None if absent."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, str):
        error = {"message": error}
    if not isinstance(error, dict):
        error = {}
    message = error.get("message") or _detail(error.get("detail"))
    code = error.get("code")
    return {
        "message": message[:LONGEST_MESSAGE] if isinstance(message, str) else "",
        "type": _text(error.get("type")),
        "param": _text(error.get("param")),
        "code": code if isinstance(code, (str, int)) and not isinstance(code, bool) else None,
    }


def _detail(detail: Any) -> str:
    """FastAPI's ``detail``: a text, or a list of ``{"loc", "msg"}``."""
    if isinstance(detail, list):
        rows = [row for row in detail if isinstance(row, dict)]
        return "; ".join(f"{'.'.join(map(str, row.get('loc', ())))}: {row.get('msg', '')}" for row in rows)
    return detail if isinstance(detail, str) else ""


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _blotted(text: str, secrets: Iterable[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text
