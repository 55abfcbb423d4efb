"""JSON as servers write it, and JSON that every client can read."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import from_json, to_json

from proxy.surrogates import well_formed_escapes

#: Python converts at most 4,300, because it takes quadratic time.
_MAX_DIGITS = 1000
#: Perhaps a number beyond all floats, such as ``1e999``, which is JSON.
_HUGE = re.compile(r"[0-9][eE]\+?[0-9]{3}")


def read(data: bytes | str) -> Any:
    """Raises ValueError if it is not JSON in UTF-8.

    NaN, infinities and numbers that Python does not convert become None, halves of surrogate pairs U+FFFD. Strings may
    contain control characters.
    """
    text = data if isinstance(data, str) else data.decode("utf-8")
    try:
        document = from_json(data, allow_inf_nan=False)
    except ValueError as error:
        try:
            return _lenient(text)
        except RecursionError:
            raise error from None
    return document if _HUGE.search(text) is None else _lenient(text)


def _lenient(text: str) -> Any:
    source = well_formed_escapes(text.removeprefix("\ufeff"))
    return json.loads(source, parse_constant=lambda _: None, parse_int=_integer, parse_float=_finite, strict=False)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_DIGITS else None


def _finite(digits: str) -> float | None:
    return number if math.isfinite(number := float(digits)) else None


def strict(data: bytes) -> Any:
    """None unless every client can read it: UTF-8 without a byte order mark, NaN and halves of surrogate pairs."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return None


def write(document: Any) -> bytes:
    """Compact. NaN and infinities become null."""
    return to_json(document, inf_nan_mode="null")
