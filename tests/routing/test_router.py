"""The way of a call through the deployments, by a clock that stands still and deployments that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from proxy.domain.requests import CallOptions
from proxy.errors import (
    BadRequest,
    Overloaded,
    ProxyError,
    RateLimited,
    UnsupportedValue,
    UpstreamCredentials,
    UpstreamError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
    UpstreamUnfinished,
)
from proxy.matching import BoundDeployment
from proxy.routing import router as router_module
from proxy.routing.strategies import STRATEGIES
from tests.routing.scene import (
    TRANSIENT,
    Execute,
    Failure,
    Scene,
    busy,
    invalid,
    key,
    limited,
    line,
    overloaded,
    quota,
    rejected,
    server,
    timeout,
    unknown,
    worded,
)

T = TypeVar("T")
FIRST_IS_A = {"routing_strategy": "least-busy"}


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    async def bounded() -> T:
        async with asyncio.timeout(10):
            return await coroutine

    return asyncio.run(bounded())


async def turns(count: int = 10) -> None:
    """Let every task go on as far as it can."""
    for _ in range(count):
        await asyncio.sleep(0)


async def leave(task: asyncio.Future[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def pair(**settings: Any) -> Scene:
    """``a`` is asked before ``b``."""
    return Scene(line("a", order=1), line("b", order=2), **settings)


# -- what a failure means ----------------------------------------------------------------------------------------------


def test_a_call_that_goes_well_asks_one_deployment() -> None:
    scene = pair()
    assert run(scene.served()) == "a"
    assert scene.asked == ["a"]
    assert scene.pauses == []
    assert scene.last.won is scene.last.attempts[0]
    assert (scene.last.group, scene.last.fallback) == ("tts", "")
    assert scene.idle()


def test_a_job_that_was_begun_is_not_begun_again_in_its_group() -> None:
    """Each beginning is billed; another group is the operator's word that somebody is to serve."""
    scene = Scene(line("a", order=1), line("b", order=2), line("c", "backup"), fallbacks=[{"tts": ["backup"]}])
    scene.script("a", lambda: UpstreamUnfinished("Too slow."))
    assert run(scene.served()) == "c"
    assert scene.asked == ["a", "c"]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415])
def test_a_bad_request_is_not_retried(status: int) -> None:
    scene = Scene(line("a", order=1), line("b", order=2), line("c", "backup"), fallbacks=[{"tts": ["backup"]}])
    scene.script("a", rejected(status=status))
    error = run(scene.failed())
    assert isinstance(error, UpstreamRejected)
    assert error.status == status
    assert scene.asked == ["a"]
    assert scene.pauses == []
    assert scene.idle()


def test_bad_requests_say_nothing_against_the_deployment() -> None:
    scene = pair(allowed_fails=0)
    scene.script("a", *[rejected()] * 5, None)
    for _ in range(5):
        run(scene.failed())
    assert run(scene.served()) == "a"
    assert scene.alarms == []


@pytest.mark.parametrize("code", ["content_policy_violation", "content_filter"])
def test_content_policy_falls_back_to_another_group_without_a_retry(code: str) -> None:
    scene = Scene(line("a", order=1), line("b", order=2), line("c", "backup"), fallbacks=[{"tts": ["backup"]}])
    scene.script("a", rejected(code))
    assert run(scene.served()) == "c"
    assert scene.asked == ["a", "c"]
    assert scene.last.fallback == "backup"


def test_a_refused_key_puts_the_deployment_out_at_once_and_nobody_waits() -> None:
    scene = pair(retry_after=3)
    scene.script("a", key)
    assert run(scene.served()) == "b"
    assert [pause for pause in scene.pauses if pause] == []
    assert [(name, why) for name, why, _ in scene.alarms] == [("a", "upstream_credentials")]
    scene.now += 300
    assert [run(scene.served()) for _ in range(5)] == ["b"] * 5
    assert scene.counts()["a"] == 1
    assert scene.idle()


def test_a_refused_key_is_alarmed_once_however_many_calls_met_it() -> None:
    async def together(scene: Scene) -> None:
        gate = asyncio.Event()
        scene.execute = _late(gate, key)
        calls = [scene.call() for _ in range(20)]
        outcomes = asyncio.gather(*calls, return_exceptions=True)
        await turns()
        gate.set()
        assert {type(outcome) for outcome in await outcomes} == {UpstreamCredentials}

    scene = Scene(line("a"))
    run(together(scene))
    assert len(scene.alarms) == 1


def test_one_call_does_not_ask_a_deployment_again_that_refused_its_key() -> None:
    scene = Scene(line("a"), num_retries=5)
    scene.script("a", key)
    assert run(scene.failed()).kind == "upstream_credentials"
    assert scene.asked == ["a"]


def test_a_deployment_that_is_out_is_not_asked_while_another_may_do_it() -> None:
    scene = pair(num_retries=1)
    scene.script("a", key)
    run(scene.served())
    scene.script("b", server, None)
    assert run(scene.served()) == "b"
    assert scene.counts() == {"a": 1, "b": 3}


def test_a_rate_limited_deployment_rests_for_its_retry_after() -> None:
    scene = pair()
    scene.script("a", limited(30), None)
    assert run(scene.served()) == "b"
    assert sum(scene.pauses) == 0, "the next one need not wait"
    scene.now += 29
    assert run(scene.served()) == "b"
    scene.now += 2
    assert run(scene.served()) == "a"


def test_a_rate_limit_without_retry_after_rests_for_the_cooldown() -> None:
    scene = pair(cooldown_time=8)
    scene.script("a", limited(), None)
    assert run(scene.served()) == "b"
    scene.now += 7
    assert run(scene.served()) == "b"
    scene.now += 2
    assert run(scene.served()) == "a"


