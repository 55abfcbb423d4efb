"""Query parameters of routes that list records."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from proxy.errors import BadRequest


class ListQuery(BaseModel):
    """Unknown parameters are refused: a misspelt filter would match everything."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _check_unknown(cls, query: Any) -> Any:
        """Raises BadRequest, which pydantic lets pass."""
        for name in query if isinstance(query, Mapping) else ():
            if name not in cls.model_fields:
                name = name[:80]
                nearest = get_close_matches(name.lower(), cls.model_fields, n=1, cutoff=0.6)
                hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
                known = ", ".join(cls.model_fields)
                raise BadRequest(
                    f"Unknown parameter '{name}'.{hint} Known: {known}.", param=name, code="unknown_parameter"
                )
        return query
