"""The Python functions: one call on one model, without a server, a configuration or a state of their own.

`functions` is what callers see; `target` finds the vendor and its key, `session` opens and closes what a call needs and
repeats it where that helps, `clients` sends through a caller's own HTTP client, `files` reads what is to be
transcribed, `answers` and `documents` are what comes back.
"""

from __future__ import annotations

from proxy.sdk.answers import Speech
from proxy.sdk.documents import Document, Transcription
from proxy.sdk.functions import aspeech, atranscription, atranslation, speech, transcription, translation

__all__ = [
    "Document",
    "Speech",
    "Transcription",
    "aspeech",
    "atranscription",
    "atranslation",
    "speech",
    "transcription",
    "translation",
]