def test_a_used_up_quota_rests_for_long() -> None:
    scene = pair(cooldown_time=1)
    scene.script("a", quota, None)
    assert run(scene.served()) == "b"
    scene.now += 300
    assert run(scene.served()) == "b"
    assert scene.alarms[0][:2] == ("a", "insufficient_quota")
    scene.now += 3_600
    assert run(scene.served()) == "a"


def test_a_short_rest_does_not_end_a_long_one() -> None:
    async def story(scene: Scene) -> None:
        gates = [asyncio.Event(), asyncio.Event()]
        waiting = [_late(gate, failure) for gate, failure in zip(gates, (key, limited(1)), strict=True)]

        async def execute(*attempt: Any) -> bytes:
            return await waiting.pop(0)(*attempt)

        scene.execute = execute
        calls = [asyncio.ensure_future(scene.call()) for _ in gates]
        await turns()
        for gate, call in zip(gates, calls, strict=True):
            gate.set()
            with pytest.raises(UpstreamError):
                await call

    scene = Scene(line("a"), num_retries=0)
    run(story(scene))
    scene.now += 100
    assert scene.health.is_cooling_down("a")


def _late(gate: asyncio.Event, failure: Failure) -> Execute:
    async def execute(*_: Any) -> bytes:
        await gate.wait()
        raise failure()

    return execute


@pytest.mark.parametrize("failure", TRANSIENT)
def test_a_passing_failure_moves_on_to_the_next_after_a_pause(failure: Failure) -> None:
    scene = pair()
    scene.script("a", failure)
    assert run(scene.served()) == "b"
    assert len(scene.pauses) == 1
    assert scene.pauses[0] > 0
    assert scene.last.attempts[0].error == failure().kind
    assert scene.idle()


def test_pauses_grow_and_differ() -> None:
    seen = []
    for _ in range(20):
        scene = Scene(line("a"), num_retries=4, allowed_fails=100)
        scene.script("a", server)
        run(scene.failed())
        seen.append(scene.pauses)
    assert {len(pauses) for pauses in seen} == {4}
    assert all(later > earlier for pauses in seen for earlier, later in zip(pauses, pauses[2:], strict=False))
    assert len({pauses[0] for pauses in seen}) > 1


def test_retry_after_is_the_least_pause() -> None:
    scene = Scene(line("a"), num_retries=2, retry_after=4)
    scene.script("a", server)
    run(scene.failed())
    assert len(scene.pauses) == 2
    assert min(scene.pauses) >= 4


def test_a_lone_deployment_at_a_rate_limit_without_a_time_is_asked_again_after_a_pause() -> None:
    scene = Scene(line("a"))
    scene.script("a", limited(), None)
    assert run(scene.served()) == "a"
    assert scene.pauses[0] > 0
    scene.script("a", limited())
    error = run(scene.failed())
    assert (error.status, error.retry_after, error.should_retry) == (429, None, None)


def test_an_error_of_our_own_goes_to_another_group_but_not_to_another_deployment() -> None:
    scene = Scene(line("a", order=1), line("b", order=2), line("c", "backup"), fallbacks=[{"tts": ["backup"]}])
    scene.script("a", lambda: Overloaded("No process is free."))
    assert run(scene.served()) == "c"
    assert scene.asked == ["a", "c"]
    assert scene.health["a"].fails == scene.health["b"].fails


def test_a_mistake_of_ours_is_not_a_reason_to_ask_anybody_else() -> None:
    scene = pair(default_fallbacks=["tts"])
    scene.script("a", lambda: BadRequest("Your file cannot be read."))
    assert isinstance(run(scene.failed()), BadRequest)
    assert scene.asked == ["a"]
    assert scene.idle()


def test_a_deployment_that_does_not_know_the_model_is_asked_once_in_a_call() -> None:
    for failure in (unknown(), unknown("model_not_found"), worded):
        scene = Scene(line("a"), line("b"), line("c", "backup"), num_retries=5, default_fallbacks=["backup"])
        scene.script("a", failure)
        scene.script("b", failure)
        assert run(scene.served()) == "c"
        assert scene.counts() == {"a": 1, "b": 1, "c": 1}
        assert sum(scene.pauses) == 0


def test_words_alone_do_not_put_a_deployment_out() -> None:
    """They may quote the caller's. Repeated failures put it to rest, as any others do."""
    scene = pair(allowed_fails=2, cooldown_time=20)
    scene.script("a", worded, worded, worded, None)
    for _ in range(3):
        assert scene.alarms == []
        assert run(scene.served()) == "b"
    assert [(name, seconds) for name, _, seconds in scene.alarms] == [("a", 20)]
    scene.now += 21
    assert run(scene.served()) == "a"


# -- a vendor that says when -------------------------------------------------------------------------------------------


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[[Scene], Scene]:
    """Makes the router's own clock the scene's."""

    def bind(scene: Scene) -> Scene:
        monkeypatch.setattr(router_module, "perf_counter", lambda: scene.now)
        return scene

    return bind


Timed = Callable[[Scene], Scene]


@pytest.mark.parametrize("failure", [limited, busy])
@pytest.mark.parametrize("seconds", [0.3, 2, 45])
def test_a_lone_deployment_is_waited_for_and_not_asked_before_its_time(
    timed: Timed, failure: Callable[[float], Failure], seconds: float
) -> None:
    scene = timed(Scene(line("a")))
    scene.script("a", failure(seconds), None)
    began = scene.now
    assert run(scene.served()) == "a"
    assert seconds <= scene.now - began <= seconds * 1.1
    assert scene.last.waited == pytest.approx(scene.now - began)
    assert scene.asked == ["a", "a"]
    assert scene.idle()


