"""The sum of what several attempts used."""

from __future__ import annotations

from decimal import Decimal

from proxy.domain.usage import Usage, total


def test_usages_add_up() -> None:
    assert total([]) is None
    assert total([None, None]) is None
    assert total([None, Usage(characters=3)]) == Usage(characters=3)
    parts = [
        Usage(characters=1, seconds_out=0.5, cost=Decimal("0.1")),
        None,
        Usage(characters=2, output_audio_tokens=7, cost=Decimal("0.2")),
    ]
    assert total(parts) == Usage(characters=3, seconds_out=0.5, output_audio_tokens=7, cost=Decimal("0.3"))
