"""A router with scripted deployments: a clock that only pauses move, and answers that know whether they were closed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

from proxy.accounting.billing import Billing
from proxy.attempts import AttemptRunner, HealthTracker, RunningAttempt
from proxy.config import Deployment, RouterSettings
from proxy.domain.call import Attempt, Call
from proxy.domain.requests import CallOptions, Mode
from proxy.errors import (
    ProxyError,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnreachable,
)
from proxy.matching import BoundDeployment, Plan, Rejection
from proxy.providers.base import Adapter, Capabilities
from proxy.routing import router
from proxy.routing.groups import ModelGroups
from proxy.routing.router import Router

Failure = Callable[[], ProxyError]
#: What a deployment does: None answers; an event is waited for, then it answers.
Outcome = Failure | asyncio.Event | None
#: Executes one attempt: the deployment, the record of the attempt, the seconds that are left.
Execute = Callable[[BoundDeployment, Attempt, float | None], Awaitable[bytes]]
#: What stands against a deployment, if anything does.
Objection = Callable[[BoundDeployment], ProxyError | None]


def rejected(code: str | None = None, status: int = 400) -> Failure:
    return lambda: UpstreamRejected("The vendor says no.", status=status, code=code)


def unknown(code: str | None = None) -> Failure:
    return lambda: UpstreamNotFound("The vendor knows no such model.", code=code)


def limited(retry_after: float | None = None) -> Failure:
    return lambda: UpstreamRateLimited("Too many requests.", retry_after=retry_after)


def busy(retry_after: float) -> Failure:
    return lambda: UpstreamUnavailable("Come back later.", status=503, retry_after=retry_after)


def worded() -> ProxyError:
    """What the vendor's words were understood to mean."""
    error = UpstreamNotFound("Could not find real modelID", code="model_not_found")
    error.is_inferred = True
    return error


def quota() -> ProxyError:
    return UpstreamRateLimited("You exceeded your quota.", code="insufficient_quota")


def key() -> ProxyError:
    return UpstreamCredentials("The vendor refuses the key.")


def server() -> ProxyError:
    return UpstreamUnavailable("The vendor is ill.", status=500)


def overloaded() -> ProxyError:
    return UpstreamUnavailable("The vendor is overloaded.", status=503)


def unreachable() -> ProxyError:
    return UpstreamUnreachable("Nobody there.")


def timeout() -> ProxyError:
    return UpstreamTimeout("Too slow.")


def invalid() -> ProxyError:
    return UpstreamInvalid("Nonsense.")


#: The failures after which the next deployment is asked, after a growing pause.
TRANSIENT: tuple[Failure, ...] = (server, overloaded, unreachable, timeout, invalid)