@pytest.mark.parametrize("failure", [limited, busy])
@pytest.mark.parametrize(
    ("seconds", "options", "params"),
    [
        (61, CallOptions(), {}),
        (5, CallOptions(timeout=4), {}),
        (5, CallOptions(), {"timeout": 4}),
        (5, CallOptions(num_retries=0), {}),
        (5, CallOptions(), {"max_retries": 0}),
        (80_000, CallOptions(), {}),
    ],
)
def test_a_wait_that_does_not_fit_is_passed_on(
    timed: Timed, failure: Callable[[float], Failure], seconds: float, options: CallOptions, params: dict[str, Any]
) -> None:
    scene = timed(Scene(line("a", **params)))
    scene.script("a", failure(seconds))
    error = run(scene.failed(options=options))
    assert (error.status, error.retry_after, error.should_retry) == (failure(seconds)().status, seconds, None)
    assert scene.asked == ["a"]
    assert scene.pauses == []
    scene.now += seconds / 2
    later = run(scene.failed(options=CallOptions(timeout=seconds / 4)))
    assert (later.status, later.retry_after, later.should_retry) == (429, seconds / 2, None)
    assert scene.asked == ["a"], "nobody asks before its time"
    assert scene.last.attempts == []


def test_a_call_that_comes_meanwhile_waits_for_the_rest(timed: Timed) -> None:
    scene = timed(Scene(line("a"), num_retries=0))
    scene.script("a", limited(30), None)
    run(scene.failed())
    scene.now += 20
    assert run(scene.served()) == "a"
    assert 10 <= scene.last.waited <= 11


def test_waits_of_a_call_are_bounded_together(timed: Timed) -> None:
    scene = timed(Scene(line("a"), num_retries=9))
    scene.script("a", limited(25))
    began = scene.now
    error = run(scene.failed())
    assert (error.status, error.retry_after) == (429, 25)
    assert len(scene.asked) == 3
    assert scene.now - began <= 60
    assert len(scene.pauses) == 2


def test_the_callers_timeout_bounds_the_waits(timed: Timed) -> None:
    scene = timed(Scene(line("a"), num_retries=9))
    scene.script("a", limited(2))
    began = scene.now
    error = run(scene.failed(options=CallOptions(timeout=5)))
    assert (error.status, error.retry_after, error.should_retry) == (429, 2, None)
    assert scene.now - began <= 5
    assert all(left is not None and left > 0 for left in scene.given)


def test_others_are_asked_rather_than_waiting(timed: Timed) -> None:
    scene = timed(Scene(line("a", order=1), line("b", order=2), line("c", "backup"), default_fallbacks=["backup"]))
    scene.script("a", limited(1))
    assert [run(scene.served()) for _ in range(3)] == ["b"] * 3
    scene.script("b", limited(1))
    assert [run(scene.served()) for _ in range(3)] == ["c"] * 3
    assert scene.counts() == {"a": 1, "b": 4, "c": 3}
    assert sum(scene.pauses) == 0


def test_when_the_others_fail_the_limit_is_waited_for_after_all(timed: Timed) -> None:
    scene = timed(Scene(line("a"), line("c", "backup"), default_fallbacks=["backup"], allowed_fails=100))
    scene.script("a", limited(3), None)
    scene.script("c", server)
    assert run(scene.served()) == "a"
    assert scene.asked == ["a", "c", "c", "c", "a"]
    assert (scene.last.group, scene.last.fallback) == ("tts", "")
    assert scene.idle()


@pytest.mark.parametrize(("seconds", "asked"), [(0.3, "aab"), (10, "aab"), (100, "aaa")])
def test_the_last_try_is_for_one_whose_limit_ends_in_time(timed: Timed, seconds: float, asked: str) -> None:
    scene = timed(pair(num_retries=2, allowed_fails=100))
    scene.health.limit("b", limited(seconds)())
    scene.script("a", server)
    if asked == "aaa":
        assert run(scene.failed()).status == 429
    else:
        assert run(scene.served()) == "b"
    assert "".join(scene.asked) == asked
    assert scene.idle()


def test_one_that_was_limited_in_this_call_is_asked_again_rather_than_one_that_failed(timed: Timed) -> None:
    scene = timed(pair(num_retries=2))
    scene.script("a", limited(1), None)
    scene.script("b", server)
    assert run(scene.served()) == "a"
    assert scene.asked == ["a", "b", "a"]


def test_a_limit_that_begins_again_meanwhile_is_waited_for_again(timed: Timed) -> None:
    scene = timed(pair(num_retries=1, allowed_fails=100))
    scene.health.limit("b", limited(2)())
    scene.script("a", server)
    sleep = scene.sleep

    async def others_reach_it_first(seconds: float) -> None:
        await sleep(seconds)
        if scene.now < 1_004:
            scene.health.limit("b", limited(2)())

    scene.sleep = others_reach_it_first
    assert run(scene.served()) == "b"
    assert scene.asked == ["a", "b"]


@pytest.mark.parametrize("failure", [server, key, timeout, unknown()])
def test_a_limit_that_ends_too_late_is_told_rather_than_what_the_others_said(timed: Timed, failure: Failure) -> None:
    scene = timed(Scene(line("a"), line("c", "backup"), default_fallbacks=["backup"], num_retries=0))
    scene.script("a", limited(100))
    scene.script("c", failure)
    error = run(scene.failed())
    assert (error.status, error.code, error.should_retry) == (429, "rate_limit_exceeded", None)
    assert error.retry_after is not None
    assert 90 < error.retry_after <= 100
    assert "2 attempts" in error.message


def test_what_the_caller_did_wrong_is_told_whatever_is_limited(timed: Timed) -> None:
    scene = timed(pair())
    scene.script("a", limited(1))
    scene.script("b", rejected())
    assert run(scene.failed()).status == 400
    assert scene.asked == ["a", "b"]


def test_of_several_limits_the_one_that_ends_first_is_waited_for_and_told(timed: Timed) -> None:
    scene = timed(Scene(line("a", order=1), line("b", order=2), line("c", "backup"), default_fallbacks=["backup"]))
    for name, seconds in (("a", 50), ("b", 20), ("c", 30)):
        scene.script(name, limited(seconds), None)
    error = run(scene.failed(options=CallOptions(timeout=10)))
    assert (error.status, error.retry_after) == (429, 20)
    assert run(scene.served()) == "b"
    assert scene.asked == ["a", "b", "c", "b"]


