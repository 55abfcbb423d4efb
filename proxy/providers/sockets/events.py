"""The events of OpenAI's Realtime API as both of its uses here need them: read, and their errors mapped to ours.

Source: OpenAI's openapi.yaml (2026-08-21), ``RealtimeServerEvent…``; the codes of errors from its documentation and
from what users report. A code that is not known goes by its type, and a type that is not known is the server's fault.
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


def event_of(message: Message) -> dict[str, Any]:
    try:
        event = from_json(message)
    except ValueError as error:
        raise nonsense("no JSON") from error
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise nonsense("no event")
    return event


def message_of(event: Mapping[str, Any]) -> str:
    return to_json(event).decode()


def object_of(value: Any) -> dict[str, Any]:
    """What should be an object, and an empty one where it is none."""
    return value if isinstance(value, dict) else {}


def text_of(event: Mapping[str, Any], name: str) -> str:
    value = event.get(name)
    if not isinstance(value, str):
        raise nonsense(f"{event.get('type')} without {name}")
    return value


def count_of(counts: Mapping[str, Any], name: str) -> int:
    """A number of tokens; 0 where it is not said or makes no sense."""
    value = counts.get(name)
    return value if type(value) is int and 0 <= value < 1 << 53 else 0


def failure_of(stated: Any, secrets: Iterable[str]) -> ProxyError:
    """Our error for the ``error`` of an event: ``type``, ``code``, ``message``, ``param``; any may be missing."""
    error = object_of(stated)
    names = [name for name in (error.get("code"), error.get("type")) if isinstance(name, str)]
    status = next((_STATUS[name] for name in names if name in _STATUS), 500)
    return errors.to_error(errors.of_object(status, error), secrets)


def nonsense(detail: str) -> UpstreamInvalid:
    return UpstreamInvalid("The upstream vendor's answer broke off or made no sense.", detail=detail)
