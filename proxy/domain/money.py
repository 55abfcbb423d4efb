"""Money as the ledger stores it: integers of 10⁻¹⁰ USD, because SQLite has no decimals.

Sums are exact, and 64 bits hold nine hundred million dollars.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

#: USD.
UNIT = Decimal("1e-10")
_MAX_UNITS = (1 << 63) - 1
_UNITS_PER_USD = Decimal(1) / UNIT


def units_of(amount: Decimal) -> int:
    """An amount in USD as units, rounded; the largest number of units for an amount beyond it."""
    return min(int((amount * _UNITS_PER_USD).to_integral_value(ROUND_HALF_UP)), _MAX_UNITS)


def usd(units: int) -> str:
    """The exact amount in plain digits."""
    digits = f"{Decimal(units) * UNIT:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