def test_one_whose_key_is_refused_is_not_asked_instead_of_waiting(timed: Timed) -> None:
    scene = timed(pair())
    scene.script("b", key)
    scene.script("a", server, None)
    assert run(scene.served()) == "a"
    scene.script("a", limited(2), None)
    assert run(scene.served()) == "a"
    assert scene.counts()["b"] == 1


def test_a_lone_deployment_without_a_quota_or_key_that_is_limited_too(timed: Timed) -> None:
    scene = timed(Scene(line("a"), num_retries=0))
    scene.script("a", key, limited(2), None)
    assert [run(scene.failed()).status for _ in range(2)] == [502, 429]
    assert run(scene.served()) == "a"
    assert scene.last.waited >= 2


@pytest.mark.parametrize("seconds", [0.0, 1e-9])
def test_a_limit_that_is_over_at_once(timed: Timed, seconds: float) -> None:
    scene = timed(Scene(line("a")))
    scene.script("a", limited(seconds), limited(seconds), None)
    assert run(scene.served()) == "a"
    assert scene.last.waited < 1


def test_a_used_up_quota_is_never_waited_for(timed: Timed) -> None:
    scene = timed(Scene(line("a")))
    scene.script("a", lambda: UpstreamRateLimited("No money.", code="insufficient_quota", retry_after=1))
    error = run(scene.failed())
    assert (error.code, error.should_retry) == ("insufficient_quota", False)
    assert scene.asked == ["a"]


def test_calls_that_meet_a_limit_together_all_wait_for_it() -> None:
    async def story(scene: Scene) -> list[str]:
        return await asyncio.gather(*[scene.served() for _ in range(20)])

    async def sleep(seconds: float) -> None:
        until = scene.now + seconds
        for _ in range(30):
            await asyncio.sleep(0)
        scene.now = max(scene.now, until)

    scene = Scene(line("a"))
    scene.sleep = sleep
    scene.health.limit("a", limited(5)())
    assert run(story(scene)) == ["a"] * 20
    assert scene.now >= 1_005
    assert scene.idle()


def test_a_client_that_leaves_while_its_call_waits_leaves_nothing_behind() -> None:
    async def story(scene: Scene) -> None:
        async def sleep(_: float) -> None:
            await asyncio.Event().wait()

        scene.sleep = sleep
        task = asyncio.ensure_future(scene.call())
        await turns()
        await leave(task)

    scene = Scene(line("a"))
    scene.script("a", limited(5))
    run(story(scene))
    assert scene.asked == ["a"]
    assert scene.idle()


def test_nobody_is_hedged_to_a_limited_deployment() -> None:
    async def story(scene: Scene, gate: asyncio.Event) -> str:
        task = asyncio.ensure_future(scene.served())
        await asyncio.sleep(SOON * 20)
        gate.set()
        return await task

    gate = asyncio.Event()
    scene = pair(hedge_after=SOON)
    scene.script("a", gate)
    scene.health.limit("b", limited(60)())
    assert run(story(scene, gate)) == "a"
    assert scene.asked == ["a"]


# -- how many times ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_num_retries_are_further_attempts(retries: int) -> None:
    scene = Scene(line("a"), line("b"), num_retries=retries)
    scene.script("a", server)
    scene.script("b", server)
    error = run(scene.failed())
    assert len(scene.asked) == retries + 1
    assert error.should_retry is False
    if retries:
        assert str(retries + 1) in error.message
    assert len(scene.last.attempts) == retries + 1


def test_the_request_may_wish_for_more_or_fewer() -> None:
    for wished in (0, 1, 4):
        scene = Scene(line("a"), num_retries=2)
        scene.script("a", server)
        run(scene.failed(options=CallOptions(num_retries=wished)))
        assert len(scene.asked) == wished + 1


def test_every_deployment_is_tried_before_one_is_tried_again() -> None:
    scene = Scene(*[line(name) for name in "abcd"], num_retries=7)
    for name in "abcd":
        scene.script(name, server)
    run(scene.failed())
    assert set(scene.asked[:4]) == set(scene.asked[4:]) == set("abcd")


def test_one_that_rests_is_tried_before_one_that_just_failed() -> None:
    """Every call that has a healthy deployment succeeds, though others have just met failures there."""
    scene = pair(num_retries=1)
    scene.health.cool_down("b", 60, "upstream_unavailable")
    scene.script("a", server)
    assert run(scene.served()) == "b"
    assert scene.asked == ["a", "b"]


def test_max_retries_is_each_deployments_own_limit() -> None:
    scene = Scene(line("a", max_retries=0), line("b", max_retries=1), num_retries=9)
    scene.script("a", server)
    scene.script("b", server)
    error = run(scene.failed())
    assert scene.counts() == {"a": 1, "b": 2}
    assert error.status == 500, "the last upstream error, not one of our own"


def test_max_retries_zero_on_all_still_asks_each_once() -> None:
    scene = Scene(line("a", max_retries=0, order=1), line("b", max_retries=0, order=2))
    scene.script("a", server)
    assert run(scene.served()) == "b"


@pytest.mark.parametrize(
    ("name", "failure"),
    [
        ("BadRequestErrorRetries", rejected()),
        ("NotFoundErrorRetries", unknown()),
        ("ContentPolicyViolationErrorRetries", rejected("content_policy_violation")),
        ("TimeoutErrorRetries", timeout),
        ("RateLimitErrorRetries", limited()),
        ("InternalServerErrorRetries", server),
        ("ServiceUnavailableErrorRetries", overloaded),
        ("DefaultRetries", server),
        ("DefaultRetries", timeout),
    ],
)
def test_retry_policy_by_kind_of_failure(name: str, failure: Failure) -> None:
    scene = Scene(line("a"), num_retries=1, retry_policy={name: 4})
    scene.script("a", failure)
    run(scene.failed())
    assert len(scene.asked) == 5


