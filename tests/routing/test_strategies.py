"""Where ten thousand calls go, by strategy."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections import Counter
from collections.abc import Callable

import pytest

from proxy.domain.call import Attempt
from proxy.domain.requests import Mode
from proxy.matching import BoundDeployment
from proxy.routing.strategies import STRATEGIES
from tests.routing.scene import Scene, ScriptedAttempt, line

PICKS = 10_000


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(20_261)


def sequential(scene: Scene, count: int = PICKS, each: Callable[[str], None] = lambda _: None) -> Counter[str]:
    """One call after the other; ``each`` is told who served it."""

    async def calls() -> None:
        for _ in range(count):
            each(await scene.served())

    before = scene.counts()
    asyncio.run(calls())
    return scene.counts() - before


def overlapping(scene: Scene, seconds: dict[str, float], count: int = PICKS, every: float = 1.0) -> Counter[str]:
    """A call begins ``every`` second and takes as long as its deployment does."""

    async def calls() -> None:
        running: list[tuple[float, int, ScriptedAttempt]] = []
        for number in range(count):
            scene.now += every
            while running and running[0][0] <= scene.now:
                await heapq.heappop(running)[2].aclose()
            answer = await scene.call()
            heapq.heappush(running, (scene.now + seconds[answer.first.decode()], number, answer))
        for _, _, answer in running:
            await answer.aclose()

    asyncio.run(calls())
    return scene.counts()


def measured(scene: Scene, name: str, *, first_byte: float, audio: float | None = None) -> None:
    """``name`` has served a call so."""
    attempt = scene.last.attempts[-1]
    assert attempt.deployment == name
    attempt.first_byte, attempt.audio_seconds = attempt.started + first_byte, audio
    scene.health.answered(name, attempt)


def near(found: int, expected: float, *, sigmas: float = 6.0) -> bool:
    """Within that many standard deviations of a binomial count."""
    share = expected / PICKS
    return abs(found - expected) <= sigmas * math.sqrt(PICKS * share * (1 - share))


def test_the_strategies_are_those_of_the_table() -> None:
    assert set(STRATEGIES) == {
        "simple-shuffle", "least-busy", "latency-based-routing", "usage-based-routing", "cost-based-routing",
    }  # fmt: skip


@pytest.mark.parametrize(
    "weights", [(None, None, None), (1, 1, 1), (5, 3, 2), (90, 9, 1), (None, 3, None), (0.5, 0.25, 0.25)]
)
def test_simple_shuffle_follows_the_weights(weights: tuple[float | None, ...]) -> None:
    scene = Scene(*[line(name, weight=weight) for name, weight in zip("abc", weights, strict=True)])
    counts = sequential(scene)
    shares = [1.0 if weight is None else weight for weight in weights]
    for name, share in zip("abc", shares, strict=True):
        assert near(counts[name], PICKS * share / sum(shares)), (weights, counts)


def test_simple_shuffle_gives_nothing_to_weight_zero_while_others_can() -> None:
    scene = Scene(line("a", weight=0), line("b"))
    assert sequential(scene, 1_000) == {"b": 1_000}
    scene.health.cool_down("b", 60, "test")
    assert sequential(scene, 10) == {"a": 10}


def test_least_busy_evens_out_what_is_under_way() -> None:
    scene = Scene(*[line(name) for name in "abc"], routing_strategy="least-busy")
    counts = overlapping(scene, {"a": 30.0, "b": 30.0, "c": 30.0})
    assert max(counts.values()) - min(counts.values()) <= PICKS * 0.02


def test_least_busy_gives_a_slow_one_less() -> None:
    scene = Scene(*[line(name) for name in "abc"], routing_strategy="least-busy")
    counts = overlapping(scene, {"a": 60.0, "b": 30.0, "c": 30.0})
    assert counts["a"] < 0.7 * min(counts["b"], counts["c"])
    assert counts["a"] > 0.3 * max(counts["b"], counts["c"])


def test_least_busy_does_not_favour_the_first_of_equals() -> None:
    counts = sequential(Scene(*[line(name) for name in "abc"], routing_strategy="least-busy"))
    assert all(near(counts[name], PICKS / 3) for name in "abc"), counts


def test_latency_prefers_the_faster_after_it_has_tried_each() -> None:
    times = {"a": 0.4, "b": 0.1, "c": 0.2}
    scene = Scene(*[line(name) for name in times], routing_strategy="latency-based-routing")
    _forget_natural_times(scene)
    counts = sequential(scene, each=lambda name: measured(scene, name, first_byte=times[name]))
    assert counts["b"] >= 0.9 * PICKS  # chance looks at the slow one now and then
    assert set(counts) == set(times)


def test_latency_turns_to_another_when_the_fastest_becomes_slow() -> None:
    times = {"a": 0.2, "b": 0.1}
    scene = Scene(*[line(name) for name in times], routing_strategy="latency-based-routing")
    _forget_natural_times(scene)
    sequential(scene, 100, lambda name: measured(scene, name, first_byte=times[name]))
    times["b"] = 2.0
    counts = sequential(scene, 100, lambda name: measured(scene, name, first_byte=times[name]))
    assert counts["a"] > 90


def test_latency_of_transcription_is_audio_by_time() -> None:
    """A long file takes longer than a short one: the speed counts, not the time."""
    lines = [line(name, mode=Mode.TRANSCRIPTION) for name in "ab"]
    scene = Scene(*lines, routing_strategy="latency-based-routing")
    _forget_natural_times(scene)
    work = {"a": (9.0, 900.0), "b": (1.0, 10.0)}
    counts = sequential(scene, 1_000, lambda name: measured(scene, name, first_byte=work[name][0], audio=work[name][1]))
    assert counts["a"] >= 900


def test_usage_follows_the_headroom_under_rpm() -> None:
    """Under an even load each takes its share of the limits."""
    scene = Scene(line("a", rpm=600), line("b", rpm=300), line("c", rpm=100), routing_strategy="usage-based-routing")
    counts = overlapping(scene, {"a": 0.01, "b": 0.01, "c": 0.01}, every=0.1)
    assert near(counts["a"], PICKS * 0.6)
    assert near(counts["b"], PICKS * 0.3)
    assert near(counts["c"], PICKS * 0.1)


def test_cost_takes_the_cheapest_that_can() -> None:
    price = "input_cost_per_character"
    scene = Scene(
        line("dear", costs={price: "0.00003"}),
        line("unknown"),
        line("cheap", costs={price: "0.000015"}),
        routing_strategy="cost-based-routing",
    )
    assert sequential(scene) == {"cheap": PICKS}
    scene.health.cool_down("cheap", 600, "test")
    assert sequential(scene, 100) == {"dear": 100}
    scene.health.cool_down("dear", 600, "test")
    assert sequential(scene, 100) == {"unknown": 100}


def test_cost_knows_the_prices_of_transcription() -> None:
    prices = {"a": "0.0001", "b": "0.00005"}
    lines = [
        line(name, mode=Mode.TRANSCRIPTION, costs={"input_cost_per_second": price, "input_cost_per_character": "1"})
        for name, price in prices.items()
    ]
    assert sequential(Scene(*lines, routing_strategy="cost-based-routing"), 100) == {"b": 100}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_reaches_the_only_one_that_is_well(strategy: str) -> None:
    scene = Scene(*[line(name) for name in "abc"], routing_strategy=strategy)
    scene.health.cool_down("a", 600, "test")
    scene.health.cool_down("c", 600, "test")
    assert sequential(scene, 100) == {"b": 100}


def _forget_natural_times(scene: Scene) -> None:
    """The scripted answers take no time; only what a test measures shall count."""

    async def untimed(line: BoundDeployment, attempt: Attempt, left: float | None) -> bytes:
        answer = await scene.scripted(line, attempt, left)
        attempt.first_byte = None
        return answer

    scene.execute = untimed
