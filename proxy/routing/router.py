"""Tries plans in order: the best deployment first, retries with pauses, other groups, a hedge in parallel."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Any, Generic, TypeVar

from proxy.attempts import AttemptRunner, RunningAttempt
from proxy.config import RouterSettings
from proxy.domain.call import Call
from proxy.domain.requests import CallOptions
from proxy.errors import VENDOR_LIMITED, ProxyError, RateLimited, UpstreamError, UpstreamRateLimited
from proxy.matching import BoundDeployment, Plan, Rejection
from proxy.routing import retries
from proxy.routing.strategies import STRATEGIES
from proxy.tasks import cancel_all

R = TypeVar("R")
#: By model group, in the order of the fallbacks: a plan or a rejection for each deployment.
Candidates = Mapping[str, Sequence[Plan[R] | Rejection]]


class Router:
    """Routes calls to the deployments of a group, then to those of its fallbacks."""

    def __init__(
        self,
        settings: RouterSettings,
        runner: AttemptRunner,
        *,
        costs: Mapping[str, float] = MappingProxyType({}),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``costs``: USD for a minute of audio, by deployment."""
        self._settings = settings
        self._runner = runner
        self._health = runner.health
        self._sleep = sleep
        self._strategy = STRATEGIES[settings.routing_strategy](runner.health, costs)

    def route(self, candidates: Candidates[R], call: Call, options: CallOptions) -> RoutedCall[R]:
        """``async with router.route(…) as result``: the result of the attempt that wins."""
        return RoutedCall(self, candidates, call, options)

    async def open(self, candidates: Candidates[R], call: Call, options: CallOptions) -> RunningAttempt[R]:
        """The attempt that won, open, with its first byte; all attempts are in ``call``. The caller closes it.

        Raises the first rejection if no deployment can serve the request, else the last upstream error, or that of a
        rate limit which ends too late.
        """
        started = perf_counter()
        deadline = None if options.timeout is None else started + options.timeout
        plans = {name: [plan for plan in some if isinstance(plan, Plan)] for name, some in candidates.items()}
        if not any(plans.values()):
            raise _first_rejection(candidates)
        failure: ProxyError | None = None
        names = iter(self._ordered(plans) if len(plans) > 1 else plans)
        groups: list[_GroupCall[R]] = []
        while True:
            group: _GroupCall[R] | None
            if (name := next(names, None)) is not None:
                groups.append(group := _GroupCall(self, name, plans[name], call, options, started))
            elif (group := await self._limit_over(groups, call)) is None:
                break
            try:
                attempt = await group.open()
            except ProxyError as error:
                # A limit of our own must not hide a vendor's error.
                failure = error if failure is None or not isinstance(error, RateLimited) else failure
                if not retries.may_fall_back(error) or _is_over(deadline):
                    break
            else:
                call.won = attempt.record
                call.group = group.name
                call.fallback = group.name if group.name != next(iter(candidates)) else ""
                return attempt
        assert failure is not None  # noqa: S101
        raise _final(failure, call, self._least_wait(plan for some in plans.values() for plan in some))

    def _ordered(self, plans: Mapping[str, Sequence[Plan[Any]]]) -> list[str]:
        """Groups whose deployments all cool down come last, but they are tried: a cooldown alone is never an error."""
        filled = [name for name, some in plans.items() if some]
        return sorted(filled, key=lambda name: all(self._is_cooling_down(plan) for plan in plans[name]))

    def _is_cooling_down(self, plan: Plan[Any]) -> bool:
        return self._health.is_cooling_down(plan.bound.deployment.id)

    async def _limit_over(self, groups: Sequence[_GroupCall[R]], call: Call) -> _GroupCall[R] | None:
        """Waits for a vendor's rate limit to end. The group in which it did; None if none ends in time."""
        chosen, least, latest = None, float("inf"), 0.0
        for group in groups:
            for wait, time_left in group.waits():
                if wait < least:
                    chosen, least, latest = group, wait, time_left
        if chosen is not None:
            least = min(least + retries.spread(least), latest)
            call.waited += least
            await self._sleep(least)
        return chosen

    def _least_wait(self, plans: Iterable[Plan[Any]]) -> float | None:
        """Seconds until the first rate limit of a vendor ends; None if there is none."""
        waits = [self._health.limited_for(plan.bound.deployment.id) for plan in plans]
        return min((wait for wait in waits if wait), default=None)


class RoutedCall(Generic[R]):
    """One call on its way through the router. ``async with`` opens the attempt that wins, and closes it."""

    __slots__ = ("_attempt", "_call", "_candidates", "_options", "_router")

    def __init__(self, router: Router, candidates: Candidates[R], call: Call, options: CallOptions) -> None:
        self._router = router
        self._candidates = candidates
        self._call = call
        self._options = options
        self._attempt: RunningAttempt[R] | None = None

    @property
    def plan(self) -> Plan[R]:
        """The plan of the attempt that won."""
        assert self._attempt is not None  # noqa: S101
        return self._attempt.plan

    async def open(self) -> R:
        self._attempt = await self._router.open(self._candidates, self._call, self._options)
        return self._attempt.result

    async def aclose(self, error: BaseException | None = None) -> None:
        if self._attempt is not None:
            await self._attempt.aclose(error)

    __aenter__ = open

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._attempt is not None:
            await self._attempt.aclose(error)


