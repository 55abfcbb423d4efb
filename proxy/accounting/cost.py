"""What an attempt costs: its usage times the price of its deployment, as a decimal number of USD.

The prices are the rows of ``prices.json``; cost fields in an entry of the configuration replace them. ``docs/cost.md``
explains both, with an example bill for each kind of row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.domain.usage import Usage

Unit = Literal["tokens", "characters", "seconds", "request"]
#: How an amount was derived. ``vendor``: the vendor reported it. ``free``: every price is 0. ``estimate``: the price is
#: per token, and the vendor reported no tokens. ``mixed``: the attempts have different bases.
Basis = Literal["vendor", "tokens", "characters", "seconds", "request", "estimate", "mixed", "free", "unknown"]

#: All prices, in USD, under LiteLLM's names.
UNITS: Mapping[str, Unit] = {
    "input_cost_per_token": "tokens",
    "input_cost_per_audio_token": "tokens",
    "cache_read_input_token_cost": "tokens",
    "cache_read_input_audio_token_cost": "tokens",
    "output_cost_per_token": "tokens",
    "output_cost_per_audio_token": "tokens",
    "input_cost_per_character": "characters",
    "input_cost_per_second": "seconds",
    "output_cost_per_second": "seconds",
    "input_cost_per_request": "request",
}
#: The price of a kind of token without its own price.
_FALLBACKS: Mapping[str, str] = {
    "cache_read_input_audio_token_cost": "input_cost_per_audio_token",
    "cache_read_input_token_cost": "input_cost_per_token",
    "input_cost_per_audio_token": "input_cost_per_token",
    "output_cost_per_audio_token": "output_cost_per_token",
}
_PRICE_OF: Mapping[str, str] = {
    "input_text_tokens": "input_cost_per_token",
    "input_audio_tokens": "input_cost_per_audio_token",
    "output_text_tokens": "output_cost_per_token",
    "output_audio_tokens": "output_cost_per_audio_token",
}
_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|\d{4})$")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_ZERO = Decimal(0)
#: USD; amounts are rounded to it.
_QUANTUM = Decimal("1E-12")


@dataclass(frozen=True, slots=True)
class Cost:
    """USD; None if it is not known, which is not the same as 0."""

    amount: Decimal | None
    basis: Basis

    @property
    def text(self) -> str | None:
        """The amount in plain digits, without an exponent."""
        return None if self.amount is None else f"{self.amount:f}"


UNKNOWN = Cost(None, "unknown")
FREE = Cost(_ZERO, "free")


@dataclass(frozen=True, slots=True)
class Counting:
    """How a vendor counts what it bills. An entry's own prices do not change it."""

    #: A transcription is billed for at least so many seconds.
    minimum_seconds: Decimal = _ZERO
    #: Seconds are rounded up to whole seconds.
    whole_seconds: bool = False
    #: Chinese characters (including kanji and hanja) count twice.
    chinese_twice: bool = False
    #: The estimated tokens of a minute of audio, by field of ``Usage``, for answers that report no tokens.
    tokens_per_minute: Mapping[str, Decimal] = field(default_factory=dict)

    def seconds(self, exact: float) -> Decimal:
        seconds = Decimal(str(exact))
        if self.whole_seconds:
            seconds = seconds.to_integral_value(ROUND_CEILING)
        return max(seconds, self.minimum_seconds)


class _Rates(NamedTuple):
    """The prices of a token of each kind."""

    text_in: Decimal
    audio_in: Decimal
    text_out: Decimal
    audio_out: Decimal
    #: How much less a cached token costs.
    cached_text_less: Decimal
    cached_audio_less: Decimal


