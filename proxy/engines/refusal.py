"""Carries errors from an engine's process to the proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from proxy.audio.channel import JobRefused
from proxy.errors import BadRequest, NotInstalled, ProxyError, UnsupportedValue

_ERRORS: Final[Mapping[str, type[ProxyError]]] = MappingProxyType(
    {error.__name__: error for error in (BadRequest, UnsupportedValue, NotInstalled)}
)


class Refusal(JobRefused):
    """Raised in the process. ``error``: BadRequest, UnsupportedValue or NotInstalled. Clients see the message."""

    def __init__(self, error: type[ProxyError], message: str, param: str | None = None) -> None:
        super().__init__(json.dumps({"error": error.__name__, "message": message, "param": param}))


def to_error(text: str) -> ProxyError:
    """The error from the text of a `Refusal`."""
    fields = json.loads(text)
    return _ERRORS[fields["error"]](fields["message"], param=fields["param"])
