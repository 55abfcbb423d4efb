"""``guardrail: pii``: finds personal data, in digits or spoken words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.config import Config
from proxy.guardrails.base import ALLOW, Context, Guard, Span, Verdict
from proxy.guardrails.entities import by_name
from proxy.guardrails.redaction import union
from proxy.guardrails.settings import GuardrailSettings, NotEmpty
from proxy.guardrails.spoken import NormalizedText
from proxy.http.transport import Transport

#: Characters that are checked without yielding to other calls, and the overlap of two such pieces.
PIECE = 2_000
OVERLAP = 400


Entity = Literal["CREDIT_CARD", "EMAIL", "PHONE", "IBAN", "IP", "US_SSN"]
ENTITIES: tuple[Entity, ...] = get_args(Entity)
#: Presidio's names, which LiteLLM uses.
_ALIASES = {"EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "IBAN", "IP_ADDRESS": "IP"}


def _canonical(name: Any) -> Any:
    return _ALIASES.get(str(name), name)


def _country(code: str) -> str:
    if not re.fullmatch("[A-Z]{2}", code):
        raise ValueError("must be country codes such as US or DE")
    return code


class PiiSettings(GuardrailSettings):
    redacts: ClassVar[bool] = True

    guardrail: Literal["pii"] = "pii"
    entities: Annotated[tuple[Annotated[Entity, BeforeValidator(_canonical)], ...], NotEmpty] = Field(
        default=ENTITIES, description="What it looks for."
    )
    regions: Annotated[tuple[Annotated[str, AfterValidator(_country)], ...], NotEmpty] = Field(
        default=("US",), description="Countries whose phone numbers are found without a country code."
    )

    def build(self, config: Config, transport: Transport) -> Pii:
        return Pii(self)


class Pii(Guard):
    is_local = True

    def __init__(self, settings: PiiSettings) -> None:
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
        labels = dict.fromkeys(span.put[1:-1] for span in spans)
        return Verdict(tuple(labels), tuple(union(spans)))

    def find(self, text: str) -> list[Span]:
        normalized = NormalizedText(text)
        spans = self._find(normalized)
        if normalized.text != text:
            spans += self._find(NormalizedText(text, joined=False))
        return union(spans) if spans else spans

    def _find(self, normalized: NormalizedText) -> list[Span]:
        text = normalized.text
        spans = [Span(start, end, f"[{name}]") for name, find in self._finders.items() for start, end in find(text)]
        return normalized.original(spans) if spans else spans


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """Pieces with their start positions. A match is shorter than the overlap, so one piece contains all of it."""
    for start in range(0, max(1, len(text)), PIECE):
        yield start, text[start : start + PIECE + OVERLAP]
