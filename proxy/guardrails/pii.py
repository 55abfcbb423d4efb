"""``guardrail: pii``: personal data, in figures or as people say it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from proxy.config import Guardrail
from proxy.guardrails.base import ALLOW, Context, Span, Verdict
from proxy.guardrails.entities import by_name
from proxy.guardrails.redaction import union
from proxy.guardrails.spoken import NormalizedText

#: Characters that are looked at without a pause for other calls, and how far two such pieces overlap.
PIECE = 2_000
OVERLAP = 400


class Pii:
    is_local = True

    def __init__(self, settings: Guardrail) -> None:
        finders = by_name(settings.regions)
        self._finders = {name: finders[name] for name in finders if name in settings.entities}

    async def check(self, text: str, context: Context) -> Verdict:
        spans = []
        for start, piece in _pieces(text):
            if start:
                await asyncio.sleep(0)
            spans += [Span(start + first, start + last, put) for first, last, put in self.find(piece)]
        if not spans:
            return ALLOW
        found = dict.fromkeys(span.put[1:-1] for span in spans)
        return Verdict(tuple(found), tuple(union(spans)))

    def find(self, text: str) -> list[Span]:
        reading = NormalizedText(text)
        spans = self._found(reading)
        if reading.text != text:
            spans += self._found(NormalizedText(text, joined=False))
        return union(spans) if spans else spans

    def _found(self, reading: NormalizedText) -> list[Span]:
        spans = [
            Span(start, end, f"[{name}]") for name, find in self._finders.items() for start, end in find(reading.text)
        ]
        return reading.original(spans) if spans else spans

    async def aclose(self) -> None:
        pass


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Pieces with their starts. What is found in one is shorter than the overlap, so that it is whole in the next."""
    for start in range(0, max(1, len(text)), PIECE):
        yield start, text[start : start + PIECE + OVERLAP]