def test_retry_policy_for_keys_asks_other_deployments() -> None:
    scene = Scene(*[line(name) for name in "abcdef"], num_retries=0, retry_policy={"AuthenticationErrorRetries": 3})
    for name in "abcdef":
        scene.script(name, key)
    run(scene.failed())
    assert len(scene.asked) == len(set(scene.asked)) == 4


def test_retry_policy_leaves_other_kinds_alone() -> None:
    scene = Scene(line("a"), num_retries=1, retry_policy={"TimeoutErrorRetries": 4})
    scene.script("a", server)
    run(scene.failed())
    assert len(scene.asked) == 2


# -- rest --------------------------------------------------------------------------------------------------------------


def fail(scene: Scene, times: int) -> None:
    """``a`` fails that many calls."""
    scene.script("a", *[server] * times, None)
    for _ in range(times):
        run(scene.served())


@pytest.mark.parametrize("allowed", [0, 1, 3])
def test_more_than_allowed_fails_in_a_minute_put_a_deployment_to_rest(allowed: int) -> None:
    scene = pair(allowed_fails=allowed, cooldown_time=20)
    fail(scene, allowed)
    assert scene.alarms == []
    fail(scene, 1)
    assert [(name, seconds) for name, _, seconds in scene.alarms] == [("a", 20)]
    asked = scene.counts()["a"]
    assert run(scene.served()) == "b"
    assert scene.counts()["a"] == asked
    scene.now += 21
    assert run(scene.served()) == "a"


def test_failures_further_apart_than_a_minute_do_not_add_up() -> None:
    scene = pair(allowed_fails=1)
    for _ in range(5):
        fail(scene, 1)
        scene.now += 61
    assert scene.alarms == []


def test_after_the_rest_one_call_tries_it_while_others_avoid_it() -> None:
    async def story(scene: Scene) -> None:
        gate = asyncio.Event()
        scene.script("a", gate, None)
        trial = asyncio.ensure_future(scene.served())
        await turns()
        assert [await scene.served() for _ in range(10)] == ["b"] * 10
        gate.set()
        assert await trial == "a"
        assert await scene.served() == "a"

    scene = pair(allowed_fails=0, cooldown_time=20)
    fail(scene, 1)
    scene.now += 21
    asked = scene.counts()["a"]
    run(story(scene))
    assert scene.counts()["a"] == asked + 2
    assert scene.idle()


def test_after_a_trial_that_went_well_it_is_fully_back() -> None:
    async def together(scene: Scene) -> list[str]:
        gate = asyncio.Event()
        scene.script("a", gate)
        calls = [asyncio.ensure_future(scene.served()) for _ in range(3)]
        await turns()
        gate.set()
        return await asyncio.gather(*calls)

    scene = pair(allowed_fails=1, cooldown_time=5)
    fail(scene, 2)
    scene.now += 6
    assert run(scene.served()) == "a"
    assert run(together(scene)) == ["a"] * 3
    fail(scene, 1)
    assert len(scene.alarms) == 1, "old failures are forgotten"


def test_a_call_that_was_made_in_spite_of_the_rest_is_no_trial() -> None:
    async def story(scene: Scene) -> None:
        scene.script("a", asyncio.Event())
        stuck = asyncio.ensure_future(scene.call())
        await turns()
        scene.now += 21
        assert not scene.health.is_cooling_down("a")
        await leave(stuck)

    scene = Scene(line("a"))
    scene.health.cool_down("a", 20, "test")
    run(story(scene))


def test_calls_that_begin_together_are_one_trial_too() -> None:
    async def story(scene: Scene) -> list[str]:
        gate = asyncio.Event()
        scene.script("a", gate, None)
        calls = [asyncio.ensure_future(scene.served()) for _ in range(10)]
        await turns()
        gate.set()
        return await asyncio.gather(*calls)

    for hedge_after in (None, 5.0):
        scene = pair(allowed_fails=0, cooldown_time=20, hedge_after=hedge_after)
        fail(scene, 1)
        scene.now += 21
        assert sorted(run(story(scene))) == ["a"] + ["b"] * 9


def test_a_trial_that_fails_means_another_rest_at_once() -> None:
    scene = pair(allowed_fails=1, cooldown_time=20)
    fail(scene, 2)
    scene.now += 21
    scene.script("a", server, None)
    assert run(scene.served()) == "b"
    assert len(scene.alarms) == 2
    assert run(scene.served()) == "b"
    scene.now += 21
    assert run(scene.served()) == "a"


@pytest.mark.parametrize("ending", ["cancelled", "bad request"])
def test_a_trial_without_a_verdict_leaves_the_chance_to_the_next_call(ending: str) -> None:
    async def cancelled(scene: Scene) -> None:
        scene.script("a", asyncio.Event(), None)
        trial = asyncio.ensure_future(scene.served())
        await turns()
        await leave(trial)

    scene = pair(allowed_fails=0, cooldown_time=20)
    fail(scene, 1)
    scene.now += 21
    if ending == "cancelled":
        run(cancelled(scene))
    else:
        scene.script("a", rejected(), None)
        run(scene.failed())
    assert scene.idle()
    assert run(scene.served()) == "a"


def test_a_lone_deployment_is_never_rested_into_an_error_of_our_own() -> None:
    scene = Scene(line("a"), allowed_fails=0, cooldown_time=600, num_retries=0)
    for failure in (server, limited(), key, quota):
        scene.script("a", failure, None)
        assert isinstance(run(scene.failed()), UpstreamError)
        assert run(scene.served()) == "a"


def test_a_group_that_rests_as_a_whole_is_served_all_the_same() -> None:
    scene = Scene(line("a"), line("b"), allowed_fails=0, cooldown_time=600, num_retries=1)
    scene.script("a", server, None)
    scene.script("b", server, None)
    run(scene.failed())
    assert run(scene.served()) in "ab"


