"""JSON as servers write it, with NaN and halves of surrogate pairs; and JSON that every client can read."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

#: Python converts at most 4,300, because it takes quadratic time.
_MAX_DIGITS = 1000


def read(data: bytes | str) -> Any:
    """Raises ValueError if it is not JSON in UTF-8.

    NaN, infinities and integers that Python does not convert become None; halves of surrogate pairs stay.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        try:
            text = data if isinstance(data, str) else data.decode("utf-8")
            return json.loads(text, parse_constant=lambda _: None, parse_int=_integer)
        except RecursionError:
            raise error from None


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None


def strict(data: bytes) -> Any:
    """None unless every client can read it: UTF-8 without a byte order mark, NaN and halves of surrogate pairs."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return None


def write(document: Any) -> bytes:
    """Compact. NaN and infinities become null, halves of surrogate pairs a question mark."""
    try:
        return to_json(document, inf_nan_mode="null")
    except (PydanticSerializationError, ValueError):
        text = json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
        return to_json(from_json(text), inf_nan_mode="null")
