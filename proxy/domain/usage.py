"""What an attempt used, as its vendor reports it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final


@dataclass(slots=True)
class Usage:
    """What an attempt used; None if the vendor does not report it. Each token is counted once."""

    characters: int | None = None
    #: Seconds of input and output audio.
    seconds_in: float | None = None
    seconds_out: float | None = None
    input_text_tokens: int | None = None
    input_audio_tokens: int | None = None
    #: Those of the tokens above that the vendor had cached and bills at another price.
    cached_text_tokens: int | None = None
    cached_audio_tokens: int | None = None
    output_text_tokens: int | None = None
    output_audio_tokens: int | None = None
    #: USD, if the vendor reports what it charged.
    cost: Decimal | None = None


#: OpenAI's usage of a transcript for which nothing is known.
NO_TOKENS: Final = {
    "type": "tokens",
    "total_tokens": 0,
    "input_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0},
    "output_tokens": 0,
}


def speech_tokens(usage: Usage | None) -> dict[str, int]:
    """OpenAI's usage of speech; zeros if the vendor does not count tokens, since clients read the counts blindly."""
    usage = usage or Usage()
    input_tokens = (usage.input_text_tokens or 0) + (usage.input_audio_tokens or 0)
    output_tokens = (usage.output_text_tokens or 0) + (usage.output_audio_tokens or 0)
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def total(usages: Iterable[Usage | None]) -> Usage | None:
    """The sum of each count over the usages that report it; None if none of them reports anything."""
    known = [usage for usage in usages if usage is not None]
    if len(known) < 2:
        return known[0] if known else None
    return Usage(**{field.name: _sum(getattr(usage, field.name) for usage in known) for field in fields(Usage)})


def _sum(counts: Iterable[Any]) -> Any:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
