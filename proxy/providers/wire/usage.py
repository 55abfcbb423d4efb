"""What a request used, from usage blocks in OpenAI's shape and its relatives.

Shapes: OpenAI's tokens (with ``input_token_details``) and duration; OpenRouter's ``seconds``, tokens and ``cost``;
Mistral's ``prompt_audio_seconds`` and tokens; a ``duration`` beside the text. Values of other types count as missing,
and so does a block of zeros: Speaches sends one if it has not counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any

from proxy.domain.usage import Usage

_FIELDS = tuple(field.name for field in fields(Usage))
_MAX_SECONDS = 1e7
_MAX_TOKENS = 1 << 53
_MAX_USD = 1e6


def of_transcript(document: Mapping[str, Any]) -> Usage | None:
    """From a transcript, or from the event that ends a transcript stream; None if it reports nothing."""
    block = _mapping(document.get("usage"))
    details = _mapping(block.get("input_token_details"))
    text = _count(details.get("text_tokens"))
    audio = _count(details.get("audio_tokens"))
    if text is None and audio is None:
        audio = _count(block.get("input_tokens"))
    seconds = (block.get("seconds"), block.get("prompt_audio_seconds"), document.get("duration"))
    return _unless_empty(
        Usage(
            seconds_in=next(filter(None, map(seconds_of, seconds)), None),
            input_text_tokens=text if text is not None else _count(block.get("prompt_tokens")),
            input_audio_tokens=audio,
            output_text_tokens=_first(block, "output_tokens", "completion_tokens"),
            cost=_usd(block.get("cost")),
        )
    )


def of_speech(document: Mapping[str, Any]) -> Usage | None:
    """From the event that ends a speech stream; None if it reports nothing."""
    block = _mapping(document.get("usage"))
    return _unless_empty(
        Usage(
            input_text_tokens=_first(block, "input_tokens", "prompt_tokens"),
            output_audio_tokens=_first(block, "output_tokens", "completion_tokens"),
            cost=_usd(block.get("cost")),
        )
    )


def as_openai(usage: Usage | None) -> Mapping[str, Any] | None:
    """As OpenAI writes it in a transcript; None if neither seconds nor tokens are known."""
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
    """Seconds from a number, or from one in quotes, as vLLM writes a duration; None for anything else."""
    return _within(value, _MAX_SECONDS, texts=True)


def _unless_empty(usage: Usage) -> Usage | None:
    return usage if any(getattr(usage, name) for name in _FIELDS) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(block: Mapping[str, Any], *names: str) -> int | None:
    return next((count for name in names if (count := _count(block.get(name))) is not None), None)


def _count(value: Any) -> int | None:
    count = _within(value, _MAX_TOKENS)
    return None if count is None else int(count)


def _usd(value: Any) -> Decimal | None:
    return None if _within(value, _MAX_USD) is None else Decimal(str(value))


def _within(value: Any, maximum: float, *, texts: bool = False) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str) if texts else (int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number <= maximum else None
