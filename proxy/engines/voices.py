"""Voice ids: OpenAI's names, mapped to settings of espeak-ng, and espeak-ng's own, such as ``de`` or ``en-gb+f2``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from proxy.errors import UnsupportedValue

#: A BCP 47 tag as espeak-ng lists them, then the name of a variant. It cannot match a path.
_ID: Final = re.compile(r"([a-z]{2,3}(?:-[a-z0-9]{1,12}){0,4})(?:\+([a-z0-9]{1,16}))?", re.ASCII | re.IGNORECASE)
_MAX_QUOTED: Final = 80


@dataclass(frozen=True, slots=True)
class EspeakVoice:
    """Settings of espeak-ng. Only espeak-ng itself knows whether the language and the variant exist."""

    language: str
    variant: str = ""
    #: 0 to 100; 50 is the variant's own pitch.
    pitch: int = 50
    #: 0 to 100: from monotonous to lively.
    range: int = 50
    gender: str = "male"


#: alloy, the default, is the voice that PocketSphinx recognizes best.
OPENAI: Final[Mapping[str, EspeakVoice]] = MappingProxyType(
    {
        "alloy": EspeakVoice("en-us", "f5", gender="female"),
        "ash": EspeakVoice("en-us", "m1"),
        "ballad": EspeakVoice("en-gb", "m2", pitch=45, range=70),
        "cedar": EspeakVoice("en-us", "m7", pitch=40),
        "coral": EspeakVoice("en-us", "f2", gender="female"),
        "echo": EspeakVoice("en-us", "m3"),
        "fable": EspeakVoice("en-gb-x-rp", "m4"),
        "marin": EspeakVoice("en-gb", "f5", pitch=40, gender="female"),
        "nova": EspeakVoice("en-us", "f1", gender="female"),
        "onyx": EspeakVoice("en-us", "m5", pitch=20, range=35),
        "sage": EspeakVoice("en-gb", "f3", gender="female"),
        "shimmer": EspeakVoice("en-us", "f4", pitch=60, gender="female"),
        "verse": EspeakVoice("en-gb-scotland", "m6", range=65),
    }
)


def parse(voice: str) -> EspeakVoice:
    """The settings of a voice. Raises UnsupportedValue if the id is malformed."""
    if voice.lower() in OPENAI:
        return OPENAI[voice.lower()]
    if (match := _ID.fullmatch(voice)) is None:
        raise UnsupportedValue(
            f"'{voice[:_MAX_QUOTED]}' is not a voice of espeak-ng. Use one of {', '.join(OPENAI)}, "
            "or a language with or without a variant, such as 'de' or 'en-gb+f2'.",
            param="voice",
        )
    return EspeakVoice(match[1].lower(), (match[2] or "").lower())
