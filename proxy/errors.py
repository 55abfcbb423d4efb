"""The tree of errors. Each has what a client sees (status, type, code, param) and what routing needs to know.

The body is OpenAI's: ``{"error": {"message", "type", "param", "code"}}``, all four keys always.
Source: OpenAI's published openapi.yaml and the exception classes of openai-python and openai-node.
"""

from __future__ import annotations

import json
from typing import Any, ClassVar


class ProxyError(Exception):
    """Base of everything that this package raises on purpose.

    ``message`` must be fit for a client: it never holds a key, an address of an upstream or a path of the host.
    ``detail`` is for the log only.
    """

    status: int = 500
    type: str = "server_error"
    code: str | int | None = None
    #: Label for metrics and logs.
    kind: ClassVar[str] = "internal"
    #: Whether another deployment of the group may be tried.
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        code: str | int | None = None,
        type: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = self.code if code is None else code
        self.type = self.type if type is None else type
        self.status = self.status if status is None else status
        #: Seconds, sent as ``retry-after``.
        self.retry_after = retry_after
        #: Sent as ``x-should-retry`` if it is not None. OpenAI's SDKs obey it rather than the status.
        self.should_retry: bool | None = None
        self.detail = detail

    def body(self, request_id: str | None = None) -> dict[str, Any]:
        """The JSON document that a client gets. Errors of the server include the request id, to find the log entry."""
        message = self.message
        if request_id is not None and self.status >= 500:
            message = f"{message} (request id {request_id})"
        return {"error": {"message": message, "type": self.type, "param": self.param, "code": self.code}}

    def json(self, request_id: str | None = None) -> bytes:
        return json.dumps(self.body(request_id), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


class ConfigError(ProxyError):
    """The configuration cannot be used; ``problems`` holds one line each, with file and line number."""

    kind = "config"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


# -- what the caller can fix -------------------------------------------------------------------------------------------


class BadRequest(ProxyError):
    """The request cannot be served as it is."""

    status = 400
    type = "invalid_request_error"
    kind = "bad_request"


def invalid_value(field: str, message: str) -> BadRequest:
    """A field has an invalid value; ``message`` is pydantic's."""
    return BadRequest(f"'{field}': {message.removeprefix('Value error, ')}.", param=field, code="invalid_value")


class UnsupportedValue(BadRequest):
    """A field has a value that the deployment does not support; the message lists the allowed ones."""

    code = "unsupported_value"


class InvalidAudio(BadRequest):
    """The upload is not readable audio, or it exceeds a limit on decoded audio."""

    code = "invalid_audio"

    def __init__(self, message: str, *, detail: str = "") -> None:
        super().__init__(message, param="file", detail=detail)


class GuardrailViolation(BadRequest):
    """A guardrail blocked this call. The message names the guardrail and the kinds of what it found, never the text."""

    code = "guardrail_violation"
    kind = "guardrail_violation"


class Unauthorized(BadRequest):
    """No key, or a wrong one."""

    status = 401
    code = "invalid_api_key"
    kind = "unauthorized"


class Forbidden(BadRequest):
    """The key is valid but may not do this."""

    status = 403
    code = "permission_denied"
    kind = "forbidden"


class NotFound(BadRequest):
    """No such path."""

    status = 404
    code = "not_found"
    kind = "not_found"


class ModelNotFound(NotFound):
    """No model group of that name for this caller."""

    code = "model_not_found"

    def __init__(self, message: str) -> None:
        super().__init__(message, param="model")


class MethodNotAllowed(BadRequest):
    """The path does not support this method."""

    status = 405
    code = "method_not_allowed"
    kind = "method_not_allowed"


class ClientStalled(BadRequest):
    """The client stopped sending its request."""

    status = 408
    code = "request_timeout"
    kind = "client_stalled"


class RequestTooLarge(BadRequest):
    """The body, or a part of it, exceeds a limit of the server."""

    status = 413
    code: str | int | None = "request_too_large"
    kind = "too_large"


class FileTooLarge(RequestTooLarge):
    """The upload exceeds ``max_file_size_mb``. The message has LiteLLM's format."""

    type = "bad_request"
    code: str | int | None = 413

    def __init__(self, message: str) -> None:
        super().__init__(message, param="file")


class UnsupportedMedia(BadRequest):
    """The endpoint does not support this content type or content encoding."""

    status = 415
    code = "unsupported_media_type"
    kind = "unsupported_media"


class ClientGone(ProxyError):
    """The client closed the connection; nobody reads the answer."""

    status = 499
    code = "client_gone"
    kind = "client_gone"


# -- what the server cannot do right now -------------------------------------------------------------------------------


class RateLimited(ProxyError):
    """No deployment may be asked now: a limit of the configuration, or one that a vendor has announced, is reached."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    kind = "rate_limited"
    retryable = True


class Overloaded(ProxyError):
    """A resource of this server is used up (processes, disk, spool); try again later."""

    status = 503
    code = "server_is_overloaded"
    kind = "overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0, detail: str = "") -> None:
        super().__init__(message, retry_after=retry_after, detail=detail)


class Saturated(Overloaded):
    """As Overloaded, but every deployment needs what is used up: connections, open files."""

    retryable = False


class GuardrailUnavailable(Overloaded):
    """A guardrail could not decide, and is configured to block then. Another deployment would not help."""

    code = "guardrail_unavailable"
    kind = "guardrail_unavailable"
    retryable = False


class NotInstalled(ProxyError):
    """An optional dependency is missing; the message says what to install."""

    status = 501
    code = "not_installed"
    kind = "not_installed"
    retryable = True


# -- failures of vendors -----------------------------------------------------------------------------------------------


class UpstreamError(ProxyError):
    """The vendor failed."""

    status = 502
    code: str | int | None = "upstream_error"
    kind = "upstream"
    retryable = True
    #: The code was inferred from the vendor's words. They may quote the caller's, so they prove less than a code.
    is_inferred = False


class UpstreamRejected(UpstreamError):
    """The vendor rejected this request (4xx); status, type, param and code are the vendor's."""

    type = "invalid_request_error"
    code: str | int | None = None
    kind = "upstream_rejected"
    retryable = False


class UpstreamNotFound(UpstreamError):
    """The vendor does not know the model, the voice or the path (404, 410); another deployment may."""

    status = 404
    type = "invalid_request_error"
    code: str | int | None = None
    kind = "upstream_not_found"


#: Where the vendor does not say more.
VENDOR_LIMITED = "The upstream vendor's rate limit is reached."


class UpstreamRateLimited(UpstreamError):
    """The vendor's rate limit or quota (429)."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    kind = "upstream_rate_limited"


class UpstreamCredentials(UpstreamError):
    """The vendor rejected the deployment's key (401, 403). The caller's key is valid."""

    code = "upstream_credentials"
    kind = "upstream_credentials"


class UpstreamUnavailable(UpstreamError):
    """The vendor answered 5xx; the status is the vendor's."""

    kind = "upstream_unavailable"


class UpstreamUnreachable(UpstreamError):
    """No connection, or it broke before the answer began."""

    code = "upstream_unreachable"
    kind = "upstream_unreachable"


class UpstreamTimeout(UpstreamError):
    """The vendor did not answer within the deployment's time limits."""

    status = 504
    code = "upstream_timeout"
    kind = "upstream_timeout"


class UpstreamUnfinished(UpstreamTimeout):
    """A job that the vendor has started, and bills, did not end in time. It is not started again in the same group."""


class UpstreamInvalid(UpstreamError):
    """The answer is invalid: an error document with status 200, no bytes, broken JSON, a stream that was cut."""

    code = "upstream_invalid"
    kind = "upstream_invalid"
