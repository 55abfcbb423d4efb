"""An OpenAI-compatible audio proxy: speech, transcription and translation behind one API.

The Python functions need no server: ``from proxy import speech, transcription``. They are loaded when first named, so
that ``import proxy`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from proxy import errors
    from proxy.errors import ProxyError
    from proxy.sdk import (
        Speech,
        Transcription,
        aspeech,
        atranscription,
        atranslation,
        speech,
        transcription,
        translation,
    )

__all__ = [
    "ProxyError",
    "Speech",
    "Transcription",
    "aspeech",
    "atranscription",
    "atranslation",
    "errors",
    "speech",
    "transcription",
    "translation",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'proxy' has no attribute {name!r}")
    if name == "errors":
        return import_module("proxy.errors")
    return getattr(import_module("proxy.errors" if name == "ProxyError" else "proxy.sdk"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
