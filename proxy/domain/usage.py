"""What a vendor says an attempt used."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(slots=True)
class Usage:
    """What an attempt used, as far as the vendor says; None where it does not. Tokens are counted once each."""

    characters: int | None = None
    #: Seconds of audio that came in and went out.
    seconds_in: float | None = None
    seconds_out: float | None = None
    input_text_tokens: int | None = None
    input_audio_tokens: int | None = None
    #: Of the tokens above, those that the vendor had seen before and bills at another price.
    cached_text_tokens: int | None = None
    cached_audio_tokens: int | None = None
    output_text_tokens: int | None = None
    output_audio_tokens: int | None = None
    #: USD, where the vendor names the price itself.
    cost: Decimal | None = None
