"""What a call costs, by all of its attempts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from functools import cache
from time import perf_counter

from proxy.accounting.billing import Billing, mode_of
from proxy.accounting.cost import Prices
from proxy.calls import Answer, BoundDeployment
from proxy.domain.call import Attempt, Call
from proxy.domain.requests import Mode


class CostTracker:
    """The attempts of one call on one line."""

    def __init__(self, line: BoundDeployment) -> None:
        deployment = line.deployment
        self._billing = Billing([deployment], prices=_prices())
        self._call = Call("", "", perf_counter())
        price, mode = self._billing.price(deployment.id), mode_of(deployment)
        #: The line, which counts what is billed.
        self.line = line if price is None else replace(
            line, characters=price.characters, bills_seconds_in=mode != Mode.SPEECH and price.needs_seconds(mode)
        )  # fmt: skip

    def attempt(self) -> Attempt:
        """Another one."""
        deployment = self.line.deployment
        attempt = Attempt(deployment.id, deployment.vendor, perf_counter())
        self._call.attempts.append(attempt)
        return attempt

    @property
    def cost(self) -> Decimal | None:
        """USD; None where it is not known, as where a stream has not come to its end."""
        self._billing.bill(self._call)
        return self._call.cost


def settled_by(answer: Answer, attempt: Attempt) -> Answer:
    """The answer, which notes in the attempt what was used."""
    answer.attempt = attempt
    return answer


@cache
def _prices() -> Prices:
    """Read once."""
    return Prices()
