"""Encodes rows as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json


def as_json(row: Mapping[str, Any]) -> bytes:
    try:
        return to_json(row, fallback=str)
    except ValueError:  # a lone surrogate
        return json.dumps(row, default=str, ensure_ascii=False).encode("utf-8", "replace")