def test_a_group_that_rests_as_a_whole_leaves_the_call_to_its_fallback_which_may_fail_as_well() -> None:
    scene = Scene(
        line("a"), line("c", "backup"), fallbacks=[{"tts": ["backup"]}], allowed_fails=0, cooldown_time=9, num_retries=0
    )
    scene.script("a", server, None)
    assert run(scene.served()) == "c"
    assert run(scene.served()) == "c"
    assert scene.asked == ["a", "c", "c"]
    scene.script("c", server)
    assert run(scene.served()) == "a"
    assert scene.asked[3:] == ["c", "a"]


def test_a_probe_that_succeeds_ends_the_rest() -> None:
    scene = pair(allowed_fails=0, cooldown_time=600)
    fail(scene, 1)
    scene.health.recovered("a")
    assert run(scene.served()) == "a"


# -- other groups ------------------------------------------------------------------------------------------------------


def groups(*names: str, **settings: Any) -> Scene:
    """A deployment a group, of the same name."""
    scene = Scene(*[line(name, name) for name in names], num_retries=0, **settings)
    for name in names[:-1]:
        scene.script(name, server)
    return scene


def test_fallbacks_are_asked_in_order() -> None:
    scene = groups("tts", "one", "two", "three", fallbacks=[{"tts": ["one", "two", "three"]}])
    assert run(scene.served()) == "three"
    assert scene.asked == ["tts", "one", "two", "three"]
    assert (scene.last.group, scene.last.fallback) == ("three", "three")
    assert scene.idle()


def test_max_fallbacks_bounds_the_chain() -> None:
    scene = groups("tts", "one", "two", "three", fallbacks=[{"tts": ["one", "two", "three"]}], max_fallbacks=2)
    error = run(scene.failed())
    assert scene.asked == ["tts", "one", "two"]
    assert "3" in error.message


def test_default_fallbacks_are_for_groups_without_their_own() -> None:
    scene = groups("tts", "other", "one", "two", fallbacks=[{"tts": ["one"]}], default_fallbacks=["two"])
    run(scene.failed("tts"))
    assert scene.asked == ["tts", "one"]
    assert run(scene.served("other")) == "two"


def test_a_group_is_not_its_own_fallback() -> None:
    scene = groups("tts", "one", default_fallbacks=["tts", "one"])
    assert run(scene.served("tts")) == "one"
    assert scene.asked == ["tts", "one"]


def test_no_fallback_stays_in_the_group() -> None:
    scene = groups("tts", "one", fallbacks=[{"tts": ["one"]}])
    run(scene.failed(options=CallOptions(no_fallback=True)))
    assert scene.asked == ["tts"]


def test_each_group_has_its_own_retries() -> None:
    scene = Scene(line("a"), line("c", "backup"), fallbacks=[{"tts": ["backup"]}], num_retries=2)
    scene.script("a", server)
    scene.script("c", server)
    error = run(scene.failed())
    assert scene.asked == ["a"] * 3 + ["c"] * 3
    assert "6" in error.message


def test_the_last_upstream_error_is_the_answer() -> None:
    scene = Scene(line("a"), line("c", "backup"), fallbacks=[{"tts": ["backup"]}], num_retries=0)
    scene.script("a", server)
    scene.script("c", limited(7))
    error = run(scene.failed())
    assert (error.status, error.retry_after, error.should_retry) == (429, 7, None)
    assert not {"a", "c", "backup"} & set(error.message.split())


# -- order and limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_goes_first_to_last_under_any_strategy(strategy: str) -> None:
    scene = Scene(
        line("last", weight=1000, rpm=1000, costs={"input_cost_per_character": "0.000001"}),
        line("second", order=2, weight=100, rpm=100, costs={"input_cost_per_character": "0.00001"}),
        line("first", order=1, weight=1, rpm=50, costs={"input_cost_per_character": "1"}),
        routing_strategy=strategy,
        num_retries=2,
        allowed_fails=1000,
    )
    assert [run(scene.served()) for _ in range(10)] == ["first"] * 10
    scene.asked.clear()
    scene.script("first", server)
    scene.script("second", server)
    assert [run(scene.served()) for _ in range(10)] == ["last"] * 10
    assert scene.asked == ["first", "second", "last"] * 10


def test_rpm_sends_the_rest_elsewhere_and_then_says_so() -> None:
    scene = Scene(line("a", order=1, rpm=3), line("b", order=2, rpm=2))
    assert [run(scene.served()) for _ in range(5)] == ["a"] * 3 + ["b"] * 2
    error = run(scene.failed())
    assert isinstance(error, RateLimited)
    assert error.retry_after
    assert error.should_retry is not False
    assert scene.last.attempts == []
    scene.now += 61
    assert run(scene.served()) == "a"


def test_failed_attempts_count_for_rpm() -> None:
    scene = Scene(line("a", rpm=2), num_retries=5, allowed_fails=100)
    scene.script("a", server)
    error = run(scene.failed())
    assert len(scene.asked) == 2
    assert error.status == 500, "the vendor failed; our limit only ended the tries"


@pytest.mark.parametrize("hedge_after", [None, 60])
def test_max_parallel_requests(hedge_after: float | None) -> None:
    async def story(scene: Scene) -> None:
        gate = asyncio.Event()
        scene.script("a", gate)
        scene.script("b", gate)
        calls = [asyncio.ensure_future(scene.served()) for _ in range(3)]
        await turns()
        assert scene.counts() == {"a": 2, "b": 1}
        assert isinstance(await scene.failed(), RateLimited)
        gate.set()
        assert sorted(await asyncio.gather(*calls)) == ["a", "a", "b"]
        assert await scene.served() == "a"

    scene = Scene(
        line("a", order=1, max_parallel_requests=2),
        line("b", order=2, max_parallel_requests=1),
        hedge_after=hedge_after,
    )
    run(story(scene))
    assert scene.idle()


