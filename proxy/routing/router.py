"""The way of one call through the deployments: order, attempts, pauses, other groups, a second one in parallel."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from time import perf_counter
from types import MappingProxyType
from typing import Any

from proxy.calls import Answer, BoundDeployment
from proxy.config import RouterSettings
from proxy.domain.call import Attempt, Call
from proxy.domain.requests import CallOptions
from proxy.errors import ProxyError, RateLimited, UpstreamError
from proxy.routing import retries
from proxy.routing.health import HealthTracker
from proxy.routing.strategies import STRATEGIES

Objection = Callable[[BoundDeployment], ProxyError | None]
#: Asks one deployment; the float is the seconds that are left for the call (None: the deployment's own limits).
Ask = Callable[[BoundDeployment, Attempt, float | None], Awaitable[Answer]]


class Router:
    """Serves calls by the deployments of a group, then by those of its fallbacks."""

    def __init__(
        self,
        settings: RouterSettings,
        health: HealthTracker,
        *,
        costs: Mapping[str, float] = MappingProxyType({}),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """``costs``: of a minute of audio, by deployment."""
        self._settings = settings
        self._fleet = health
        self._sleep = sleep
        self._strategy = STRATEGIES[settings.routing_strategy](health, costs)
        aliases = settings.model_group_alias
        self._fallbacks = {
            aliases.get(name, name): groups for row in settings.fallbacks for name, groups in row.items()
        }

    def chain(self, model: str, options: CallOptions) -> list[str]:
        """The groups that may serve a call for ``model``, itself first."""
        if options.no_fallback:
            return [model]
        others = self._fallbacks.get(model, self._settings.default_fallbacks)
        return list(dict.fromkeys([model, *others]))[: self._settings.max_fallbacks + 1]

    async def run(
        self,
        groups: Mapping[str, Sequence[BoundDeployment]],
        objection: Objection,
        ask: Ask,
        call: Call,
        options: CallOptions,
    ) -> Answer:
        """``groups`` in the order of the chain. The answer has its first byte; what failed before is in ``call``.

        Raises what stands against the request where no deployment can serve it, else the last upstream error.
        """
        deadline = None if options.timeout is None else perf_counter() + options.timeout
        able = {name: [line for line in lines if objection(line) is None] for name, lines in groups.items()}
        if not any(able.values()):
            raise _first_objection(groups, objection)
        failure: ProxyError | None = None
        for name in self._in_order(able) if len(able) > 1 else able:
            try:
                answer = await self._in_group(able[name], ask, call, options, deadline)
            except ProxyError as error:
                # A limit of our own must not hide what a vendor said.
                failure = error if failure is None or not isinstance(error, RateLimited) else failure
                if not retries.may_fall_back(error) or _over(deadline):
                    break
            else:
                call.won = answer.attempt
                call.group = name
                call.fallback = name if name != next(iter(groups)) else ""
                return answer
        assert failure is not None  # noqa: S101
        raise _final(failure, call)

    def _in_order(self, able: Mapping[str, Sequence[BoundDeployment]]) -> list[str]:
        """Groups that rest as a whole come last, but they do come: resting must not become an error of our own."""
        filled = [name for name, lines in able.items() if lines]
        return sorted(filled, key=lambda name: self._all_rest(able[name]))

    async def _in_group(
        self, lines: Sequence[BoundDeployment], ask: Ask, call: Call, options: CallOptions, deadline: float | None
    ) -> Answer:
        """Raises RateLimited where every deployment is at a limit of the configuration, else the last error."""
        tries: dict[str, int] = {}
        failure: ProxyError | None = None
        attempt = 0
        while candidates := self._candidates(lines, tries):
            attempt += 1
            try:
                return await self._asked(self._best(candidates, tries), lines, tries, ask, call, deadline)
            except UpstreamError as error:
                failure = error
            if attempt > retries.allowed(self._settings, failure, options.num_retries):
                break
            left = self._candidates(lines, tries)
            again = all(line.deployment.id in tries for line in left)
            pause = retries.pause(self._settings, failure, attempt, again=again)
            if not left or (deadline is not None and perf_counter() + pause >= deadline):
                break
            await self._sleep(pause)
        raise failure or RateLimited("Every deployment of this model is at its limit right now.", retry_after=1)

    # -- which one -----------------------------------------------------------------------------------------------------

    def _best(self, candidates: Sequence[BoundDeployment], tries: dict[str, int]) -> BoundDeployment:
        return candidates[0] if len(candidates) == 1 else min(candidates, key=lambda line: self._position(line, tries))

    def _candidates(self, lines: Sequence[BoundDeployment], tries: dict[str, int]) -> list[BoundDeployment]:
        if not tries:
            return [line for line in lines if self._has_room(line)]
        return [line for line in lines if self._has_room(line) and not self._worn_out(line, tries)]

    def _position(self, line: BoundDeployment, tries: dict[str, int]) -> tuple[bool, int, bool, float, float, float]:
        """What is out comes last. Then: not yet tried by this call, not resting, ``order``, the strategy, chance.

        One that rests is tried before one that has just failed this call: it may have been unlucky with others.
        """
        deployment = line.deployment
        out, is_cooling_down = self._fleet.out(deployment.id), self._fleet.is_cooling_down(deployment.id)
        order = float("inf") if deployment.order is None else deployment.order
        return out, tries.get(deployment.id, 0), is_cooling_down, order, self._strategy.rank(line), random.random()  # noqa: S311

    def _worn_out(self, line: BoundDeployment, tries: dict[str, int]) -> bool:
        """It has had its retries in this call, or nothing can come of another one."""
        most, tried = line.deployment.max_retries, tries.get(line.deployment.id, 0)
        return tried > 0 and ((most is not None and tried > most) or self._fleet.out(line.deployment.id))

    def _has_room(self, line: BoundDeployment) -> bool:
        deployment = line.deployment
        parallel, rpm = deployment.max_parallel_requests, deployment.rpm
        if parallel is not None and self._fleet[deployment.id].in_flight >= parallel:
            return False
        return rpm is None or self._fleet.asked_last_minute(deployment.id) < rpm

    def _all_rest(self, lines: Sequence[BoundDeployment]) -> bool:
        return all(self._fleet.is_cooling_down(line.deployment.id) for line in lines)

    # -- asking --------------------------------------------------------------------------------------------------------

    def _asked(
        self,
        line: BoundDeployment,
        lines: Sequence[BoundDeployment],
        tries: dict[str, int],
        ask: Ask,
        call: Call,
        deadline: float | None,
    ) -> Coroutine[Any, Any, Answer]:
        patience = self._patience(line)
        if patience is None:
            return self._attempt(line, tries, ask, call, deadline)
        return self._hedged(line, lines, patience, tries, ask, call, deadline)

    def _patience(self, line: BoundDeployment) -> float | None:
        """Seconds after which a second deployment is asked; None: never."""
        after = self._settings.hedge_after
        return self._fleet[line.deployment.id].percentile_95() if after == "p95" else after

    def _attempt(
        self, line: BoundDeployment, tries: dict[str, int], ask: Ask, call: Call, deadline: float | None
    ) -> Coroutine[Any, Any, Answer]:
        """Counted from here on, and not from the first step of a task: limits and trials hold in between, too."""
        deployment = line.deployment
        attempt = Attempt(deployment.id, deployment.vendor, asked=perf_counter())
        call.attempts.append(attempt)
        tries[deployment.id] = tries.get(deployment.id, 0) + 1
        self._fleet.began(deployment.id, attempt, counted=deployment.rpm is not None)
        return self._outcome(line, attempt, ask, deadline)

    async def _outcome(self, line: BoundDeployment, attempt: Attempt, ask: Ask, deadline: float | None) -> Answer:
        try:
            answer = await ask(line, attempt, None if deadline is None else deadline - attempt.asked)
        except BaseException as error:
            self._over(line, attempt, error)
            raise
        self._fleet.answered(line.deployment.id, attempt)
        answer.attempt = attempt
        answer.on_end = lambda error: self._over(line, attempt, error)
        return answer

    def _over(self, line: BoundDeployment, attempt: Attempt, error: BaseException | None) -> None:
        """An attempt has ended, before its first byte or after."""
        settings, deployment = self._settings, line.deployment.id
        attempt.ended = perf_counter()
        if isinstance(error, ProxyError):
            attempt.error = error.kind
            self._fleet.failed(
                deployment, attempt, error, allowed_fails=settings.allowed_fails, cooldown=settings.cooldown_time
            )
        elif error is not None:
            attempt.error = "cancelled"
        self._fleet.ended(deployment, attempt)

    async def _hedged(
        self,
        first: BoundDeployment,
        lines: Sequence[BoundDeployment],
        patience: float,
        tries: dict[str, int],
        ask: Ask,
        call: Call,
        deadline: float | None,
    ) -> Answer:
        """The first of two that answers; the other one is cancelled, and an answer that came too late is closed."""
        won: Answer | None = None
        running = {asyncio.ensure_future(self._attempt(first, tries, ask, call, deadline))}
        try:
            done, _ = await asyncio.wait(running, timeout=patience)
            second = None if done else self._second(first, lines, tries)
            if second is not None:
                call.hedged = True
                running.add(asyncio.ensure_future(self._attempt(second, tries, ask, call, deadline)))
            failure: BaseException | None = None
            while running:
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                running -= done
                for task in done:
                    failure = task.exception()
                    if failure is None:
                        running |= done - {task}
                        won = task.result()
                        return won
            assert failure is not None  # noqa: S101
            raise failure
        finally:
            if running:
                await _let_go(running, won)

    def _second(
        self, first: BoundDeployment, lines: Sequence[BoundDeployment], tries: dict[str, int]
    ) -> BoundDeployment | None:
        others = [line for line in self._candidates(lines, tries) if line is not first]
        others = [line for line in others if not self._fleet.is_cooling_down(line.deployment.id)]
        return self._best(others, tries) if others else None


async def _let_go(tasks: Collection[asyncio.Future[Answer]], won: Answer | None) -> None:
    """End the attempts that are not wanted any more; if this call is ended meanwhile, ``won`` is not, either."""
    try:
        await asyncio.shield(_ended(tasks))
    except asyncio.CancelledError:
        if won is not None:
            await won.aclose()
        raise


async def _ended(tasks: Collection[asyncio.Future[Answer]]) -> None:
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Answer):
            await outcome.aclose()


def _over(deadline: float | None) -> bool:
    return deadline is not None and perf_counter() >= deadline


def _first_objection(groups: Mapping[str, Sequence[BoundDeployment]], objection: Objection) -> ProxyError:
    return next(against for lines in groups.values() for line in lines if (against := objection(line)) is not None)


def _final(error: ProxyError, call: Call) -> ProxyError:
    """The last error as the caller sees it: with the number of tries, and told not to try again where we have."""
    if isinstance(error, UpstreamError) and error.retryable:
        tried = len(call.attempts)
        if tried > 1:
            error.message = f"{error.message} ({tried} attempts were made.)"
        error.should_retry = False
    return error
