"""``guardrail: pii``: finds personal data, in digits or spoken words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field

from proxy.config import Config
from proxy.guardrails.base import ALLOW, Context, Guard, Span, Verdict
from proxy.guardrails.entities import by_name
from proxy.guardrails.redaction import union
from proxy.guardrails.scanner import Scanner
from proxy.guardrails.settings import GuardrailSettings, NotEmpty
from proxy.guardrails.views import View, addressed, plain, spoken
from proxy.http.transport import Transport

#: Characters that the longest finding may have.
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
        self._scanner = Scanner()

    async def check(self, text: str, context: Context) -> Verdict:
        spans = await self._scanner.in_pieces(text, self.find, OVERLAP)
        if not spans:
            return ALLOW
        labels = dict.fromkeys(span.put[1:-1] for span in spans)
        return Verdict(tuple(labels), tuple(union(spans)))

    async def aclose(self) -> None:
        self._scanner.close()

    def find(self, text: str) -> list[Span]:
        seen: set[str] = set()
        spans: list[Span] = []
        for view in _views(text):
            if view.text not in seen:
                seen.add(view.text)
                spans += self._find(view)
        return union(spans) if spans else spans

    def _find(self, view: View) -> list[Span]:
        text = view.text
        spans = [Span(start, end, f"[{name}]") for name, find in self._finders.items() for start, end in find(text)]
        return view.original(spans) if spans else spans


def _views(text: str) -> Iterator[View]:
    written = plain(text)
    yield written
    yield spoken(written, joined=True)
    yield spoken(written, joined=False)
    yield addressed(written)