class _GroupCall(Generic[R]):
    """One call on the deployments of one group. ``open`` may be called again when a rate limit has ended."""

    def __init__(
        self,
        router: Router,
        name: str,
        plans: Sequence[Plan[R]],
        call: Call,
        options: CallOptions,
        started: float,
    ) -> None:
        """``started``: when the router got the call."""
        self.name = name
        self._settings = router._settings
        self._runner = router._runner
        self._health = router._health
        self._strategy = router._strategy
        self._sleep = router._sleep
        self._plans = plans
        self._call = call
        self._timeout = options.timeout
        self._started = started
        self._deadline = None if options.timeout is None else started + options.timeout
        self._num_retries = options.num_retries
        #: Attempts of this call, in all and by deployment.
        self._attempts = 0
        self._tries: dict[str, int] = {}
        #: Of the last attempt.
        self._failure: UpstreamError | None = None
        #: Those that were no candidates, when last looked up, because of their vendors' rate limits.
        self._limited: list[Plan[R]] = []

    async def open(self) -> RunningAttempt[R]:
        """Raises RateLimited if no deployment may be asked now, else the last error."""
        failure: UpstreamError | None = None
        while candidates := self._candidates():
            self._attempts += 1
            plan = self._best(candidates)
            attempt, hedge_after = self._attempt(plan), self._hedge_after(plan.bound)
            try:
                if hedge_after is not None:
                    return await self._hedged(attempt, plan, hedge_after)
                await attempt.open()
                return attempt
            except UpstreamError as error:
                self._failure = failure = error
            left = self._candidates() if self._tries_left() else []
            is_repeated = all(map(self._is_tried, left))
            pause = retries.pause(self._settings, failure, self._attempts, is_repeated=is_repeated)
            if not left or (self._deadline is not None and perf_counter() + pause >= self._deadline):
                break
            await self._sleep(pause)
        if failure is not None:
            raise failure
        if self._limited:
            raise RateLimited(VENDOR_LIMITED, retry_after=1)
        raise RateLimited("Every deployment of this model is at its limit right now.", retry_after=1)

    def waits(self) -> list[tuple[float, float]]:
        """The rate limits that are worth a wait: the seconds until each ends, and how long the call may wait for it."""
        if not self._tries_left():
            return []
        waits = ((self._limited_for(plan), self._time_to_wait(plan)) for plan in self._limited)
        return [(wait, time_left) for wait, time_left in waits if wait < time_left]

    def _time_to_wait(self, plan: Plan[R]) -> float:
        """Within the call's timeout, else the deployment's; and all waits of the call together within `MAX_WAIT`."""
        timeout = self._timeout or plan.bound.deployment.timeout
        return min(retries.MAX_WAIT - self._call.waited, timeout - (perf_counter() - self._started))

    def _tries_left(self) -> int:
        if self._failure is None:
            return len(self._plans)
        return max(0, retries.allowed(self._settings, self._failure, self._num_retries) + 1 - self._attempts)

    # -- which deployment ----------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Plan[R]]:
        """Those that may be asked now. One that is disabled is not asked instead of one whose rate limit will end."""
        usable = self._usable()
        self._limited = limited = [plan for plan in usable if self._limited_for(plan)]
        if not limited:
            return usable
        is_worth_a_wait = not all(map(self._is_disabled, limited))
        free = [plan for plan in usable if plan not in limited and not (is_worth_a_wait and self._is_disabled(plan))]
        return [] if self._saves_tries(free) else free

    def _saves_tries(self, free: Iterable[Plan[R]]) -> bool:
        """Whether the tries that are left are for deployments whose rate limits end in time, not for repetitions."""
        if not self._tries or not all(self._is_tried(plan) for plan in free):
            return False
        limited = [plan for plan in self._limited if not self._is_disabled(plan)]
        in_time = [plan for plan in limited if self._limited_for(plan) < self._time_to_wait(plan)]
        return 0 < self._tries_left() <= len(in_time)

    def _is_tried(self, plan: Plan[R]) -> bool:
        return plan.bound.deployment.id in self._tries

    def _usable(self) -> list[Plan[R]]:
        if not self._tries:
            return [plan for plan in self._plans if self._has_room(plan.bound)]
        return [plan for plan in self._plans if self._has_room(plan.bound) and not self._is_used_up(plan.bound)]

    def _limited_for(self, plan: Plan[R]) -> float:
        return self._health.limited_for(plan.bound.deployment.id)

    def _is_disabled(self, plan: Plan[R]) -> bool:
        return self._health.is_disabled(plan.bound.deployment.id)

    def _best(self, candidates: Sequence[Plan[R]]) -> Plan[R]:
        return candidates[0] if len(candidates) == 1 else min(candidates, key=lambda plan: self._rank(plan.bound))

    def _rank(self, bound: BoundDeployment) -> tuple[bool, int, bool, float, float, float]:
        """Disabled deployments come last. Then: tries in this call, not cooling down, ``order``, strategy, chance.

        One that cools down comes before one that has just failed in this call.
        """
        deployment, health = bound.deployment, self._health
        disabled, cooling_down = health.is_disabled(deployment.id), health.is_cooling_down(deployment.id)
        order = float("inf") if deployment.order is None else deployment.order
        tries = self._tries.get(deployment.id, 0)
        return disabled, tries, cooling_down, order, self._strategy.rank(bound), random.random()  # noqa: S311

    def _is_used_up(self, bound: BoundDeployment) -> bool:
        """It has no retries left in this call, or another one would be pointless."""
        deployment, max_retries = bound.deployment.id, bound.deployment.max_retries
        tries = self._tries.get(deployment, 0)
        if not tries:
            return False
        is_exhausted = max_retries is not None and tries > max_retries
        failures = (attempt.error for attempt in self._call.attempts if attempt.deployment == deployment)
        return is_exhausted or self._health.is_disabled(deployment) or retries.are_final(self._settings, failures)

    def _has_room(self, bound: BoundDeployment) -> bool:
        deployment = bound.deployment
        parallel, rpm = deployment.max_parallel_requests, deployment.rpm
        if parallel is not None and self._health[deployment.id].in_flight >= parallel:
            return False
        return rpm is None or self._health.requests_last_minute(deployment.id) < rpm

    # -- attempts ------------------------------------------------------------------------------------------------------

    def _attempt(self, plan: Plan[R]) -> RunningAttempt[R]:
        deployment = plan.bound.deployment.id
        self._tries[deployment] = self._tries.get(deployment, 0) + 1
        return self._runner.attempt(plan, self._call, self._deadline)

    def _hedge_after(self, bound: BoundDeployment) -> float | None:
        """Seconds after which a second deployment is tried in parallel; None: never."""
        after = self._settings.hedge_after
        return self._health[bound.deployment.id].percentile_95() if after == "p95" else after

    async def _hedged(self, first: RunningAttempt[R], plan: Plan[R], hedge_after: float) -> RunningAttempt[R]:
        """The first of two attempts that answers; the other one is cancelled and closed."""
        opening: dict[asyncio.Future[R], RunningAttempt[R]] = {asyncio.ensure_future(first.open()): first}
        won: RunningAttempt[R] | None = None
        try:
            done, _ = await asyncio.wait(opening, timeout=hedge_after)
            hedge = None if done else self._hedge(plan)
            if hedge is not None:
                self._call.hedged = True
                opening[asyncio.ensure_future(hedge.open())] = hedge
            won = await _first_to_answer(opening)
            return won
        finally:
            await _close_others(opening, won)

    def _hedge(self, plan: Plan[R]) -> RunningAttempt[R] | None:
        others = [other for other in self._candidates() if other.bound is not plan.bound]
        others = [other for other in others if not self._health.is_cooling_down(other.bound.deployment.id)]
        return self._attempt(self._best(others)) if others else None


