"""JSON answers as objects: members are attributes, at every depth."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

_NONE: Final[Mapping[str, Any]] = {}


class Document(SimpleNamespace):
    """A JSON object. ``model_dump()`` gives it back as dicts and lists."""

    def __init__(self, members: Mapping[str, Any] = _NONE) -> None:
        super().__init__(**{name: _wrapped(value) for name, value in members.items()})

    def model_dump(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in vars(self).items()}

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Transcription(Document):
    """A transcript or translation, with whatever its format holds: ``segments``, ``words``, ``language``…"""

    text: str
    #: None where the vendor tells none.
    usage: Document | None = None


def _wrapped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Document(value)
    return [_wrapped(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Document):
        return value.model_dump()
    return [_plain(item) for item in value] if isinstance(value, list) else value
