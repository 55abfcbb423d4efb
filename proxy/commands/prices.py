"""``audio-proxy prices``: the price table that bills are based on, or one model's prices with their source."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from decimal import Decimal

from proxy.accounting.cost import UNITS, Price, PriceRow, Prices
from proxy.commands.table import print_table
from proxy.config.problems import suggestion

#: For each price, how many units are displayed together, and what to call them.
_UNITS = {
    "input_cost_per_character": (1000, "per 1,000 characters"),
    "input_cost_per_second": (3600, "per hour of audio"),
    "output_cost_per_second": (3600, "per hour of speech"),
    "input_cost_per_request": (1, "per request"),
}
_TOKENS = {
    "input_cost_per_token": "text in",
    "cache_read_input_token_cost": "cached text in",
    "input_cost_per_audio_token": "audio in",
    "cache_read_input_audio_token_cost": "cached audio in",
    "output_cost_per_token": "text out",
    "output_cost_per_audio_token": "audio out",
}
_MILLION = 1_000_000


def run(model: str | None, prices: Prices | None = None) -> int:
    """1 if the table has no such model."""
    prices = prices or Prices()
    if model is None:
        _print_table(prices.rows.values())
        return 0
    rows = _matching(prices, model)
    if not rows:
        near = suggestion(model, prices.rows) or "; set input_cost_per_… in its entry"
        print(f"'{model}' has no known price{near}", file=sys.stderr)
        return 1
    print("\n\n".join(_details(model, row) for row in rows))
    return 0


def _matching(prices: Prices, model: str) -> list[PriceRow]:
    """The row of ``vendor/model``; without a vendor, the rows of all models with this name."""
    exact = prices.find(model)
    if exact is not None:
        return [exact]
    return [row for key, row in prices.rows.items() if key.endswith(f"/{model}")]


def _print_table(rows: Iterable[PriceRow]) -> None:
    print_table([("model", "1,000 characters", "hour of audio", "1,000,000 tokens", "as of"), *map(_cells, rows)])
    print("\nUSD. ~ marks estimates, for answers that report no tokens. For sources, run `audio-proxy prices MODEL`.")


def _cells(row: PriceRow) -> tuple[str, str, str, str, str]:
    price = row.price({})
    characters = price.prices.get("input_cost_per_character")
    tokens = ", ".join(f"{label} {_usd(price.prices[name] * _MILLION)}" for name, label in _tokens(price))
    return (
        row.key,
        "" if characters is None else _usd(characters * 1000),
        _hour(price),
        tokens,
        row.as_of,
    )


def _hour(price: Price) -> str:
    seconds = price.prices.get("input_cost_per_second")
    if seconds is not None:
        return _usd(seconds * 3600)
    return "" if price.estimated_second is None else f"~{_usd(price.estimated_second * 3600)}"


def _tokens(price: Price) -> Sequence[tuple[str, str]]:
    return [(name, label) for name, label in _TOKENS.items() if name in price.prices]


def _details(model: str, row: PriceRow) -> str:
    price = row.price({})
    lines = [row.key if model == row.key or "/" not in model else f"{row.key}  (for {model})"]
    lines += [
        f"  {name:<36}{_usd(price.prices[name]):<18}{_per_unit(name, price)}" for name in UNITS if name in price.prices
    ]
    lines += [f"  {rule}" for rule in _rules(price)]
    lines += [f"  source: {row.source}", f"  as of:  {row.as_of}"]
    return "\n".join(lines)


def _per_unit(name: str, price: Price) -> str:
    if name in _TOKENS:
        return f"{_usd(price.prices[name] * _MILLION)} per million tokens, {_TOKENS[name]}"
    count, label = _UNITS[name]
    return f"{_usd(price.prices[name] * count)} {label}"


def _rules(price: Price) -> Iterable[str]:
    counting = price.counting
    if price.estimated_second is not None:
        yield f"if no tokens are reported: about {_usd(price.estimated_second * 3600)} per hour of audio"
    if counting.minimum_seconds:
        yield f"at least {_usd(counting.minimum_seconds)} seconds per request"
    if counting.whole_seconds:
        yield "seconds are rounded up to whole seconds"
    if counting.chinese_twice:
        yield "a Chinese character (including kanji and hanja) counts as two"


def _usd(amount: Decimal) -> str:
    """Plain digits, rounded to twelve places, without trailing zeros."""
    digits = f"{round(amount, 12):f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