async def _first_to_answer(opening: Mapping[asyncio.Future[R], RunningAttempt[R]]) -> RunningAttempt[R]:
    """Raises the last failure if all of them fail."""
    pending, failure = set(opening), None
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            failure = task.exception()
            if failure is None:
                return opening[task]
    assert failure is not None  # noqa: S101
    raise failure


async def _close_others(opening: Mapping[asyncio.Future[R], RunningAttempt[R]], won: RunningAttempt[R] | None) -> None:
    """Close all attempts but ``won``; and ``won`` too, if the call is cancelled meanwhile."""
    others = [attempt for attempt in opening.values() if attempt is not won]
    tasks = [task for task, attempt in opening.items() if attempt is not won]
    if not others:
        return

    async def close() -> None:
        await cancel_all(tasks)
        for attempt in others:
            is_answered = attempt.record.first_byte is not None
            await attempt.aclose(None if is_answered else asyncio.CancelledError())

    try:
        await asyncio.shield(close())
    except asyncio.CancelledError:
        if won is not None:
            await won.aclose()
        raise


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and perf_counter() >= deadline


def _first_rejection(candidates: Candidates[Any]) -> ProxyError:
    return next(plan.error for some in candidates.values() for plan in some if isinstance(plan, Rejection))


def _final(error: ProxyError, call: Call, wait: float | None) -> ProxyError:
    """The last error as the caller sees it: with the number of attempts, and when or whether to try again.

    ``wait``: seconds until a vendor whose rate limit was reached may be asked again.
    """
    if not error.retryable or not isinstance(error, UpstreamError | RateLimited):
        return error
    if isinstance(error, UpstreamError) and not retries.is_limit(error):
        if wait is None:
            error.should_retry = False
        else:
            error = UpstreamRateLimited(VENDOR_LIMITED, detail=error.detail)
    if wait is not None:
        error.retry_after = wait
    if (attempts := len(call.attempts)) > 1:
        error.message = f"{error.message} ({attempts} attempts were made.)"
    return error
