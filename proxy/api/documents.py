"""JSON bodies of the routes that are not on the hot path, read within a bound and after the key was checked."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from pydantic_core import from_json

from proxy.errors import BadRequest, RequestTooLarge

MAX_BYTES = 1_048_576


async def document(request: Request) -> dict[str, Any]:
    """The object in the body; an empty body is an empty object."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise RequestTooLarge(f"The body is too large; at most {MAX_BYTES} bytes are read here.")
    try:
        found = from_json(bytes(body), allow_inf_nan=False) if body else {}
    except ValueError as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}.", code="invalid_json") from None
    if not isinstance(found, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return found


def text_of(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not _is_text(value):
        raise BadRequest(f"'{name}' must be a text.", param=name, code="missing_required_parameter")
    return str(value)


def texts_of(body: dict[str, Any], name: str, *, most: int) -> list[str]:
    """A list of texts, or nothing."""
    value = body.get(name) or []
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise BadRequest(f"'{name}' must be a list of texts.", param=name, code="invalid_type")
    if len(value) > most:
        raise BadRequest(f"'{name}' may have at most {most} items.", param=name, code="invalid_value")
    return value


def _is_text(value: Any) -> bool:
    """NUL is a character that PostgreSQL's texts cannot hold."""
    return isinstance(value, str) and value != "" and "\x00" not in value


def body_of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """What OpenAPI says of a body; for ``openapi_extra``."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
