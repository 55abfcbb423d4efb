"""The Python functions: one call on one model, without a server, a configuration or state.

`functions` is what callers see. `target` finds the vendor and its key, `session` opens what a call needs and retries,
`clients` sends through the caller's own HTTP client, `files` reads uploads; `answers` and `documents` are the results.
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
