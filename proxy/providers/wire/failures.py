"""What a vendor's HTTP error means, for every vendor whose status tells; the shapes of the body vary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json

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
from proxy.http.messages import Headers, Response

MAX_MESSAGE_LENGTH = 2000


def from_response(response: Response, body: bytes, *, secrets: Iterable[str] = ()) -> ProxyError:
    """The error for a response that is no success. ``secrets`` (keys, hosts) are blotted out of what is passed on."""
    stated = _Stated(body, secrets)
    return from_status(response.status_code, stated, wait=retry_after(response.headers))


def from_event(event: bytes, *, secrets: Iterable[str] = ()) -> ProxyError:
    """The error that a vendor sends as an event of a stream which had begun with status 200."""
    return from_status(500, _Stated(event, secrets), wait=None)


def from_status(status: int, stated: _Stated, *, wait: float | None) -> ProxyError:
    detail = f"upstream status {status}, type {stated.type}, code {stated.code}"
    message = stated.message
    if status < 400:
        return UpstreamInvalid("The upstream vendor sent an answer that is no answer.", detail=detail)
    if status in (401, 403, 407):
        # The caller must not see it, and it says nothing of the caller's words.
        return UpstreamCredentials(
            "The upstream vendor refused the credentials of this deployment.", detail=f"{detail}: {message[:300]}"
        )
    if status == 408:
        return UpstreamTimeout("The upstream vendor timed out.", detail=detail)
    if status in (402, 429):
        return UpstreamRateLimited(
            message or "The upstream vendor's rate limit is reached.",
            type=stated.type,
            code=stated.code or ("insufficient_quota" if status == 402 else None),
            retry_after=wait,
            detail=detail,
        )
    if status < 500:
        refusal = UpstreamNotFound if status in (404, 410) else UpstreamRejected
        return refusal(
            message or f"The upstream vendor refused the request with status {status}.",
            status=400 if status == 422 else status,
            type=stated.type,
            param=stated.param,
            code=stated.code,
            retry_after=wait,
            detail=detail,
        )
    return UpstreamUnavailable(
        message or "The upstream vendor failed to answer.",
        status=status if status in (500, 503) else 502,
        code=stated.code,
        retry_after=wait,
        detail=detail,
    )


def retry_after(headers: Headers) -> float | None:
    """Seconds of ``retry-after-ms`` or ``retry-after``; dates and nonsense count as absent."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 86_400 * 31:
            return seconds
    return None


def blotted(text: str, secrets: Iterable[str]) -> str:
    """Of a text that was decoded: JSON may write a letter in many ways."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


class _Stated:
    """Message, type, param and code, of OpenAI's shape, FastAPI's ``detail`` or a plain ``message``; None if absent."""

    def __init__(self, body: bytes, secrets: Iterable[str]) -> None:
        error = _error_object(body)
        code = error.get("code")
        self._secrets = tuple(secrets)
        self.message = (self._told(error.get("message")) or self._told(_detail(error.get("detail"))) or "")[
            :MAX_MESSAGE_LENGTH
        ]
        self.type = self._told(error.get("type"))
        self.param = self._told(error.get("param"))
        self.code = self._told(code) if isinstance(code, str) else code if type(code) is int else None

    def _told(self, value: Any) -> str | None:
        text = _text(value)
        return blotted(text, self._secrets) if text else text


def _error_object(body: bytes) -> Mapping[str, Any]:
    try:
        document = from_json(body)
    except ValueError:
        return {}
    error = document.get("error", document) if isinstance(document, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _detail(detail: Any) -> str:
    """FastAPI's ``detail``: a text, or a list of ``{"loc", "msg"}``."""
    if not isinstance(detail, list):
        return _text(detail) or ""
    rows = [row for row in detail if isinstance(row, dict)]
    return "; ".join(f"{_path(row.get('loc'))}: {_text(row.get('msg')) or ''}" for row in rows)


def _path(loc: Any) -> str:
    return ".".join(map(str, loc)) if isinstance(loc, list) else ""


def _text(value: Any) -> str | None:
    """A string that can be encoded."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None
