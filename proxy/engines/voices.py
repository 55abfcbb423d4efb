"""Voice ids: OpenAI's names as settings of espeak-ng, and espeak-ng's own ids, such as ``de`` or ``en-gb+f2``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from proxy.errors import UnsupportedValue

#: A BCP 47 tag as espeak-ng lists them, then the name of a variant. Nothing that could name a path passes.
_ID: Final = re.compile(r"([a-z]{2,3}(?:-[a-z0-9]{1,12}){0,4})(?:\+([a-z0-9]{1,16}))?", re.ASCII | re.IGNORECASE)
_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Voice:
    """How espeak-ng is to speak. Whether the language and the variant exist, only espeak-ng knows."""

    language: str
    variant: str = ""
    #: 0 to 100; 50 is the variant's own pitch.
    pitch: int = 50
    #: 0 to 100: from a monotone to a lively melody.
    range: int = 50
    gender: str = "male"


#: alloy is the default, and so the voice that pocketsphinx understands best.
OPENAI: Final[Mapping[str, Voice]] = MappingProxyType(
    {
        "alloy": Voice("en-us", "f5", gender="female"),
        "ash": Voice("en-us", "m1"),
        "ballad": Voice("en-gb", "m2", pitch=45, range=70),
        "cedar": Voice("en-us", "m7", pitch=40),
        "coral": Voice("en-us", "f2", gender="female"),
        "echo": Voice("en-us", "m3"),
        "fable": Voice("en-gb-x-rp", "m4"),
        "marin": Voice("en-gb", "f5", pitch=40, gender="female"),
        "nova": Voice("en-us", "f1", gender="female"),
        "onyx": Voice("en-us", "m5", pitch=20, range=35),
        "sage": Voice("en-gb", "f3", gender="female"),
        "shimmer": Voice("en-us", "f4", pitch=60, gender="female"),
        "verse": Voice("en-gb-scotland", "m6", range=65),
    }
)


def parse(voice: str) -> Voice:
    """The voice of an id; UnsupportedValue for what cannot be one."""
    if voice.lower() in OPENAI:
        return OPENAI[voice.lower()]
    if (found := _ID.fullmatch(voice)) is None:
        raise UnsupportedValue(
            f"'{voice[:_SHOWN]}' is no voice of espeak-ng. Use one of {', '.join(OPENAI)}, "
            "or a language with or without a variant, such as 'de' or 'en-gb+f2'.",
            param="voice",
        )
    return Voice(found[1].lower(), (found[2] or "").lower())
