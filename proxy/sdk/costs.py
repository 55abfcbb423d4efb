"""What a call costs, with all of its attempts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cache
from time import perf_counter

from proxy.accounting.billing import Billing, mode_of
from proxy.accounting.cost import Prices
from proxy.domain.call import Call
from proxy.domain.requests import Mode
from proxy.matching import BoundDeployment


class CostTracker:
    """The cost of one call on one deployment, with all of its attempts."""

    def __init__(self, bound: BoundDeployment) -> None:
        deployment = bound.deployment
        self._billing = Billing([deployment], prices=_prices())
        self.call = Call("", "", perf_counter())
        price, mode = self._billing.price(deployment.id), mode_of(deployment)
        #: The deployment, set up to count what is billed.
        self.bound = bound if price is None else replace(
            bound, characters=price.characters, bills_seconds_in=mode != Mode.SPEECH and price.needs_seconds(mode)
        )  # fmt: skip

    @property
    def cost(self) -> Decimal | None:
        """USD; None if it is not known, for example before the end of a stream."""
        self._billing.bill(self.call)
        return self.call.cost


@cache
def _prices() -> Prices:
    """Read once."""
    return Prices()