class Price:
    """The price of one deployment. Created once; computing a cost takes microseconds."""

    def __init__(
        self,
        prices: Mapping[str, Decimal],
        counting: Counting | None = None,
        *,
        source: str = "",
        as_of: str = "",
        is_configured: bool = False,
    ) -> None:
        self.prices = prices
        self.counting = counting or Counting()
        #: Where the prices come from, and on which day they were read.
        self.source = source
        self.as_of = as_of
        #: The configuration sets the prices: they take precedence over the amount that the vendor reports.
        self.is_configured = is_configured
        units = {UNITS[name] for name in prices}
        self._is_free = not any(prices.values())
        self._tokens = self._token_rates() if "tokens" in units else None
        self._has_output_tokens = any(name.startswith("output") and UNITS[name] == "tokens" for name in prices)
        self._character = prices.get("input_cost_per_character")
        self._second_in = prices.get("input_cost_per_second")
        self._second_out = prices.get("output_cost_per_second")
        self._request = prices.get("input_cost_per_request")
        self._is_flat = units == {"request"}
        self.estimated_second = self._estimated_second() if self._tokens is not None else None

    def characters(self, text: str) -> int:
        """As the vendor bills them: code points, including white space."""
        return len(text) + (len(_CHINESE.findall(text)) if self.counting.chinese_twice else 0)

    def needs_seconds(self, mode: Mode) -> bool:
        """Whether the cost may depend on the seconds of the audio."""
        is_metered = not self._is_free and not self._is_flat
        return is_metered and (self._second(mode) is not None or self.estimated_second is not None)

    def cost(self, usage: Usage, mode: Mode) -> Cost:
        """Unknown, never 0, if the usage lacks what the price needs."""
        if not self.is_configured and (reported := _reported(usage)) is not None:
            return reported
        if self._is_free:
            return FREE
        if self._is_flat:
            return Cost(self._request, "request")
        metered = self._metered(usage, mode)
        if metered.amount is None:
            return UNKNOWN
        amount = metered.amount if self._request is None else metered.amount + self._request
        return Cost(_quantized(amount), metered.basis)

    def _metered(self, usage: Usage, mode: Mode) -> Cost:
        """Only one unit is billed: the first that both the price and the usage have."""
        if self._tokens is not None and self._has_tokens(usage, mode):
            return Cost(self._by_tokens(self._tokens, usage), "tokens")
        inexact = self._tokens is not None
        if self._character is not None and usage.characters is not None:
            return Cost(self._character * usage.characters, "estimate" if inexact else "characters")
        seconds = usage.seconds_out if mode is Mode.SPEECH else usage.seconds_in
        if seconds is None or not 0 <= seconds < math.inf:
            return UNKNOWN
        price = self._second(mode)
        if price is not None:
            return Cost(price * self.counting.seconds(seconds), "estimate" if inexact else "seconds")
        if self.estimated_second is not None:
            return Cost(self.estimated_second * self.counting.seconds(seconds), "estimate")
        return UNKNOWN

    def _second(self, mode: Mode) -> Decimal | None:
        """LiteLLM's tables also have a transcription's price per second under ``output``; it is the same price."""
        if mode is Mode.SPEECH:
            return self._second_out
        return self._second_out or (self._second_in if self._second_in is not None else self._second_out)

    def _has_tokens(self, usage: Usage, mode: Mode) -> bool:
        """Whether the usage has the tokens that are billed: of the speech, or of the audio that is transcribed."""
        if mode is Mode.SPEECH and self._has_output_tokens:
            return usage.output_audio_tokens is not None or usage.output_text_tokens is not None
        return usage.input_audio_tokens is not None or usage.input_text_tokens is not None

    @staticmethod
    def _by_tokens(rates: _Rates, usage: Usage) -> Decimal:
        text_in, audio_in = usage.input_text_tokens or 0, usage.input_audio_tokens or 0
        amount = rates.text_in * text_in + rates.audio_in * audio_in
        amount += rates.text_out * (usage.output_text_tokens or 0) + rates.audio_out * (usage.output_audio_tokens or 0)
        if usage.cached_text_tokens:
            amount -= rates.cached_text_less * min(usage.cached_text_tokens, text_in)
        if usage.cached_audio_tokens:
            amount -= rates.cached_audio_less * min(usage.cached_audio_tokens, audio_in)
        return amount

    def _token_price(self, name: str) -> Decimal:
        """0 for a kind of token without a price, such as output text of a text-to-speech model."""
        return next((self.prices[step] for step in _steps(name) if step in self.prices), _ZERO)

    def _token_rates(self) -> _Rates:
        text, audio = self._token_price("input_cost_per_token"), self._token_price("input_cost_per_audio_token")
        return _Rates(
            text_in=text,
            audio_in=audio,
            text_out=self._token_price("output_cost_per_token"),
            audio_out=self._token_price("output_cost_per_audio_token"),
            cached_text_less=text - self._token_price("cache_read_input_token_cost"),
            cached_audio_less=audio - self._token_price("cache_read_input_audio_token_cost"),
        )

    def _estimated_second(self) -> Decimal | None:
        minute = self.counting.tokens_per_minute
        if not minute:
            return None
        return sum((count * self._token_price(_PRICE_OF[kind]) for kind, count in minute.items()), _ZERO) / 60


def bill(price: Price | None, usage: Usage | None, mode: Mode) -> Cost:
    """The cost of an attempt whose price or usage may be missing."""
    if price is not None:
        return price.cost(usage or Usage(), mode)
    return (_reported(usage) if usage is not None else None) or UNKNOWN


def _reported(usage: Usage) -> Cost | None:
    """What the vendor reports that it charged, if that is a valid amount."""
    if usage.cost is not None and usage.cost.is_finite() and usage.cost >= 0:
        return Cost(_quantized(usage.cost), "vendor")
    return None


def _quantized(amount: Decimal) -> Decimal:
    """Rounded to the quantum, if it has more digits than that and is not too large."""
    exponent = amount.as_tuple().exponent
    has_more = isinstance(exponent, int) and exponent < -12
    return amount.quantize(_QUANTUM) if has_more and amount.adjusted() < 15 else amount


