"""JSON answers as objects: members are attributes, at every depth."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, Self

_NONE: Final[Mapping[str, Any]] = {}


class Document(SimpleNamespace):
    """A JSON object. ``model_dump()`` returns it as dicts and lists."""

    def __init__(self, members: Mapping[str, Any] = _NONE) -> None:
        super().__init__(**{name: _wrapped(value) for name, value in members.items()})

    def model_dump(self) -> dict[str, Any]:
        return {name: _plain(value) for name, value in vars(self).items()}

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Transcription(Document):
    """A transcript or translation, with the members of its format: ``segments``, ``words``, ``language``…"""

    __slots__ = ("cost",)

    text: str
    #: None if the vendor does not report it.
    usage: Document | None = None

    def __init__(self, members: Mapping[str, Any] = _NONE, cost: Decimal | None = None) -> None:
        super().__init__(members)
        #: USD; None if it is not known. Not a part of the document.
        self.cost = cost


class Text(str):
    """A transcript as text."""

    __slots__ = ("cost",)

    #: USD; None if it is not known.
    cost: Decimal | None

    def __new__(cls, text: str, cost: Decimal | None = None) -> Self:
        instance = super().__new__(cls, text)
        instance.cost = cost
        return instance


def _wrapped(value: Any) -> Any:
    if isinstance(value, Mapping):
        return Document(value)
    return [_wrapped(item) for item in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Document):
        return value.model_dump()
    return [_plain(item) for item in value] if isinstance(value, list) else value
