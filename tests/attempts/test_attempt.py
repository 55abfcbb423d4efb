"""What an attempt owns: times, health, usage, and closing what it has opened, on every path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.attempts import HealthTracker, RunningAttempt
from proxy.attempts.services import Services
from proxy.domain.call import Attempt
from proxy.domain.results import StaticMetadata
from proxy.domain.usage import Usage
from proxy.errors import GuardrailViolation, UpstreamUnavailable
from proxy.matching import BoundDeployment, Plan
from tests.routing.scene import line

USAGE = Usage(characters=3)


class Closing:
    """A response or a generator that counts how often it is closed."""

    headers = SimpleNamespace(raw=[])

    def __init__(self) -> None:
        self.closed = 0

    async def aclose(self) -> None:
        self.closed += 1


class Reporting:
    """Metadata that is complete only once ``usage`` is set."""

    usage: Usage | None = None
    warnings: tuple[str, ...] = ()


class Scripted(RunningAttempt[str]):
    """Opens a response and a source; then answers, or raises ``failure``."""

    failure: BaseException | None = None
    metadata: Any = None
    is_whole = False

    async def _execute(self) -> str:
        await asyncio.sleep(0)
        self.response, self.source = Closing(), Closing()
        self._response = cast(Any, self.response)
        self._owned(cast("AsyncGenerator[bytes]", self.source))
        self._report(self.metadata)
        self._is_whole = self.is_whole
        self.record.first_byte = self.record.started + 0.5
        if self.failure is not None:
            raise self.failure
        return "result"


def scripted(**script: Any) -> tuple[Scripted, HealthTracker]:
    health = HealthTracker()
    services = Services(*cast(Any, (None, None, None)), health, allowed_fails=0, cooldown=60.0)
    bound: BoundDeployment = line("d")
    attempt = Scripted(services, Plan[str](bound), Attempt("d", "fake", 1.0), None)
    for name, value in script.items():
        setattr(attempt, name, value)
    return attempt, health


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


async def used(attempt: Scripted, failure: BaseException | None = None) -> str:
    async with attempt as result:
        if failure is not None:
            raise failure
        return result


def test_it_is_under_way_from_the_moment_it_is_made() -> None:
    attempt, health = scripted()
    assert health["d"].in_flight == 1
    run(attempt.aclose(asyncio.CancelledError()))
    assert (health["d"].in_flight, attempt.record.error) == (0, "cancelled")


def test_an_attempt_that_goes_well() -> None:
    attempt, health = scripted(metadata=StaticMetadata(USAGE, ["careful"]))
    assert run(used(attempt)) == "result"
    assert (attempt.response.closed, attempt.source.closed) == (1, 1)
    assert (health["d"].in_flight, health["d"].first_byte) == (0, 0.5)
    record = attempt.record
    assert (record.usage, record.warnings, record.error, record.is_settled) == (USAGE, ["careful"], "", True)
    assert record.ended is not None


@pytest.mark.parametrize(
    ("failure", "kind", "cools_down"),
    [
        (UpstreamUnavailable("ill"), "upstream_unavailable", True),
        (GuardrailViolation("no"), "guardrail_violation", False),
        (asyncio.CancelledError(), "cancelled", False),
        (RuntimeError("bug"), "cancelled", False),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_whatever_ends_it_everything_is_closed_once(
    failure: BaseException, kind: str, cools_down: bool, late: bool
) -> None:
    attempt, health = scripted(failure=None if late else failure)
    with pytest.raises(type(failure)):
        run(used(attempt, failure if late else None))
    run(attempt.aclose())
    assert (attempt.response.closed, attempt.source.closed) == (1, 1)
    assert (health["d"].in_flight, attempt.record.error) == (0, kind)
    assert health.is_cooling_down("d") is cools_down


def test_a_whole_answer_leaves_nothing_open() -> None:
    attempt, health = scripted(is_whole=True)
    assert run(attempt.open()) == "result"
    assert (attempt.response.closed, health["d"].in_flight) == (1, 0)


def test_usage_that_arrives_late_is_noted_at_the_end() -> None:
    reporting = Reporting()
    attempt, _ = scripted(metadata=reporting)

    async def body() -> None:
        async with attempt:
            assert not attempt.record.is_settled
            reporting.usage, reporting.warnings = USAGE, ("late",)

    run(body())
    assert (attempt.record.usage, attempt.record.warnings) == (USAGE, ["late"])
