"""What a vendor reports about a failed request, and the error that it becomes here.

A vendor reads its own error documents into `ErrorDetails`; `of_response` reads OpenAI's shape and its relatives.
`to_error` is the only place that maps them to the errors of this package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import unescape
from typing import Any

from pydantic_core import from_json

from proxy.errors import (
    VENDOR_LIMITED,
    ProxyError,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from proxy.http.messages import Response
from proxy.providers.wire.retry_after import retry_after
from proxy.providers.wire.unknown_models import is_unknown_model_code, says_unknown_model
from proxy.providers.wire.vendor_network import describes_network

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
    def names_unknown_model(self) -> bool:
        """The vendor's code says that it does not have the model."""
        is_refused_value = self.param == "model" and self.code == "invalid_value"
        return is_refused_value or is_unknown_model_code(self.code) or is_unknown_model_code(self.type)

    @property
    def is_rejection(self) -> bool:
        """The status means that the request itself is at fault."""
        return 400 <= self.status < 500 and self.status not in (*_CREDENTIALS, *_NOT_FOUND, _TIMEOUT, *_RATE_LIMIT)


def to_error(details: ErrorDetails, secrets: Iterable[str] = ()) -> ProxyError:
    """The error for a failed request. ``secrets`` (keys, hosts) are redacted."""
    details = _without_secrets(details, tuple(secrets))
    status = details.effective_status or details.status
    message, log = details.message, details.log or details.summary
    if details.status >= 500 and describes_network(message.replace(f"://{_REDACTED}", "")):
        # It is about the vendor's own machines: the caller must not see it.
        message, log = "", f"{log}: {message}"[:MAX_LOG_LENGTH]
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
            message or VENDOR_LIMITED,
            type=details.type,
            code=details.code or ("insufficient_quota" if status == 402 else None),
            retry_after=details.retry_after,
            detail=log,
        )
    if details.names_unknown_model or says_unknown_model(details.message):
        return _unknown_model(details, status, message, log)
    if status < 500:
        refusal = UpstreamNotFound if status in _NOT_FOUND else UpstreamRejected
        return refusal(
            message or f"The upstream vendor refused the request with status {status}.",
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


#: A code that says more than the status.
_SPECIFIC = re.compile(r"^(?!not[_ ]?found$).*[a-z]", re.IGNORECASE)


def _unknown_model(details: ErrorDetails, status: int, message: str, log: str) -> UpstreamNotFound:
    """As OpenAI says it, whatever status the vendor has for it, and whatever code if it is not a word for the same."""
    is_named = status in _NOT_FOUND and isinstance(details.code, str) and _SPECIFIC.search(details.code) is not None
    error = UpstreamNotFound(
        message or "The upstream vendor does not have the model of this deployment.",
        status=status if status in _NOT_FOUND else 404,
        type=details.type if status < 500 else None,
        param=details.param if details.names_unknown_model else details.param or "model",
        code=details.code if is_named and not details.names_unknown_model else "model_not_found",
        detail=log,
    )
    error.is_inferred = not details.names_unknown_model
    return error


# -- OpenAI's shape and its relatives ----------------------------------------------------------------------------------

#: Where servers put the text of an error, and objects or lists that hold it; the most specific first.
_TEXTS = (
    "message", "msg", "detail", "error_message", "errorMessage", "err_msg", "error_msg", "error_description", "Message",
    "error", "errors", "details", "description", "reason", "title",
    "base_resp", "status_msg",
)  # fmt: skip
_CODES = ("code", "err_code", "error_code", "errorCode", "status", "status_code", "statusCode")
_MAX_DEPTH = 5
#: Where FastAPI's ``loc`` begins: not a part of the name of a field.
_PLACES = ("body", "query", "path", "header")


def of_response(response: Response, body: bytes) -> ErrorDetails:
    """OpenAI's ``error`` object, FastAPI's ``detail``, other servers' documents, or a plain text."""
    return of_object(response.status_code, _document(body), retry_after=retry_after(response))


def of_event(event: bytes) -> ErrorDetails:
    """The error event of a stream that began with status 200; what it says of itself is its status."""
    details = of_object(500, _document(event))
    return replace(details, effective_status=_status_of(details))


#: By the type or code of an error, as OpenAI and Anthropic call them.
_STATUSES = {
    "authentication_error": 401, "invalid_api_key": 401, "unauthorized": 401, "permission_error": 403,
    "permission_denied": 403, "forbidden": 403, "not_found": 404, "not_found_error": 404,
    "insufficient_quota": 429, "rate_limit_error": 429, "rate_limit_exceeded": 429, "rate_limited": 429,
    "ratelimiterror": 429, "too_many_requests": 429, "badrequesterror": 400, "bad_request": 400,
    "invalid_request": 400, "invalid_request_error": 400, "invalid_value": 400, "unsupported_value": 400,
}  # fmt: skip


def _status_of(details: ErrorDetails) -> int | None:
    for value in (details.code, details.type):
        text = str(value).lower()
        if text.isdecimal() and 400 <= int(text[:4]) < 600:
            return int(text)
        if text in _STATUSES:
            return _STATUSES[text]
    return None


def of_object(status: int, error: Any, *, retry_after: float | None = None) -> ErrorDetails:
    """``message``, ``type``, ``param`` and ``code`` of a document; values of other types count as missing."""
    found = _reported(error)
    return ErrorDetails(
        status,
        message=found.get("message", ""),
        type=found.get("type"),
        param=found.get("param"),
        code=found.get("code"),
        retry_after=retry_after,
    )


def _document(body: bytes) -> Any:
    try:
        return from_json(body)
    except ValueError:
        text = " ".join(body[: 4 * MAX_MESSAGE_LENGTH].decode("utf-8", "replace").split())
    if text.startswith("<"):
        return {name: unescape(match[1]) for name, pattern in _XML.items() if (match := pattern.search(text))}
    return text if text.isprintable() and _WORD.search(text) else None


_WORD = re.compile(r"[^\W\d_]{2}")
#: Of Azure's and Amazon's errors. A page for browsers has nothing that a caller could use.
_XML = {"code": re.compile("<Code>([^<]+)</Code>"), "message": re.compile("<Message>([^<]+)</Message>")}


def _reported(document: Any, depth: int = _MAX_DEPTH) -> dict[str, Any]:
    """The error that a document reports; the inner of two nested ones is the more specific."""
    if isinstance(document, str):
        return {"message": document} if document else {}
    if not depth or not isinstance(document, dict | list):
        return {}
    if isinstance(document, list):
        return _listed(document, depth)
    names = _TEXTS if not isinstance(document.get("error"), dict) else ("error", *_TEXTS)
    texts = (_reported(document.get(name), depth - 1) for name in names)
    found = next((inner for inner in texts if inner.get("message")), {})
    own = {
        "type": _text(document.get("type")),
        "param": _text(document.get("param")),
        "code": next((code for name in _CODES if (code := _code(document.get(name))) is not None), None),
    }
    return {name: value for name, value in own.items() if value is not None} | found


def _listed(documents: Sequence[Any], depth: int) -> dict[str, Any]:
    """FastAPI's list of ``{"loc", "msg", "type"}``, or a list of errors."""
    rows = [row for row in documents if isinstance(row, dict) and isinstance(row.get("loc"), list)]
    if rows:
        return _invalid_fields(rows)
    found = [inner for document in documents[:20] if (inner := _reported(document, depth - 1)).get("message")]
    return found[0] | {"message": "; ".join(inner["message"] for inner in found)} if found else {}


def _invalid_fields(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    messages = [f"{'.'.join(map(str, row['loc']))}: {_text(row.get('msg')) or ''}" for row in rows[:20]]
    fields = [".".join(str(part) for part in row["loc"] if part not in _PLACES) for row in rows]
    unknown = [field for field, row in zip(fields, rows, strict=True) if field in _MODEL and not _is_missing(row)]
    found: dict[str, Any] = {"message": "; ".join(messages), "type": "invalid_request_error"}
    if unknown:
        found["code"] = "model_not_found"
    if field := (unknown or fields)[0]:
        found["param"] = field
    return found


_MODEL = ("model", "model_id")


def _is_missing(row: Mapping[str, Any]) -> bool:
    return "missing" in str(row.get("type")) or "required" in str(row.get("msg")).lower()


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _code(value: Any) -> str | int | None:
    return value if type(value) is int else _text(value)


# -- secrets -----------------------------------------------------------------------------------------------------------


_REDACTED = "[redacted]"


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Takes a decoded text: JSON has many ways to write a letter."""
    for secret in secrets:
        text = text.replace(secret, _REDACTED)
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
