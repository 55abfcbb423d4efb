"""A vendor's voices, and the mapping of OpenAI's names to them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

#: OpenAI's thirteen.
NAMES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Voice:
    """One voice of a vendor's public catalogue; None is unknown."""

    id: str
    name: str | None = None
    #: BCP-47.
    language: str | None = None
    #: ``female``, ``male`` or ``neutral``.
    gender: str | None = None


@dataclass(frozen=True)
class Voices:
    """A vendor's public voices. Any other may be private to an account."""

    catalogue: tuple[Voice, ...]
    #: The vendor's voice for each of OpenAI's names that is not in the catalogue.
    openai: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: Matches every id of the public catalogue, if that is too long for a table.
    pattern: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        ids = {voice.id: voice.id for voice in self.catalogue}
        by_name = {voice.name.lower(): voice.id for voice in self.catalogue if voice.name}
        object.__setattr__(self, "_ids", {**by_name, **ids, **self.openai})

    _ids: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def find(self, name: str) -> str | None:
        """The vendor's id for one of OpenAI's names, an id, or the name of a voice; None if there is no such voice."""
        id = self._ids.get(name) or self._ids.get(name.lower())
        if id is None and self.pattern is not None and self.pattern.fullmatch(name):
            return name
        return id

    @property
    def names(self) -> tuple[str, ...]:
        """The names that a caller may use: OpenAI's first, then the vendor's ids."""
        return tuple(dict.fromkeys((*self.openai, *(voice.id for voice in self.catalogue))))


OPENAI_VOICES = Voices(catalogue=tuple(Voice(name, name.capitalize()) for name in NAMES))
