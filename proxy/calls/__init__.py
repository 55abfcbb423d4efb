"""One attempt on one deployment: the vendor's flow, the upstream, and what the vendor lacks."""

from __future__ import annotations

from proxy.calls.answer import Answer
from proxy.calls.caller import AttemptRunner, Heard, Translated
from proxy.calls.fitting import MAX_VOICES_NAMED, voice_of
from proxy.calls.line import BoundDeployment
from proxy.calls.translation import Part
from proxy.calls.voices import Named, VoiceLists

__all__ = [
    "MAX_VOICES_NAMED",
    "Answer",
    "AttemptRunner",
    "BoundDeployment",
    "Heard",
    "Named",
    "Part",
    "Translated",
    "VoiceLists",
    "voice_of",
]
