"""The voices of a vendor: what it has, and which of them speak for OpenAI's names."""

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
    """One voice of a vendor's public catalogue; None is what nobody says."""

    id: str
    name: str | None = None
    #: BCP-47.
    language: str | None = None
    #: ``female``, ``male`` or ``neutral``.
    gender: str | None = None


@dataclass(frozen=True)
class Voices:
    """A vendor's public voices. Others may be an account's own, and belong to somebody."""

    catalogue: tuple[Voice, ...]
    #: The vendor's voice for each of OpenAI's names that is not in the catalogue itself.
    openai: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    #: What every id of the public catalogue looks like, where that is too long for a table.
    pattern: re.Pattern[str] | None = None

    def __post_init__(self) -> None:
        ids = {voice.id: voice.id for voice in self.catalogue}
        named = {voice.name.lower(): voice.id for voice in self.catalogue if voice.name}
        object.__setattr__(self, "_ids", {**named, **ids, **self.openai})

    _ids: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def find(self, name: str) -> str | None:
        """The vendor's id for one of OpenAI's names, an id, or the name of a voice; None if it has none such."""
        found = self._ids.get(name) or self._ids.get(name.lower())
        if found is None and self.pattern is not None and self.pattern.fullmatch(name):
            return name
        return found

    @property
    def names(self) -> tuple[str, ...]:
        """What a caller may say: OpenAI's names first, then the vendor's ids."""
        return tuple(dict.fromkeys((*self.openai, *(voice.id for voice in self.catalogue))))


OPENAI_VOICES = Voices(catalogue=tuple(Voice(name, name.capitalize()) for name in NAMES))