def test_an_answer_takes_its_place_until_it_is_closed() -> None:
    async def story(scene: Scene) -> None:
        answer = await scene.call()
        assert isinstance(await scene.failed(), RateLimited)
        await answer.aclose()
        assert await scene.served() == "a"

    run(story(Scene(line("a", max_parallel_requests=1))))


def test_everything_at_its_limit_falls_back_first() -> None:
    scene = Scene(line("a", rpm=1), line("c", "backup", rpm=1), fallbacks=[{"tts": ["backup"]}])
    assert [run(scene.served()) for _ in range(2)] == ["a", "c"]
    assert isinstance(run(scene.failed()), RateLimited)


def test_a_limit_of_ours_does_not_hide_what_a_vendor_said() -> None:
    scene = Scene(line("a"), line("c", "backup", rpm=1), fallbacks=[{"tts": ["backup"]}], num_retries=0)
    assert run(scene.served("backup")) == "c"
    scene.script("a", server)
    error = run(scene.failed())
    assert isinstance(error, UpstreamUnavailable)
    assert error.should_retry is False


# -- who can serve it --------------------------------------------------------------------------------------------------


def objecting(*names: str) -> Callable[[BoundDeployment], ProxyError | None]:
    def objection(line: BoundDeployment) -> ProxyError | None:
        name = line.deployment.id
        return UnsupportedValue(f"{name} cannot do srt.", param="response_format") if name in names else None

    return objection


def test_deployments_that_cannot_serve_it_are_no_candidates() -> None:
    scene = Scene(line("a", order=1), line("b", order=2), num_retries=5, allowed_fails=100)
    scene.script("b", server, server, None)
    run(scene.call(objection=objecting("a")))
    assert scene.counts() == {"b": 3}


def test_if_none_can_the_fallback_does() -> None:
    scene = Scene(line("a"), line("c", "backup"), fallbacks=[{"tts": ["backup"]}])
    run(scene.call(objection=objecting("a")))
    assert scene.asked == ["c"]
    assert scene.last.fallback == "backup"


def test_if_none_remains_the_answer_names_what_is_missing() -> None:
    scene = Scene(line("a"), line("b"), line("c", "backup"), fallbacks=[{"tts": ["backup"]}])
    with pytest.raises(UnsupportedValue, match="a cannot do srt"):
        run(scene.call(objection=objecting("a", "b", "c")))
    assert scene.asked == []


# -- time --------------------------------------------------------------------------------------------------------------


def test_the_callers_timeout_bounds_all_attempts_together(timed: Callable[[Scene], Scene]) -> None:
    def slow() -> ProxyError:
        scene.now += min(4, scene.given[-1] or 4)
        return UpstreamTimeout("Too slow.")

    scene = timed(Scene(line("a"), line("b"), line("c", "backup"), num_retries=9, default_fallbacks=["backup"]))
    for name in "abc":
        scene.script(name, slow)
    began = scene.now
    error = run(scene.failed(options=CallOptions(timeout=10)))
    assert isinstance(error, UpstreamTimeout)
    assert len(scene.asked) == 3
    given = [left for left in scene.given if left is not None]
    assert given[0] == 10
    assert given == sorted(given, reverse=True)
    assert given[2] < 2.1
    assert scene.now - began < 10.01


def test_a_pause_never_outlasts_the_callers_timeout(timed: Callable[[Scene], Scene]) -> None:
    scene = timed(Scene(line("a"), num_retries=9, retry_after=3, allowed_fails=100))
    scene.script("a", server)
    run(scene.failed(options=CallOptions(timeout=5)))
    assert len(scene.asked) == 2
    assert sum(scene.pauses) < 5
    assert all(left is not None and left > 0 for left in scene.given)


def test_without_a_wish_attempts_have_the_deployments_own_limits() -> None:
    scene = pair()
    run(scene.served())
    assert scene.given == [None]


# -- the books ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_breaks_off_counts_against_its_deployment_once() -> None:
    async def story(scene: Scene) -> None:
        for _ in range(2):
            answer = await scene.call()
            await answer.aclose(invalid())
            await answer.aclose()

    scene = pair(allowed_fails=1, cooldown_time=60)
    run(story(scene))
    assert scene.asked == ["a", "a"], "nothing is replayed once the first byte has left"
    assert [name for name, _, _ in scene.alarms] == ["a"]
    assert scene.last.attempts[0].error == "upstream_invalid"
    assert scene.idle()


def test_a_client_that_leaves_in_mid_stream_says_nothing_against_the_deployment() -> None:
    async def story(scene: Scene) -> None:
        answer = await scene.call()
        await answer.aclose(asyncio.CancelledError())

    scene = pair(allowed_fails=0)
    run(story(scene))
    assert scene.alarms == []
    assert scene.last.attempts[0].error == "cancelled"
    assert scene.idle()


@pytest.mark.parametrize("hedge_after", [None, 30])
def test_a_client_that_leaves_before_the_first_byte_leaves_nothing_behind(hedge_after: float | None) -> None:
    async def story(scene: Scene) -> None:
        task = asyncio.ensure_future(scene.call())
        await turns()
        assert scene.health["a"].in_flight == 1
        await leave(task)

    scene = pair(hedge_after=hedge_after)
    scene.script("a", asyncio.Event())
    run(story(scene))
    assert [attempt.error for attempt in scene.last.attempts] == ["cancelled"]
    assert scene.alarms == []
    assert scene.idle()


def test_a_client_that_leaves_during_a_pause_leaves_nothing_behind() -> None:
    async def story(scene: Scene) -> None:
        asleep: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def sleep(_: float) -> None:
            await asleep

        scene.sleep = sleep
        task = asyncio.ensure_future(scene.call())
        await turns()
        await leave(task)

    scene = pair()
    scene.script("a", server)
    run(story(scene))
    assert scene.asked == ["a"]
    assert scene.idle()


# -- two at once -------------------------------------------------------------------------------------------------------

