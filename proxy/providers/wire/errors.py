"""What a vendor reports about a failed request, and the error that it becomes here.

A vendor reads its own error documents into `ErrorDetails`; `of_response` reads OpenAI's shape and its relatives.
`to_error` is the only place that maps them to the errors of this package.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
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
MAX_LOG_LENGTH = 400

_CREDENTIALS = (401, 403, 407)
_NOT_FOUND = (404, 410)
_TIMEOUT = 408
_RATE_LIMIT = (402, 429)


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """What a vendor reports about a failed request. It may contain keys and hosts, which `to_error` redacts."""

    #: The HTTP status of the response.
    status: int
    message: str = ""
    type: str | None = None
    param: str | None = None
    code: str | int | None = None
    #: In seconds.
    retry_after: float | None = None
    #: The status that describes the error, if the vendor's own misleads: 429 for a used-up quota reported as 401.
    effective_status: int | None = None
    #: For the log only; `summary` if empty.
    log: str = ""

    @property
    def summary(self) -> str:
        return f"upstream status {self.status}, type {self.type}, code {self.code}"

    @property
    def is_rejection(self) -> bool:
        """The status means that the request itself is at fault."""
        return 400 <= self.status < 500 and self.status not in (*_CREDENTIALS, *_NOT_FOUND, _TIMEOUT, *_RATE_LIMIT)


def to_error(details: ErrorDetails, secrets: Iterable[str] = ()) -> ProxyError:
    """The error for a failed request. ``secrets`` (keys, hosts) are redacted."""
    details = _without_secrets(details, tuple(secrets))
    status = details.effective_status or details.status
    message, log = details.message, details.log or details.summary
    if status < 400:
        return UpstreamInvalid("The upstream vendor sent a malformed response.", detail=log)
    if status in _CREDENTIALS:
        # The message is about the operator's key: the caller must not see it, and it is not about the caller's request.
        return UpstreamCredentials(
            "The upstream vendor refused the credentials of this deployment.",
            detail=details.log or f"{log}: {message[:300]}",
        )
    if status == _TIMEOUT:
        return UpstreamTimeout("The upstream vendor timed out.", detail=log)
    if status in _RATE_LIMIT:
        return UpstreamRateLimited(
            message or "The upstream vendor's rate limit is reached.",
            type=details.type,
            code=details.code or ("insufficient_quota" if status == 402 else None),
            retry_after=details.retry_after,
            detail=log,
        )
    if status < 500:
        refusal = UpstreamNotFound if status in _NOT_FOUND else UpstreamRejected
        return refusal(
            message or f"The upstream vendor refused the request with status {details.status}.",
            status=400 if status == 422 else status,
            type=details.type,
            param=details.param,
            code=details.code,
            retry_after=details.retry_after,
            detail=log,
        )
    return UpstreamUnavailable(
        message or "The upstream vendor failed to answer.",
        status=status if status in (500, 503) else 502,
        code=details.code,
        retry_after=details.retry_after,
        detail=log,
    )


# -- OpenAI's shape and its relatives ----------------------------------------------------------------------------------


def of_response(response: Response, body: bytes) -> ErrorDetails:
    """OpenAI's ``error`` object, FastAPI's ``detail`` or a plain ``message``; anything else has a status only."""
    return of_object(response.status_code, _error_object(body), retry_after=_retry_after(response.headers))


def of_event(event: bytes) -> ErrorDetails:
    """The error event of a stream that began with status 200."""
    return of_object(500, _error_object(event))


def of_object(status: int, error: Mapping[str, Any], *, retry_after: float | None = None) -> ErrorDetails:
    """``message``, ``type``, ``param`` and ``code`` of an object; values of other types count as missing."""
    code = error.get("code")
    return ErrorDetails(
        status,
        message=_text(error.get("message")) or _detail(error.get("detail")),
        type=_text(error.get("type")),
        param=_text(error.get("param")),
        code=code if type(code) is int else _text(code),
        retry_after=retry_after,
    )


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
    return value if isinstance(value, str) else None


def _retry_after(headers: Headers) -> float | None:
    """Seconds from ``retry-after-ms`` or ``retry-after``; dates and nonsense count as missing."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if 0 <= seconds < 86_400 * 31:
            return seconds
    return None


# -- secrets -----------------------------------------------------------------------------------------------------------


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Takes a decoded text: JSON has many ways to write a letter."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def _without_secrets(details: ErrorDetails, secrets: tuple[str, ...]) -> ErrorDetails:
    """Redacted first and then cut to size, so that no part of a secret is left; replaces what UTF-8 cannot encode."""
    code = details.code
    return replace(
        details,
        message=_clean(details.message, secrets)[:MAX_MESSAGE_LENGTH],
        type=_clean(details.type, secrets) if details.type is not None else None,
        param=_clean(details.param, secrets) if details.param is not None else None,
        code=_clean(code, secrets) if isinstance(code, str) else code,
        log=_clean(details.log, secrets)[:MAX_LOG_LENGTH],
    )


def _clean(text: str, secrets: tuple[str, ...]) -> str:
    return redacted(text.encode("utf-8", "replace").decode(), secrets)
