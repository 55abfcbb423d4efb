"""OpenAI's ``keywords`` and ``prompt`` as other vendors' key terms: words and short phrases."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from proxy.domain.requests import TranscriptionRequest

#: Of one term.
MAX_WORDS = 6
MAX_CHARACTERS = 100
_GAPS = re.compile(r"[,;:\n\r]+|[.?!](?:\s+|$)")
_MARKS = " \t.?!\"'()[]"


class Terms(NamedTuple):
    terms: list[str]
    #: One for each kind of term that was left out.
    warnings: list[str]


def key_terms(request: TranscriptionRequest, *, most: int, further: Sequence[str] = ()) -> Terms:
    """The caller's terms, the ``further`` ones and those of the prompt, at most ``most``."""
    requested = of_request((*request.keywords, *further), request.prompt)
    terms = [term for term in requested if len(term) <= MAX_CHARACTERS]
    warnings = []
    if len(terms) < len(requested):
        warnings.append(f"key terms of more than {MAX_CHARACTERS} characters were left out")
    if request.prompt and not of_prompt(request.prompt):
        warnings.append(f"prompt has no effect on '{request.model}' unless it is a list of terms")
    if len(terms) > most:
        warnings.append(f"only the first {most} of {len(terms)} key terms were used")
    return Terms(terms[:most], warnings)


def of_request(keywords: Sequence[str], prompt: str | None, *, most: int | None = None) -> list[str]:
    """The keywords unchanged, then the terms of the prompt."""
    terms = [term for term in dict.fromkeys((*keywords, *of_prompt(prompt or ""))) if term.strip()]
    return terms[:most]


def of_prompt(prompt: str) -> list[str]:
    """The terms of a prompt that is a list of terms; empty for a prompt that is prose."""
    pieces = [piece.strip(_MARKS) for piece in _GAPS.split(prompt)]
    terms = [piece for piece in pieces if piece]
    return terms if all(len(term.split()) <= MAX_WORDS for term in terms) else []
