"""JSON bodies of the admin routes, as pydantic models.

FastAPI reads the bodies that it knows of before any dependency runs, and without a limit. These are read by a
dependency, after the key was checked and up to a limit, whatever their content type.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, get_type_hints

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, BeforeValidator, Field, ValidationError, ValidationInfo
from pydantic_core import from_json

from proxy.accounting.key_secrets import is_reference, key_id_of
from proxy.api.access import Admin
from proxy.errors import BadRequest, RequestTooLarge, invalid_value

MAX_BYTES = 1_048_576
MAX_ITEMS = 1000


class JsonBodyRoute(APIRoute):
    """A route whose parameter ``body``, if it has one, is a model that `reads` fills; OpenAPI describes it.

    The model must not contain others: its schema is not among the document's components.
    """

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if (model := get_type_hints(endpoint).get("body")) is not None:
            content = {"application/json": {"schema": model.model_json_schema()}}
            options["openapi_extra"] = {"requestBody": {"required": True, "content": content}}
        super().__init__(path, endpoint, **options)


def reads(model: type[BaseModel]) -> Any:
    """A dependency: the JSON body as ``model``. Raises BadRequest that names the field, or RequestTooLarge."""

    async def read(request: Request, _: Admin) -> BaseModel:
        document = await _document(request)
        try:
            return model.model_validate(document)
        except ValidationError as error:
            raise _bad_request(error) from None

    return Depends(read)


async def _document(request: Request) -> dict[str, Any]:
    """The object in the body; an empty body is an empty object."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            raise RequestTooLarge(f"The body is too large; it may have at most {MAX_BYTES} bytes.")
    try:
        document = from_json(bytes(body), allow_inf_nan=False) if body else {}
    except ValueError as error:
        raise BadRequest(f"We could not parse the JSON body of your request: {error}.", code="invalid_json") from None
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object.", code="invalid_json")
    return document


def _bad_request(error: ValidationError) -> BadRequest:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    field = str(first["loc"][0])
    if first["type"] == "missing":
        return _missing(field)
    return invalid_value(field, first["msg"])


# -- types of fields ---------------------------------------------------------------------------------------------------
# Their validators raise BadRequest, which pydantic lets pass, where the code differs from that of other fields.


def _is_text(value: Any) -> bool:
    """PostgreSQL's text type cannot store NUL."""
    return isinstance(value, str) and value != "" and "\x00" not in value


def _missing(field: str) -> BadRequest:
    return BadRequest(f"'{field}' must be a non-empty string.", param=field, code="missing_required_parameter")


def _texts(value: Any, info: ValidationInfo) -> list[str]:
    """null is the empty list."""
    value, field = value or [], info.field_name
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise BadRequest(f"'{field}' must be a list of non-empty strings.", param=field, code="invalid_type")
    if len(value) > MAX_ITEMS:
        raise BadRequest(f"'{field}' may have at most {MAX_ITEMS} items.", param=field, code="invalid_value")
    return value


def key_id(reference: str) -> str:
    """The id of a key that is named by itself or by its id. Raises BadRequest."""
    if not is_reference(reference):
        raise BadRequest("A key must be named by itself (sk-…) or by its SHA-256.", param="key", code="invalid_value")
    return key_id_of(reference)


def _key_id(value: Any, info: ValidationInfo) -> str:
    if not _is_text(value):
        raise _missing(info.field_name or "key")
    return key_id(value)


Texts = Annotated[list[str], BeforeValidator(_texts), Field(json_schema_extra={"maxItems": MAX_ITEMS})]
#: A key or its id, as its id.
KeyId = Annotated[str, BeforeValidator(_key_id), Field(description="The key, or its SHA-256.")]
