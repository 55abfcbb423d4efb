"""JSON as servers write it, and JSON that every client can read."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

from proxy.parse import well_formed_escapes


def read(data: bytes | str) -> Any:
    """Raises ValueError if it is not JSON in UTF-8.

    NaN and infinities become None, halves of surrogate pairs U+FFFD. Strings may contain control characters.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError as error:
        try:
            text = data if isinstance(data, str) else data.decode("utf-8")
            source = well_formed_escapes(text.removeprefix("\ufeff"))
            return json.loads(source, parse_constant=lambda _: None, strict=False)
        except RecursionError:
            raise error from None


def strict(data: bytes) -> Any:
    """None unless every client can read it: UTF-8 without a byte order mark, NaN and halves of surrogate pairs."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return None


def write(document: Any) -> bytes:
    """Compact. NaN and infinities become null."""
    return to_json(document, inf_nan_mode="null")
