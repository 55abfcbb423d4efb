"""Which guardrails look at a call, what becomes of their verdicts, and what is left for the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.config import Config, Environment
from proxy.domain.call import Call
from proxy.domain.caller import Caller
from proxy.domain.guardrails import Stage
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.domain.transcript import Segment, Transcript
from proxy.errors import BadRequest, GuardrailUnavailable, GuardrailViolation, ProxyError, UpstreamUnavailable
from proxy.guardrails.base import ALLOW, Context, Span, Undecided, Verdict
from proxy.guardrails.engine import MAX_WAITING, GuardrailRun, Guardrails, Rule
from proxy.guardrails.moderation import ModerationSettings
from proxy.guardrails.webhook import WebhookSettings

REQUEST = SpeechRequest("tts", "abc", instructions="def", extra={"ref_text": "ghi", "seed": 1, "none": ""})


class Says:
    """Always the same, or what a function says of the text."""

    def __init__(self, verdict: Verdict | Callable[[str], Verdict], *, is_local: bool = True) -> None:
        self._verdict = verdict
        self.is_local = is_local
        self.asked: list[tuple[str, Context]] = []

    async def check(self, text: str, context: Context) -> Verdict:
        self.asked.append((text, context))
        return self._verdict(text) if callable(self._verdict) else self._verdict

    async def aclose(self) -> None:
        pass


def rule(name: str, guard: Any, *modes: str, **settings: Any) -> Rule:
    return Rule(WebhookSettings(name=name, mode=modes or ("pre_call",), url="http://guard.example", **settings), guard)


def guarded(*rules: Rule, call: Call | None = None) -> GuardrailRun:
    found = Guardrails(rules).due(call or a_call(), [one.name for one in rules])
    assert found is not None
    return found


def a_call(**caller: Any) -> Call:
    return Call("r-1", "speech", 0.0, caller=Caller(**caller), group="tts")


def run(work: Awaitable[Any]) -> Any:
    async def wait() -> Any:
        return await work

    return asyncio.run(wait())


# -- who looks ---------------------------------------------------------------------------------------------------------


def test_who_is_due() -> None:
    rules = [
        rule("always", Says(ALLOW), default_on=True),
        rule("wanted", Says(ALLOW)),
        rule("keys", Says(ALLOW)),
        rule("teams", Says(ALLOW), teams=("red",)),
    ]

    def names(call: Call, *wanted: str) -> list[str]:
        found = Guardrails(rules).due(call, wanted)
        return [] if found is None else [one.name for one in found._rules]

    assert names(a_call()) == ["always"]
    assert names(a_call(), "wanted", "always") == ["always", "wanted"]
    assert names(a_call(guardrails=("keys",), team_id="red"), "wanted") == ["always", "wanted", "keys", "teams"]
    assert names(a_call(team_id="blue")) == ["always"]


def test_nobody_is_due_where_nothing_is_asked_for() -> None:
    assert Guardrails().due(a_call()) is None
    assert Guardrails([rule("one", Says(ALLOW))]).due(a_call()) is None


@pytest.mark.parametrize("rules", [[], [rule("one", Says(ALLOW))]])
def test_a_name_that_does_not_exist(rules: list[Rule]) -> None:
    for call, wanted in ((a_call(), ("other",)), (a_call(guardrails=("other",)), ())):
        with pytest.raises(BadRequest, match="There is no guardrail 'other'") as error:
            Guardrails(rules).due(call, wanted)
        assert error.value.code == "guardrail_not_found"


# -- what becomes of it ------------------------------------------------------------------------------------------------

SPANS = (Span(0, 1, "[X]"),)


@pytest.mark.parametrize(
    ("action", "verdict", "expected"),
    [
        (None, ALLOW, "allowed"),
        ("log", Verdict(("X",), SPANS, action="block"), "logged"),
        (None, Verdict(("X",), SPANS), "blocked"),
        (None, Verdict.redact(SPANS, "X"), "redacted"),
        ("redact", Verdict(("X",), SPANS), "redacted"),
        ("redact", Verdict(("X",)), "blocked"),
        ("redact", Verdict.block("X"), "blocked"),
        ("block", Verdict.redact(SPANS, "X"), "blocked"),
        (None, Verdict.rewrite("xyz", "X"), "redacted"),
        (None, Verdict.redact((), "X"), "allowed"),
    ],
)
def test_actions(action: Any, verdict: Verdict, expected: str) -> None:
    call = a_call()
    work = guarded(rule("one", Says(verdict), action=action), call=call).check_request(REQUEST)
    if expected == "blocked":
        with pytest.raises(GuardrailViolation, match=r"^Blocked by the guardrail 'one'( \(X\))?\.$") as error:
            run(work)
        assert not error.value.retryable
    else:
        run(work)
    (result,) = call.guardrails
    assert (result.guardrail, result.stage, result.verdict) == ("one", Stage.PRE_CALL, expected)
    assert result.milliseconds >= 0


def test_all_words_of_a_request_are_one_text_and_each_is_mended() -> None:
    guard = Says(lambda text: Verdict.rewrite(text.replace("b", "[B]").replace("h", "[H]"), "X"))
    call = a_call()
    request = run(guarded(rule("one", guard), call=call).check_request(REQUEST))
    assert [text for text, _ in guard.asked] == ["abc\ndef\nref_text\nghi\nseed\nnone"]
    assert (request.input, request.instructions) == ("a[B]c", "def")
    assert request.extra == {"ref_text": "g[H]i", "seed": 1, "none": ""}
    assert call.characters == len("a[B]c")


def test_what_one_has_taken_out_the_next_does_not_see() -> None:
    second = Says(ALLOW)
    run(guarded(rule("one", Says(Verdict.redact([Span(0, 3, "#")]))), rule("two", second)).check_request(REQUEST))
    assert second.asked[0][0].startswith("#\n")


def test_a_guardrail_is_told_of_the_call_and_not_more() -> None:
    guard = Says(ALLOW)
    call = a_call(key_id="k", user_id="u", team_id="t")
    call.end_user = "e"
    run(guarded(rule("one", guard), call=call).check_request(REQUEST))
    assert guard.asked[0][1] == Context("one", Stage.PRE_CALL, "r-1", "speech", "tts", "k", "u", "t", "e")


def test_one_that_cannot_decide() -> None:
    def fails(text: str) -> Verdict:
        raise Undecided("why")

    for on_failure, expected in (("allow", None), ("block", GuardrailUnavailable)):
        call = a_call()
        work = guarded(rule("one", Says(fails), on_failure=on_failure), call=call).check_request(REQUEST)
        if expected is None:
            assert run(work) == REQUEST
        else:
            with pytest.raises(expected, match="'one' could not decide"):
                run(work)
        assert [result.verdict for result in call.guardrails] == ["failed"]


def test_one_that_takes_too_long() -> None:
    class Slow(Says):
        async def check(self, text: str, context: Context) -> Verdict:
            await asyncio.sleep(60)
            return ALLOW

    with pytest.raises(GuardrailUnavailable):
        run(guarded(rule("one", Slow(ALLOW, is_local=False), timeout=0.05)).check_request(REQUEST))


def test_a_kind_is_cut_short_and_told_once() -> None:
    call = a_call()
    with pytest.raises(GuardrailViolation):
        run(guarded(rule("one", Says(Verdict(("x" * 500, "x" * 600, "y")))), call=call).check_request(REQUEST))
    assert call.guardrails[0].found == ("x" * 64, "y")


# -- beside the call ---------------------------------------------------------------------------------------------------


class FakeCall:
    """Opens to "x", or fails."""

    def __init__(self, error: ProxyError | None = None) -> None:
        self.error = error
        self.closed = False

    async def open(self) -> str:
        if self.error is not None:
            await asyncio.sleep(0.01)
            raise self.error
        return "x"

    async def aclose(self, error: BaseException | None = None) -> None:
        self.closed = True

    async def __aenter__(self) -> str:
        return await self.open()

    async def __aexit__(self, *error: Any) -> None:
        await self.aclose()


async def opened(run: GuardrailRun, call: FakeCall) -> str:
    async with run.beside(call, REQUEST) as result:
        assert not call.closed
        return result


def test_an_answer_that_came_before_the_refusal_is_closed() -> None:
    call = FakeCall()

    class Late(Says):
        async def check(self, text: str, context: Context) -> Verdict:
            await asyncio.sleep(0.05)
            return Verdict.block()

    with pytest.raises(GuardrailViolation):
        run(opened(guarded(rule("one", Late(ALLOW), "during_call")), call))
    assert call.closed


def test_an_answer_is_closed_even_if_the_call_is_cancelled_twice() -> None:
    call = FakeCall()

    class Slow(Says):
        async def check(self, text: str, context: Context) -> Verdict:
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(60)
            return ALLOW

    async def main() -> None:
        task = asyncio.ensure_future(opened(guarded(rule("one", Slow(ALLOW), "during_call")), call))
        for _ in range(2):
            await asyncio.sleep(0.01)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert call.closed


def test_an_answer_that_is_allowed_is_closed_at_its_end() -> None:
    call = FakeCall()
    assert run(opened(guarded(rule("one", Says(ALLOW), "during_call")), call)) == "x"
    assert call.closed


def test_an_upstream_that_failed_ends_the_checks() -> None:
    ended = []

    class Endless(Says):
        async def check(self, text: str, context: Context) -> Verdict:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append(True)
            return ALLOW

    with pytest.raises(UpstreamUnavailable):
        run(opened(guarded(rule("one", Endless(ALLOW), "during_call")), FakeCall(UpstreamUnavailable("no"))))
    assert ended == [True]


# -- transcripts -------------------------------------------------------------------------------------------------------


def test_those_that_ask_others_see_a_text_once() -> None:
    local, remote = Says(ALLOW), Says(ALLOW, is_local=False)
    same = Transcript("One. Two.", segments=(Segment(0, 0, 1, " one"), Segment(1, 1, 2, "two")))
    rules = (rule("local", local, "post_call"), rule("remote", remote, "post_call"))
    run(guarded(*rules)._check_transcript(same))
    assert [text for text, _ in local.asked] == ["One. Two.", " one two"]
    assert [text for text, _ in remote.asked] == ["One. Two."]
    run(guarded(*rules)._check_transcript(Transcript("One.", segments=same.segments)))
    assert [text for text, _ in remote.asked[1:]] == ["One.", " one two"]


def test_what_is_said_of_several_texts_is_one_record_with_the_worst() -> None:
    guard = Says(lambda text: Verdict.redact([Span(0, 3, "#")], "X") if text.startswith("One") else ALLOW)
    call = a_call()
    run(guarded(rule("one", guard, "post_call"), call=call)._check_transcript(
        Transcript("One two", segments=(Segment(0, 0, 1, " One two"),))
    ))  # fmt: skip
    assert [(result.verdict, result.found) for result in call.guardrails] == [("redacted", ("X",))]


# -- off the way -------------------------------------------------------------------------------------------------------


def test_what_is_only_for_the_log_is_bounded() -> None:
    class Stuck(Says):
        async def check(self, text: str, context: Context) -> Verdict:
            self.asked.append((text, context))
            await asyncio.sleep(60)
            return ALLOW

    guard = Stuck(ALLOW)
    guardrails = Guardrails([rule("one", guard, "logging_only", timeout=60)])

    async def body() -> None:
        for _ in range(MAX_WAITING + 3):
            found = guardrails.due(a_call(), ["one"])
            assert found is not None
            assert await found.check_request(REQUEST) is REQUEST
        await asyncio.sleep(0)
        assert len(guard.asked) == MAX_WAITING
        await guardrails.aclose()

    asyncio.run(body())
    assert guardrails.dropped == 3


def test_what_is_skipped_is_named() -> None:
    def skipped(request: SpeechRequest | TranscriptionRequest, *modes: str) -> tuple[str, ...]:
        call = a_call()
        run(guarded(rule("one", Says(ALLOW), *modes), call=call).check_request(request))
        return call.guardrails_skipped

    silent = TranscriptionRequest("whisper", SimpleNamespace(filename="a.wav", content_type="audio/wav"))  # type: ignore[arg-type]
    assert skipped(REQUEST, "post_call") == ("one",)
    assert skipped(REQUEST, "post_call", "pre_call") == ()
    assert skipped(silent, "pre_call", "during_call") == ("one",)
    assert skipped(silent, "post_call") == ()
    assert skipped(silent, "logging_only") == ()


def test_moderation_needs_a_key_where_it_asks_openai() -> None:
    def problems(environ: dict[str, str], **settings: Any) -> list[str]:
        moderation = ModerationSettings(name="m", mode=("pre_call",), **settings)
        return list(moderation.problems(Config(path="c", deployments=(), environment=Environment(environ))))

    assert problems({}) == ["'api_key' is missing in litellm_params, and $OPENAI_API_KEY is not set"]
    assert problems({"OPENAI_API_KEY": "sk-x"}) == problems({}, api_key="sk-y") == []
    assert problems({}, api_base="http://localhost:1/v1") == []


def test_the_errors_are_what_clients_expect() -> None:
    violation: ProxyError = GuardrailViolation("x")
    assert (violation.status, violation.type, violation.code) == (400, "invalid_request_error", "guardrail_violation")
    away: ProxyError = GuardrailUnavailable("x")
    assert (away.status, away.code, away.retryable, away.retry_after) == (503, "guardrail_unavailable", False, 1.0)
