"""What a call used, by all of its attempts, and what that cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache, partial

from proxy.accounting.cost import FREE, UNKNOWN, Basis, Cost, Price, Prices, bill
from proxy.config import Deployment
from proxy.domain.call import Attempt, Call
from proxy.domain.requests import Mode
from proxy.domain.usage import Usage, total
from proxy.providers.registry import VENDORS

#: USD; what a call costs is kept to this.
UNIT = Decimal("1e-10")
#: English, spoken at the usual speed; compares prices of characters with prices of seconds.
CHARACTERS_A_MINUTE = 940
#: Counts of characters whose cost is kept in mind, of each deployment.
MEMORY = 4096
#: The fields of a usage that are counted here.
_COUNTED = ("characters", "seconds_in", "seconds_out")
#: Costs that no later byte of the answer can change.
_BY_REQUEST = frozenset({"characters", "request", "free"})


class Billing:
    """The prices of all deployments of a configuration. ``unpriced`` hears of each attempt whose cost is not known."""

    def __init__(
        self,
        deployments: Iterable[Deployment],
        unpriced: Callable[[Deployment], None] = lambda deployment: None,
        prices: Prices | None = None,
    ) -> None:
        table = prices or Prices()
        self._deployments = {deployment.id: deployment for deployment in deployments}
        self._prices = {name: price_of(deployment, table) for name, deployment in self._deployments.items()}
        self._unpriced = unpriced
        #: By deployments that bill nothing but characters, or nothing at all: what so many of them cost.
        self._by_characters = {
            name: lru_cache(MEMORY)(partial(_spoken, price))
            for name, price in self._prices.items()
            if price is not None and self._is_spoken(name) and _spoken(price, 1).basis in _BY_REQUEST
        }

    def price(self, deployment: str) -> Price | None:
        return self._prices[deployment]

    def deployment(self, name: str) -> Deployment:
        return self._deployments[name]

    def bill(self, call: Call) -> Usage | None:
        """Notes in the call what it cost; returns what it used. None, and no cost, where no vendor began to answer."""
        costs, used = [], []
        for attempt in call.attempts:
            if attempt.is_billed:
                usage = usage_of(attempt)
                cost = self._cost(attempt, usage)
                attempt.usage = usage
                used.append(usage)
                costs.append(cost)
                if cost.amount is None:
                    self._unpriced(self._deployments[attempt.deployment])
        cost = added(costs)
        call.cost, call.cost_basis = cost.amount, cost.basis if costs else ""
        return total(used)

    def quote(self, call: Call) -> Cost | None:
        """The cost of speech that has just begun, where what is still to come cannot change it."""
        costs = [self._cost(attempt, None) for attempt in call.attempts if attempt.is_billed]
        if not costs or any(cost.basis not in _BY_REQUEST for cost in costs):
            return None
        return added(costs)

    def minutes(self) -> Mapping[str, float]:
        """What a minute of audio costs, about, by deployment; those without a price are left out."""
        found = {name: _minute(self._deployments[name], price) for name, price in self._prices.items() if price}
        return {name: minute for name, minute in found.items() if minute is not None}

    def _is_spoken(self, deployment: str) -> bool:
        return self._deployments[deployment].mode == Mode.SPEECH

    def _cost(self, attempt: Attempt, usage: Usage | None) -> Cost:
        """``usage`` is what `usage_of` says, where somebody has asked it already."""
        if attempt.usage is None and attempt.characters is not None:
            known = self._by_characters.get(attempt.deployment)
            if known is not None:
                return known(attempt.characters)
        deployment = self._deployments[attempt.deployment]
        return _rounded(bill(self._prices[attempt.deployment], usage or usage_of(attempt), mode_of(deployment)))


def _spoken(price: Price, characters: int) -> Cost:
    return _rounded(price.cost(Usage(characters=characters), Mode.SPEECH))


def price_of(deployment: Deployment, prices: Prices) -> Price | None:
    """What a deployment costs. A vendor's list says nothing of somebody else's server, unless the entry says so."""
    vendor = VENDORS.get(deployment.vendor)
    is_own = vendor is not None and vendor.is_reached_by(deployment)
    if not is_own and deployment.base_model is None and not deployment.costs:
        return None
    return prices.of(deployment)


def mode_of(deployment: Deployment) -> Mode:
    """Transcriptions and translations cost the same."""
    return Mode.SPEECH if deployment.mode == Mode.SPEECH else Mode.TRANSCRIPTION


def usage_of(attempt: Attempt) -> Usage:
    """What the vendor says, and what was counted here where it does not."""
    seconds_out = _seconds_out(attempt) if attempt.sounds else None
    counted = Usage(attempt.characters, attempt.seconds_in, seconds_out)
    said = attempt.usage
    if said is None:
        return counted
    missing = {
        name: count
        for name in _COUNTED
        if getattr(said, name) is None and (count := getattr(counted, name)) is not None
    }
    return replace(said, **missing) if missing else said


def _seconds_out(attempt: Attempt) -> float | None:
    known = [seconds for sound in attempt.sounds if (seconds := sound.seconds) is not None]
    return sum(known) if known else None


def added(costs: list[Cost]) -> Cost:
    """The sum: not known where one of them is not. Its basis is the weakest of theirs."""
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
    """To the unit, unless the amount is too large to have so many places."""
    if cost.amount is None or cost.amount.adjusted() > 15:
        return cost
    rounded = cost.amount.quantize(UNIT, ROUND_HALF_UP)
    return cost if rounded == cost.amount else Cost(rounded, cost.basis)


def _minute(deployment: Deployment, price: Price) -> float | None:
    """By what a minute of audio uses; any price of a request on top."""
    mode = mode_of(deployment)
    spoken = Usage(characters=CHARACTERS_A_MINUTE, seconds_out=60.0)
    amount = price.cost(spoken if mode == Mode.SPEECH else Usage(seconds_in=60.0), mode).amount
    return None if amount is None else float(amount)
