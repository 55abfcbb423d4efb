"""JSON answers as objects: members are attributes, at every depth."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self

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

    __slots__ = ("cost",)

    text: str
    #: None where the vendor tells none.
    usage: Document | None = None

    def __init__(self, members: Mapping[str, Any] = _NONE, cost: Decimal | None = None) -> None:
        super().__init__(members)
        #: USD; None where it is not known. No part of the document.
        self.cost = cost


class Text(str):
    """A transcript as text."""

    __slots__ = ("cost",)

    #: USD; None where it is not known.
    cost: Decimal | None

    def __new__(cls, text: str, cost: Decimal | None = None) -> Self:
        made = super().__new__(cls, text)
        made.cost = cost
        return made


def _wrapped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Document(value)
    return [_wrapped(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Document):
        return value.model_dump()
    return [_plain(item) for item in value] if isinstance(value, list) else value
