"""One attempt on one deployment: the vendor's flow, the upstream, and what the vendor lacks."""

from __future__ import annotations

from proxy.calls.answer import Answer
from proxy.calls.caller import Calls, Heard, Translated
from proxy.calls.fitting import MOST_VOICES_NAMED, voice_of
from proxy.calls.line import Line
from proxy.calls.translation import Part
from proxy.calls.voices import Named, VoiceLists

__all__ = [
    "MOST_VOICES_NAMED",
    "Answer",
    "Calls",
    "Heard",
    "Line",
    "Named",
    "Part",
    "Translated",
    "VoiceLists",
    "voice_of",
]
