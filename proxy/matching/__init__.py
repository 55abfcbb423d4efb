"""Whether and how a deployment can serve a request: one plan or rejection per candidate, made once."""

from __future__ import annotations

from proxy.matching.bound import BoundDeployment
from proxy.matching.limits import MEGABYTE, file_limit, file_too_large
from proxy.matching.plan import Plan, Rejection, SpeechPlan, TextTranslationPlan, TranscriptionPlan
from proxy.matching.speech import match_speech
from proxy.matching.transcription import (
    Needs,
    length_matters,
    match_transcription,
    serves,
    translates,
    unreadable,
)

__all__ = [
    "MEGABYTE",
    "BoundDeployment",
    "Needs",
    "Plan",
    "Rejection",
    "SpeechPlan",
    "TextTranslationPlan",
    "TranscriptionPlan",
    "file_limit",
    "file_too_large",
    "length_matters",
    "match_speech",
    "match_transcription",
    "serves",
    "translates",
    "unreadable",
]