class _Adapter:
    """Declares what a vendor can do; it is never asked to translate."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.capabilities = capabilities


def line(
    name: str, group: str = "tts", mode: Mode = Mode.SPEECH, *, can: Capabilities | None = None, **params: Any
) -> BoundDeployment:
    deployment = Deployment(id=name, group=group, vendor="fake", model="m", mode=mode, **params)
    return BoundDeployment(deployment, cast(Adapter, _Adapter(can or Capabilities(modes=frozenset(Mode)))))


class _Response:
    headers = SimpleNamespace(raw=[])

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


class ScriptedAttempt(RunningAttempt[bytes]):
    """Its result is the name of the deployment that answered."""

    scene: Scene

    @property
    def first(self) -> bytes:
        return self.result

    async def _execute(self) -> bytes:
        result = await self.scene.execute(self.plan.bound, self.record, self._seconds_left)
        self._response = cast(Any, _Response())
        self.scene.responses.append(cast(Any, self._response))
        return result


class ScriptedRunner(AttemptRunner):
    def __init__(self, scene: Scene, settings: RouterSettings) -> None:
        super().__init__(
            *cast(Any, (None, None, None)),
            scene.health,
            allowed_fails=settings.allowed_fails,
            cooldown=settings.cooldown_time,
        )
        self._scene = scene

    def attempt(self, plan: Plan[Any], call: Call, deadline: float | None = None) -> RunningAttempt[Any]:
        deployment = plan.bound.deployment
        record = Attempt(deployment.id, deployment.vendor, router.perf_counter())
        call.attempts.append(record)
        seconds_left = None if deadline is None else deadline - record.started
        attempt = ScriptedAttempt(self._services, plan, record, seconds_left)
        attempt.scene = self._scene
        return attempt


class Scene:
    """Groups of deployments by name; ``script`` what they do, ``call`` the router, and look at what happened."""

    def __init__(self, *lines: BoundDeployment, **settings: Any) -> None:
        self.groups: dict[str, list[BoundDeployment]] = {}
        for one in lines:
            self.groups.setdefault(one.deployment.group, []).append(one)
        self.now = 1_000.0
        self.pauses: list[float] = []
        self.alarms: list[tuple[str, str, float]] = []
        self.asked: list[str] = []
        #: Seconds that each attempt was given.
        self.given: list[float | None] = []
        self.responses: list[_Response] = []
        self._scripts: dict[str, list[Outcome]] = {}
        self.health = HealthTracker(lambda: self.now, lambda *alarm: self.alarms.append(alarm))
        #: How an attempt is executed, and how the router pauses: a test may put itself in between.
        self.execute: Execute = self.scripted
        self.sleep: Callable[[float], Awaitable[None]] = self.pause
        costs = Billing([line.deployment for line in lines]).minutes()
        router_settings = RouterSettings(**settings)
        self.model_groups = ModelGroups(self.groups, router_settings)
        runner = ScriptedRunner(self, router_settings)
        self.router = Router(router_settings, runner, costs=costs, sleep=lambda seconds: self.sleep(seconds))
        self.last = Call("req-1", "speech", 0.0)

    def script(self, name: str, *outcomes: Outcome) -> None:
        """One after the other; the last one stays."""
        self._scripts[name] = list(outcomes)

    async def call(
        self, model: str = "tts", options: CallOptions | None = None, objection: Objection = lambda line: None
    ) -> ScriptedAttempt:
        call = self.last = Call("req-1", "speech", 0.0)
        options = options or CallOptions()
        candidates = {
            name: [Plan[bytes](line) if (error := objection(line)) is None else Rejection(error) for line in some]
            for name in self.model_groups.with_fallbacks(model, options)
            for some in [self.groups[name]]
        }
        return cast(ScriptedAttempt, await self.router.open(candidates, call, options))

    async def served(self, model: str = "tts", options: CallOptions | None = None) -> str:
        """The deployment that answered; its answer is read to the end."""
        answer = await self.call(model, options)
        await answer.aclose()
        return answer.first.decode()

    async def failed(self, model: str = "tts", options: CallOptions | None = None) -> ProxyError:
        try:
            answer = await self.call(model, options)
        except ProxyError as error:
            return error
        raise AssertionError(f"{answer.first!r} answered")

    def idle(self) -> bool:
        """No call is on its way, nobody tries anything, and every answer was closed."""
        standings = [self.health[one.deployment.id] for lines in self.groups.values() for one in lines]
        return (
            all(standing.in_flight == 0 and standing.trial is None for standing in standings)
            and all(response.closed for response in self.responses)
            and all(attempt.ended is not None for attempt in self.last.attempts)
        )

    def counts(self) -> Counter[str]:
        return Counter(self.asked)

    async def scripted(self, line: BoundDeployment, attempt: Attempt, left: float | None) -> bytes:
        name = line.deployment.id
        self.asked.append(name)
        self.given.append(left)
        script = self._scripts.get(name, [None])
        outcome = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(outcome, asyncio.Event):
            await outcome.wait()
        elif outcome is not None:
            raise outcome()
        attempt.first_byte = attempt.started
        return name.encode()

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)