@dataclass(frozen=True, slots=True)
class PriceRow:
    """One row of the table: a model's prices, how its vendor counts, and the source of both."""

    key: str
    prices: Mapping[str, Decimal]
    counting: Counting
    source: str
    as_of: str

    def price(self, costs: Mapping[str, Decimal]) -> Price:
        """With the cost fields of an entry, which take precedence."""
        prices = _replaced(self.prices, costs) if costs else self.prices
        return Price(
            prices, self.counting, source=self.source, as_of=self.as_of, is_configured=prices is not self.prices
        )


class Prices:
    """The price table, which is read when it is first needed."""

    PATH = Path(__file__).with_name("prices.json")

    def __init__(self, today: date | None = None) -> None:
        """``today`` decides which of a row's dated prices apply."""
        self._today = (today or datetime.now(UTC).date()).isoformat()

    def of(self, deployment: Deployment) -> Price | None:
        """None if neither the table nor the entry has a price."""
        costs = {name: price for name, price in deployment.costs.items() if name in UNITS}
        row = next((row for name in _names(deployment) if (row := self.find(name)) is not None), None)
        if row is not None:
            return row.price(costs)
        return Price(costs, source=deployment.where, is_configured=True) if costs else None

    def find(self, name: str) -> PriceRow | None:
        """The row of ``vendor/model``: its own, that of the model without its date suffix, or that of its family."""
        for candidate in (name, _SNAPSHOT.sub("", name)):
            row = self.rows.get(candidate) or self._aliases.get(candidate)
            if row is not None:
                return row
        return next((row for prefix, row in self._families if name.startswith(prefix)), None)

    @cached_property
    def rows(self) -> Mapping[str, PriceRow]:
        return {key: self._row(key, fields) for key, fields in self._content.items()}

    @cached_property
    def _content(self) -> Mapping[str, Mapping[str, Any]]:
        content: Mapping[str, Mapping[str, Any]] = json.loads(self.PATH.read_text(encoding="utf-8"))
        return content

    @cached_property
    def _aliases(self) -> Mapping[str, PriceRow]:
        return {alias: self.rows[key] for key, fields in self._content.items() for alias in fields.get("also", ())}

    @cached_property
    def _families(self) -> tuple[tuple[str, PriceRow], ...]:
        """Prefixes of names, the longest first."""
        families = [(alias[:-1], row) for alias, row in self._aliases.items() if alias.endswith("*")]
        return tuple(sorted(families, key=lambda family: -len(family[0])))

    def _row(self, key: str, fields: Mapping[str, Any]) -> PriceRow:
        current = dict(fields)
        for day, changed in sorted(fields.get("from", {}).items()):
            if day <= self._today:
                current |= changed
        return PriceRow(
            key=key,
            prices={name: _price(current[name]) for name in UNITS if name in current},
            counting=Counting(
                minimum_seconds=Decimal(current.get("minimum_seconds", "0")),
                whole_seconds=current.get("whole_seconds", False),
                chinese_twice=current.get("chinese_twice", False),
                tokens_per_minute={
                    kind: Decimal(count) for kind, count in current.get("tokens_per_minute", {}).items()
                },
            ),
            source=current["source"],
            as_of=current["date"],
        )


def _price(text: str) -> Decimal:
    """From ``15/1000000``: the figure that the vendor publishes, and the number of units that it is for."""
    amount, _, unit = text.partition("/")
    return Decimal(amount) / Decimal(unit or "1")


def _names(deployment: Deployment) -> Iterator[str]:
    """Names to look up, the best first. On Azure and elsewhere, operators give OpenAI's models their own names."""
    if deployment.base_model is not None:
        yield f"{deployment.vendor}/{deployment.base_model}"
        yield deployment.base_model
        yield f"openai/{deployment.base_model}"
    yield f"{deployment.vendor}/{deployment.model}"


def _replaced(prices: Mapping[str, Decimal], costs: Mapping[str, Decimal]) -> Mapping[str, Decimal]:
    """An entry's fields. If it prices tokens, the table still prices the kinds of tokens that the entry does not."""
    if not any(UNITS[name] == "tokens" for name in costs):
        return dict(costs)
    others = {name: price for name, price in prices.items() if UNITS[name] == "tokens" and not _is_covered(name, costs)}
    return others | dict(costs)


def _is_covered(name: str, costs: Mapping[str, Decimal]) -> bool:
    """Whether the entry has this price, or one that it falls back to."""
    return any(step in costs for step in _steps(name))


def _steps(name: str) -> Iterator[str]:
    """The price of a kind of token, and then those that it falls back to."""
    step: str | None = name
    while step is not None:
        yield step
        step = _FALLBACKS.get(step)
