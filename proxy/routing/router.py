"""Tries plans in order: the best deployment first, retries with pauses, other groups, a hedge in parallel."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import perf_counter
from types import MappingProxyType, TracebackType
from typing import Any, Generic, TypeVar

from proxy.attempts import AttemptRunner, RunningAttempt
from proxy.config import RouterSettings
from proxy.domain.call import Call
from proxy.domain.requests import CallOptions
from proxy.errors import ProxyError, RateLimited, UpstreamError
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

        Raises the first rejection if no deployment can serve the request, else the last upstream error.
        """
        deadline = None if options.timeout is None else perf_counter() + options.timeout
        plans = {name: [plan for plan in some if isinstance(plan, Plan)] for name, some in candidates.items()}
        if not any(plans.values()):
            raise _first_rejection(candidates)
        failure: ProxyError | None = None
        for name in self._ordered(plans) if len(plans) > 1 else plans:
            try:
                attempt = await _GroupCall(self, plans[name], call, deadline).open(options.num_retries)
            except ProxyError as error:
                # A limit of our own must not hide a vendor's error.
                failure = error if failure is None or not isinstance(error, RateLimited) else failure
                if not retries.may_fall_back(error) or _is_over(deadline):
                    break
            else:
                call.won = attempt.record
                call.group = name
                call.fallback = name if name != next(iter(candidates)) else ""
                return attempt
        assert failure is not None  # noqa: S101
        raise _final(failure, call)

    def _ordered(self, plans: Mapping[str, Sequence[Plan[Any]]]) -> list[str]:
        """Groups whose deployments all cool down come last, but they are tried: a cooldown alone is never an error."""
        filled = [name for name, some in plans.items() if some]
        return sorted(filled, key=lambda name: all(self._is_cooling_down(plan) for plan in plans[name]))

    def _is_cooling_down(self, plan: Plan[Any]) -> bool:
        return self._health.is_cooling_down(plan.bound.deployment.id)


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
    """One call on the deployments of one group."""

    def __init__(self, router: Router, plans: Sequence[Plan[R]], call: Call, deadline: float | None) -> None:
        self._settings = router._settings
        self._runner = router._runner
        self._health = router._health
        self._strategy = router._strategy
        self._sleep = router._sleep
        self._plans = plans
        self._call = call
        self._deadline = deadline
        #: Attempts of this call, by deployment.
        self._tries: dict[str, int] = {}

    async def open(self, num_retries: int | None) -> RunningAttempt[R]:
        """Raises RateLimited if every deployment is at a limit of the configuration, else the last error."""
        failure: ProxyError | None = None
        attempts = 0
        while candidates := self._candidates():
            attempts += 1
            plan = self._best(candidates)
            attempt, hedge_after = self._attempt(plan), self._hedge_after(plan.bound)
            try:
                if hedge_after is not None:
                    return await self._hedged(attempt, plan, hedge_after)
                await attempt.open()
                return attempt
            except UpstreamError as error:
                failure = error
            if attempts > retries.allowed(self._settings, failure, num_retries):
                break
            left = self._candidates()
            is_repeated = all(plan.bound.deployment.id in self._tries for plan in left)
            pause = retries.pause(self._settings, failure, attempts, is_repeated=is_repeated)
            if not left or (self._deadline is not None and perf_counter() + pause >= self._deadline):
                break
            await self._sleep(pause)
        raise failure or RateLimited("Every deployment of this model is at its limit right now.", retry_after=1)

    # -- which deployment ----------------------------------------------------------------------------------------------

    def _candidates(self) -> list[Plan[R]]:
        if not self._tries:
            return [plan for plan in self._plans if self._has_room(plan.bound)]
        return [plan for plan in self._plans if self._has_room(plan.bound) and not self._is_used_up(plan.bound)]

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
        max_retries, tries = bound.deployment.max_retries, self._tries.get(bound.deployment.id, 0)
        is_exhausted = max_retries is not None and tries > max_retries
        return tries > 0 and (is_exhausted or self._health.is_disabled(bound.deployment.id))

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


def _final(error: ProxyError, call: Call) -> ProxyError:
    """The last error as the caller sees it: with the number of attempts, and with the advice not to retry."""
    if isinstance(error, UpstreamError) and error.retryable:
        attempts = len(call.attempts)
        if attempts > 1:
            error.message = f"{error.message} ({attempts} attempts were made.)"
        error.should_retry = False
    return error
