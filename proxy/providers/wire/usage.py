"""What a vendor used, read from the usage blocks of OpenAI's shape and of what is near it.

Shapes: OpenAI's tokens (with ``input_token_details``) and duration; OpenRouter's ``seconds``, tokens and ``cost``;
Mistral's ``prompt_audio_seconds`` and tokens; a ``duration`` beside the text. Whatever is of another type counts as not
said, and zeros alone say nothing: Speaches sends them where it has not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import astuple
from decimal import Decimal
from typing import Any

from proxy.domain.usage import Usage

_MAX_SECONDS = 1e7
_MAX_TOKENS = 1 << 53
_MAX_USD = 1e6


def of_transcript(document: Mapping[str, Any]) -> Usage | None:
    """Of a transcript, or of the event that ends a stream of one; None where it does not say."""
    stated = _mapping(document.get("usage"))
    details = _mapping(stated.get("input_token_details"))
    asked = _count(stated.get("input_tokens"))
    text = _count(details.get("text_tokens"))
    audio = _count(details.get("audio_tokens"))
    if text is None and audio is None:
        audio = asked
    seconds = (stated.get("seconds"), stated.get("prompt_audio_seconds"), document.get("duration"))
    return _known(
        Usage(
            seconds_in=next((found for found in map(seconds_of, seconds) if found), None),
            input_text_tokens=text if text is not None else _count(stated.get("prompt_tokens")),
            input_audio_tokens=audio,
            output_text_tokens=_first(stated, "output_tokens", "completion_tokens"),
            cost=_usd(stated.get("cost")),
        )
    )


def of_speech(document: Mapping[str, Any]) -> Usage | None:
    """Of the event that ends a stream of speech; None where it does not say."""
    stated = _mapping(document.get("usage"))
    return _known(
        Usage(
            input_text_tokens=_first(stated, "input_tokens", "prompt_tokens"),
            output_audio_tokens=_first(stated, "output_tokens", "completion_tokens"),
            cost=_usd(stated.get("cost")),
        )
    )


def shown(usage: Usage | None) -> Mapping[str, Any] | None:
    """As OpenAI writes it in a transcript; None where neither seconds nor tokens are known."""
    if usage is None:
        return None
    if usage.seconds_in is not None:
        return {"type": "duration", "seconds": math.ceil(usage.seconds_in)}
    if usage.output_text_tokens is None:
        return None
    text, audio = usage.input_text_tokens or 0, usage.input_audio_tokens or 0
    return {
        "type": "tokens",
        "total_tokens": text + audio + usage.output_text_tokens,
        "input_tokens": text + audio,
        "input_token_details": {"text_tokens": text, "audio_tokens": audio},
        "output_tokens": usage.output_text_tokens,
    }


def seconds_of(value: Any) -> float | None:
    """Seconds of a number, or of one in quotes, as vLLM writes a duration; None for anything else."""
    return _within(value, _MAX_SECONDS, texts=True)


def _known(usage: Usage) -> Usage | None:
    return usage if any(astuple(usage)) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(stated: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _count(stated.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    found = _within(value, _MAX_TOKENS)
    return None if found is None else int(found)


def _usd(value: Any) -> Decimal | None:
    return None if _within(value, _MAX_USD) is None else Decimal(str(value))


def _within(value: Any, most: float, *, texts: bool = False) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str) if texts else (int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= most else None
