"""What a call used in all its attempts, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache, partial

from proxy.accounting.cost import FREE, UNKNOWN, Basis, Cost, Price, Prices, bill
from proxy.config import Deployment
from proxy.domain.call import Attempt, Call
from proxy.domain.money import UNIT
from proxy.domain.requests import Mode
from proxy.domain.usage import Usage, total
from proxy.providers.registry import VENDORS

#: Of English at the usual speed, to compare prices per character with prices per second.
CHARACTERS_PER_MINUTE = 940
#: For how many numbers of characters the cost is cached, for each deployment.
CACHE_SIZE = 4096
#: The fields of ``Usage`` that are also counted here.
_COUNTED = ("characters", "seconds_in", "seconds_out")
#: The bases of costs that are known before the answer has ended.
_KNOWN_EARLY = frozenset({"characters", "request", "free"})


class Billing:
    """The prices of a configuration's deployments.

    ``unpriced`` is called for each attempt whose cost is not known, and told whether that is for want of a price.
    """

    def __init__(
        self,
        deployments: Iterable[Deployment],
        unpriced: Callable[[Deployment, bool], None] = lambda deployment, lacks_price: None,
        prices: Prices | None = None,
    ) -> None:
        table = prices or Prices()
        self._deployments = {deployment.id: deployment for deployment in deployments}
        self._prices = {name: price_of(deployment, table) for name, deployment in self._deployments.items()}
        self._unpriced = unpriced
        #: What a number of characters costs, for deployments that bill by characters or requests, or are free.
        self._cost_of_characters = {
            name: lru_cache(CACHE_SIZE)(partial(_speech_cost, price))
            for name, price in self._prices.items()
            if price is not None and self._speaks(name) and _speech_cost(price, 1).basis in _KNOWN_EARLY
        }

    def price(self, deployment: str) -> Price | None:
        return self._prices[deployment]

    def deployment(self, name: str) -> Deployment:
        return self._deployments[name]

    def bill(self, call: Call) -> Usage | None:
        """Sets the call's cost and returns its usage; None, and no cost, if no vendor began to answer."""
        costs, usages = [], []
        for attempt in call.attempts:
            if attempt.is_billed:
                usage = usage_of(attempt)
                cost = self._cost(attempt, usage)
                attempt.usage = usage
                usages.append(usage)
                costs.append(cost)
                if cost.amount is None:
                    self._unpriced(self._deployments[attempt.deployment], self._prices[attempt.deployment] is None)
        cost = total_cost(costs)
        call.cost, call.cost_basis = cost.amount, cost.basis if costs else ""
        return total(usages)

    def quote(self, call: Call) -> Cost | None:
        """The cost of speech that has just begun, if the rest of the answer cannot change it."""
        costs = [self._cost(attempt, None) for attempt in call.attempts if attempt.is_billed]
        if not costs or any(cost.basis not in _KNOWN_EARLY for cost in costs):
            return None
        return total_cost(costs)

    def minutes(self) -> Mapping[str, float]:
        """The approximate price of a minute of audio, by deployment; those without a price are left out."""
        minutes = {name: _minute(self._deployments[name], price) for name, price in self._prices.items() if price}
        return {name: price for name, price in minutes.items() if price is not None}

    def _speaks(self, deployment: str) -> bool:
        return self._deployments[deployment].mode == Mode.SPEECH

    def _cost(self, attempt: Attempt, usage: Usage | None) -> Cost:
        """``usage`` is the result of `usage_of`, if it is known already."""
        if attempt.usage is None and attempt.characters is not None:
            cost_of_characters = self._cost_of_characters.get(attempt.deployment)
            if cost_of_characters is not None:
                return cost_of_characters(attempt.characters)
        deployment = self._deployments[attempt.deployment]
        return _rounded(bill(self._prices[attempt.deployment], usage or usage_of(attempt), mode_of(deployment)))


def _speech_cost(price: Price, characters: int) -> Cost:
    return _rounded(price.cost(Usage(characters=characters), Mode.SPEECH))


def price_of(deployment: Deployment, prices: Prices) -> Price | None:
    """The price of a deployment. A vendor's list does not apply to other servers, unless the entry says so."""
    vendor = VENDORS.get(deployment.vendor)
    is_own = vendor is not None and vendor.is_reached_by(deployment)
    if not is_own and deployment.base_model is None and not deployment.costs:
        return None
    return prices.of(deployment)


def mode_of(deployment: Deployment) -> Mode:
    """Transcriptions and translations cost the same."""
    return Mode.SPEECH if deployment.mode == Mode.SPEECH else Mode.TRANSCRIPTION


def usage_of(attempt: Attempt) -> Usage:
    """What the vendor reports, completed by what was counted here."""
    seconds_out = _seconds_out(attempt) if attempt.sounds else None
    counted = Usage(attempt.characters, attempt.seconds_in, seconds_out)
    reported = attempt.usage
    if reported is None:
        return counted
    missing = {
        name: count
        for name in _COUNTED
        if getattr(reported, name) is None and (count := getattr(counted, name)) is not None
    }
    return replace(reported, **missing) if missing else reported


def _seconds_out(attempt: Attempt) -> float | None:
    known = [seconds for sound in attempt.sounds if (seconds := sound.seconds) is not None]
    return sum(known) if known else None


def total_cost(costs: list[Cost]) -> Cost:
    """The sum; unknown if one of them is. Its basis is the least certain of theirs."""
    if not costs:
        return FREE
    if len(costs) == 1:
        return costs[0]
    if any(cost.amount is None for cost in costs):
        return UNKNOWN
    amount = sum((cost.amount for cost in costs if cost.amount is not None), Decimal(0))
    bases = {cost.basis for cost in costs}
    if len(bases) > 1:
        bases.discard("free")
    basis: Basis = "estimate" if "estimate" in bases else bases.pop() if len(bases) == 1 else "mixed"
    return Cost(amount, basis)


def _rounded(cost: Cost) -> Cost:
    """To the ledger's unit, unless the amount is too large for so many digits."""
    if cost.amount is None or cost.amount.adjusted() > 15:
        return cost
    rounded = cost.amount.quantize(UNIT, ROUND_HALF_UP)
    return cost if rounded == cost.amount else Cost(rounded, cost.basis)


def _minute(deployment: Deployment, price: Price) -> float | None:
    """Includes the price of a request, if there is one."""
    mode = mode_of(deployment)
    spoken = Usage(characters=CHARACTERS_PER_MINUTE, seconds_out=60.0)
    amount = price.cost(spoken if mode == Mode.SPEECH else Usage(seconds_in=60.0), mode).amount
    return None if amount is None else float(amount)