SOON = 0.001


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_a_quick_answer_is_not_hedged() -> None:
    scene = pair(hedge_after=30)
    assert run(scene.served()) == "a"
    assert scene.asked == ["a"]
    assert not scene.last.hedged


def test_the_second_wins_and_the_first_is_ended_and_both_are_recorded() -> None:
    scene = pair(hedge_after=SOON)
    scene.script("a", asyncio.Event())
    assert run(scene.served()) == "b"
    first, second = scene.last.attempts
    assert (first.deployment, first.error, second.deployment, second.error) == ("a", "cancelled", "b", "")
    assert scene.last.won is second
    assert scene.last.hedged
    assert scene.alarms == []
    assert scene.idle()


def test_the_first_wins_after_all() -> None:
    async def story(scene: Scene, gate: asyncio.Event) -> str:
        task = asyncio.ensure_future(scene.served())
        await until(lambda: len(scene.asked) == 2)
        gate.set()
        return await task

    scene, gate = pair(hedge_after=SOON), asyncio.Event()
    scene.script("a", gate)
    scene.script("b", asyncio.Event())
    assert run(story(scene, gate)) == "a"
    assert [attempt.error for attempt in scene.last.attempts] == ["", "cancelled"]
    assert scene.idle()


def test_when_both_answer_at_once_one_is_closed() -> None:
    async def story(scene: Scene, gate: asyncio.Event) -> None:
        task = asyncio.ensure_future(scene.call())
        await until(lambda: len(scene.asked) == 2)
        gate.set()
        answer = await task
        assert len(scene.responses) == 2
        assert sum(response.closed for response in scene.responses) == 1
        await answer.aclose()

    scene, gate = pair(hedge_after=SOON), asyncio.Event()
    scene.script("a", gate)
    scene.script("b", gate)
    run(story(scene, gate))
    assert scene.idle()


def test_a_client_that_leaves_while_the_loser_is_being_ended_leaves_nothing_behind() -> None:
    async def story(scene: Scene) -> None:
        ending = asyncio.Event()

        async def slow_to_end(line: BoundDeployment, *rest: Any) -> bytes:
            try:
                return await scene.scripted(line, *rest)
            except asyncio.CancelledError:
                await ending.wait()
                raise

        scene.execute = slow_to_end
        task = asyncio.ensure_future(scene.call())
        await until(lambda: len(scene.responses) == 1)
        await turns()
        await leave(task)
        ending.set()
        await turns()
        assert scene.idle()

    scene = pair(hedge_after=SOON)
    scene.script("a", asyncio.Event())
    run(story(scene))


def test_a_client_that_leaves_ends_both() -> None:
    async def story(scene: Scene) -> None:
        task = asyncio.ensure_future(scene.call())
        await until(lambda: len(scene.asked) == 2)
        await leave(task)

    scene = pair(hedge_after=SOON)
    scene.script("a", asyncio.Event())
    scene.script("b", asyncio.Event())
    run(story(scene))
    assert [attempt.error for attempt in scene.last.attempts] == ["cancelled"] * 2
    assert scene.idle()


@pytest.mark.parametrize("failing", ["a", "b"])
def test_when_one_of_two_fails_the_other_is_waited_for(failing: str) -> None:
    async def story(scene: Scene) -> str:
        other, first = asyncio.Event(), asyncio.Event()

        async def execute(line: BoundDeployment, *rest: Any) -> bytes:
            name = line.deployment.id
            scene.asked.append(name)
            await (first if name == failing else other).wait()
            if name == failing:
                raise server()
            scene.asked.pop()
            return await scene.scripted(line, *rest)

        scene.execute = execute
        task = asyncio.ensure_future(scene.served())
        await until(lambda: len(scene.asked) == 2)
        first.set()
        await turns()
        assert not task.done()
        other.set()
        return await task

    scene = pair(hedge_after=SOON)
    assert run(story(scene)) == {"a": "b", "b": "a"}[failing]
    assert scene.idle()


def test_when_both_fail_the_call_is_retried_elsewhere() -> None:
    async def story(scene: Scene) -> str:
        async def execute(line: BoundDeployment, *rest: Any) -> bytes:
            if line.deployment.id == "c":
                return await scene.scripted(line, *rest)
            scene.asked.append(line.deployment.id)
            await until(lambda: len(scene.asked) == 2)
            raise server()

        scene.execute = execute
        return await scene.served()

    scene = Scene(line("a", order=1), line("b", order=2), line("c", order=3), hedge_after=SOON, num_retries=1)
    assert run(story(scene)) == "c"
    assert scene.asked == ["a", "b", "c"]
    assert scene.idle()


def test_nobody_is_hedged_to_a_deployment_that_rests_or_is_full_or_missing() -> None:
    async def story(scene: Scene, gate: asyncio.Event) -> None:
        task = asyncio.ensure_future(scene.served())
        await asyncio.sleep(SOON * 20)
        gate.set()
        assert await task == "a"
        assert scene.asked == ["a"]
        assert not scene.last.hedged

    for others in ([], [line("b", order=2, rpm=1)], [line("b", order=2)]):
        gate = asyncio.Event()
        scene = Scene(line("a", order=1), *others, hedge_after=SOON)
        scene.script("a", gate)
        if others and others[0].deployment.rpm:
            scene.health["b"].requests.append(scene.now)
        elif others:
            scene.health.cool_down("b", 60, "test")
        run(story(scene, gate))


def test_p95_hedges_only_once_enough_is_known() -> None:
    async def stuck(scene: Scene) -> bool:
        """Whether a second one is asked when the first says nothing."""
        scene.asked.clear()
        scene.script("a", asyncio.Event())
        scene.script("b", asyncio.Event())
        task = asyncio.ensure_future(scene.call())
        await asyncio.sleep(0.05)
        await leave(task)
        return scene.asked == ["a", "b"]

    scene = pair(hedge_after="p95")
    assert run(stuck(scene)) is False
    scene.health["a"].samples.extend([SOON] * 100)
    assert run(stuck(scene)) is True
