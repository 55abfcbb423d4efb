"""The events of OpenAI's Realtime API: parsing and encoding them, and mapping their errors to ours.

Source: OpenAI's openapi.yaml (2026-08-21), ``RealtimeServerEvent…``; the error codes come from its documentation and
from users' reports. For an unknown code the type decides, and an unknown type counts as a server error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic_core import from_json, to_json

from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.sockets.conversation import Message
from proxy.providers.wire import errors

_STATUS: Mapping[str, int] = {
    "invalid_api_key": 401, "authentication_error": 401, "invalid_authentication": 401, "unauthorized": 401,
    "permission_denied": 403, "permission_error": 403, "model_not_found": 404, "not_found_error": 404,
    "rate_limit_exceeded": 429, "rate_limit_error": 429, "requests": 429, "tokens": 429, "insufficient_quota": 429,
    "session_expired": 503, "server_is_overloaded": 503, "service_unavailable": 503, "server_error": 500,
    "internal_error": 500, "invalid_request_error": 400, "invalid_value": 400,
}  # fmt: skip


def parse_event(message: Message) -> dict[str, Any]:
    """Raises UpstreamInvalid."""
    try:
        event = from_json(message)
    except ValueError as error:
        raise invalid_answer("not JSON") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise invalid_answer("not an event")
    return event


def encode_event(event: Mapping[str, Any]) -> str:
    return to_json(event).decode()


def as_object(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text_field(event: Mapping[str, Any], name: str) -> str:
    """Raises UpstreamInvalid if the field is missing or not a string."""
    value = event.get(name)
    if not isinstance(value, str):
        raise invalid_answer(f"{event.get('type')} without {name}")
    return value


def token_count(counts: Mapping[str, Any], name: str) -> int:
    """A number of tokens; 0 if it is missing or invalid."""
    value = counts.get(name)
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def vendor_error(reported: Any, secrets: Iterable[str]) -> ProxyError:
    """Our error for an event's ``error`` (``type``, ``code``, ``message``, ``param``; any may be missing)."""
    error = as_object(reported)
    names = [name for name in (error.get("code"), error.get("type")) if isinstance(name, str)]
    status = next((_STATUS[name] for name in names if name in _STATUS), 500)
    return errors.to_error(errors.of_object(status, error), secrets)


def invalid_answer(detail: str) -> UpstreamInvalid:
    return UpstreamInvalid("The upstream vendor's answer broke off or was malformed.", detail=detail)
