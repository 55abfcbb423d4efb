"""Which guardrails check a call, and what follows from their verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

import structlog

from proxy.audio.labels import anonymous
from proxy.domain.call import Call
from proxy.domain.guardrails import GuardrailResult, Stage
from proxy.domain.requests import SpeechRequest, TranscriptionRequest
from proxy.domain.results import ForeignDocument, RawDocument, RawEvents, TranscriptEvents, TranscriptionResult
from proxy.domain.transcript import Transcript
from proxy.errors import BadRequest, GuardrailUnavailable, GuardrailViolation
from proxy.guardrails.base import ALLOW, Action, Context, Guard, Span, Undecided, Verdict
from proxy.guardrails.events import checked_events
from proxy.guardrails.redaction import TEXT, JoinedText, changes, readings, redacted
from proxy.guardrails.settings import GuardrailSettings
from proxy.guardrails.words import Request, with_words, words_of
from proxy.tasks import cancel_all

R_co = TypeVar("R_co", covariant=True)

#: Texts that may wait for guardrails of ``logging_only``. Further ones are dropped, which is logged.
MAX_WAITING: Final = 256
MAX_NAMED: Final = 32
_BY_WEIGHT: Final = ("allowed", "logged", "redacted", "failed", "blocked")


@dataclass(frozen=True, slots=True)
class Rule:
    """A guardrail: its settings, and its implementation."""

    settings: GuardrailSettings
    guard: Guard

    @property
    def name(self) -> str:
        return self.settings.name


class Guardrails:
    """All guardrails of a configuration, in its order."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = {rule.name: rule for rule in rules}
        self._defaults = frozenset(rule.name for rule in rules if rule.settings.default_on)
        self._teams = {team: None for rule in rules for team in rule.settings.teams}
        self._log = structlog.get_logger()
        self._afterwards: set[asyncio.Task[None]] = set()
        #: Texts that were not checked, since too many were waiting.
        self.dropped = 0

    @property
    def names(self) -> list[str]:
        return list(self._rules)

    def due(self, call: Call, requested: Sequence[str] = (), also_requested: Sequence[str] = ()) -> GuardrailRun | None:
        """The guardrails that check this call; None if there are none. Raises BadRequest for an unknown name."""
        caller = call.caller
        if not (self._defaults or requested or also_requested or caller.guardrails or self._teams):
            return None
        named = {*requested, *also_requested, *caller.guardrails}
        if unknown := sorted(named - self._rules.keys()):
            raise BadRequest(self._unknown(unknown), param="guardrails", code="guardrail_not_found")
        rules = [
            rule
            for name, rule in self._rules.items()
            if name in named or name in self._defaults or caller.team_id in rule.settings.teams
        ]
        return GuardrailRun(self, rules, call) if rules else None

    def _unknown(self, names: Sequence[str]) -> str:
        known = ", ".join(f"'{name}'" for name in list(self._rules)[:MAX_NAMED])
        hint = f"Available guardrails: {known}." if known else "No guardrails are configured."
        return f"There is no guardrail '{names[0][:128]}'. {hint}"

    async def check(self, rule: Rule, text: str, stage: Stage, call: Call) -> tuple[Verdict, GuardrailResult]:
        """One guardrail's verdict on one text, with the action that follows from it and the configuration."""
        caller, started = call.caller, perf_counter()
        context = Context(
            rule.name, stage, call.request_id, call.endpoint, call.group,
            caller.key_id, caller.user_id, caller.team_id, call.end_user,
        )  # fmt: skip
        try:
            async with asyncio.timeout(rule.settings.timeout):
                verdict = await rule.guard.check(text, context)
        except (Undecided, TimeoutError) as error:
            reason = str(error) or "it took too long"
            self._log.warning(
                "guardrail could not decide", guardrail=rule.name, request_id=call.request_id, reason=reason
            )
            return ALLOW, _result(rule, stage, "failed", started)
        action = _action(rule.settings, verdict, stage)
        found = tuple(dict.fromkeys(label[:64] for label in verdict.found[:8]))
        return replace(verdict, action=action), _result(rule, stage, _VERDICTS[action], started, found)

    def in_background(self, checking: Coroutine[Any, Any, None]) -> None:
        """Runs the checks in a task that the call does not wait for."""
        if len(self._afterwards) >= MAX_WAITING:
            checking.close()
            self.dropped += 1
            self._log.warning("too many texts are waiting for guardrails of logging_only", dropped=self.dropped)
            return
        task = asyncio.ensure_future(checking)
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)

    async def log_findings(self, rules: Iterable[Rule], text: str, call: Call) -> None:
        """Writes what guardrails of ``logging_only`` find to the log."""
        for rule in rules:
            verdict, result = await self.check(rule, text, Stage.LOGGING_ONLY, call)
            if verdict.found:
                self._log.info(
                    "guardrail found something",
                    guardrail=rule.name,
                    request_id=call.request_id,
                    found=list(result.found),
                    milliseconds=result.milliseconds,
                )

    async def aclose(self) -> None:
        await cancel_all(self._afterwards)
        for rule in self._rules.values():
            await rule.guard.aclose()


_VERDICTS: Final[Mapping[Action | None, str]] = {
    None: "allowed",
    "log": "logged",
    "redact": "redacted",
    "block": "blocked",
}


def _result(rule: Rule, stage: Stage, verdict: str, started: float, found: tuple[str, ...] = ()) -> GuardrailResult:
    return GuardrailResult(rule.name, stage, verdict, round((perf_counter() - started) * 1000, 3), found, started)


def _action(settings: GuardrailSettings, verdict: Verdict, stage: Stage) -> Action | None:
    """None if nothing was found; block if the settings or the verdict say so, or if nothing else is possible."""
    if not verdict.found:
        return None
    if settings.action == "log":
        return "log"
    actions = {settings.action, verdict.action} - {None}
    can_redact = (bool(verdict.spans) or verdict.text is not None) and stage != Stage.DURING_CALL
    return "redact" if actions == {"redact"} and can_redact else "block"


class Opening(Protocol[R_co]):
    """A call that can be opened before its result is needed. It is also a context manager that returns the result."""

    async def open(self) -> R_co: ...

    async def aclose(self, error: BaseException | None = None) -> None: ...

    async def __aenter__(self) -> R_co: ...

    async def __aexit__(self, *error: Any) -> None: ...


class GuardrailRun:
    """The guardrails of one call, at each stage. Raises GuardrailViolation or GuardrailUnavailable."""

    def __init__(self, guardrails: Guardrails, rules: Sequence[Rule], call: Call) -> None:
        self._all = guardrails
        self._rules = rules
        self._call = call

    # -- the request ---------------------------------------------------------------------------------------------------

    async def check_request(self, request: Request) -> Request:
        """``pre_call``: the request as it may be sent to a vendor."""
        if isinstance(request, TranscriptionRequest) and (self._of(Stage.PRE_CALL) or self._of(Stage.DURING_CALL)):
            file = request.file
            file.filename, file.content_type = anonymous(file.filename, file.content_type)
        joined = original = _joined(request)
        self._note_skipped(request, original.text)
        for rule in self._of(Stage.PRE_CALL) if original.text else ():
            verdict = await self._check(rule, joined.text, Stage.PRE_CALL)
            if verdict.action == "redact":
                request = with_words(request, joined.without(_spans(verdict, joined.text)))
                joined = _joined(request)
        if isinstance(request, SpeechRequest):
            self._call.characters = len(request.input)
        self._log_later(original.text)
        return request

    def beside(
        self, call: Opening[R_co], request: SpeechRequest | TranscriptionRequest
    ) -> AbstractAsyncContextManager[R_co]:
        """``during_call``: the result of the call, once the guardrails have allowed the words of its request."""
        rules, text = self._of(Stage.DURING_CALL), _joined(request).text
        return self._checked_beside(call, rules, text) if rules and text else call

    @asynccontextmanager
    async def _checked_beside(self, call: Opening[R_co], rules: Sequence[Rule], text: str) -> AsyncIterator[R_co]:
        opening: asyncio.Future[Any] = asyncio.ensure_future(call.open())
        checks: list[asyncio.Future[Any]] = [
            asyncio.ensure_future(self._check(rule, text, Stage.DURING_CALL)) for rule in rules
        ]
        try:
            await _all_or_first_failure([opening, *checks])
        except BaseException:
            try:
                await cancel_all([opening, *checks])
            finally:
                await call.aclose()
            raise
        try:
            yield opening.result()
        except BaseException as error:
            await call.aclose(error)
            raise
        await call.aclose()

    # -- the result ----------------------------------------------------------------------------------------------------

    @property
    def reads_transcripts(self) -> bool:
        """Whether a guardrail checks the transcript, so that the proxy has to read it."""
        return bool(self._of(Stage.POST_CALL) or self._of(Stage.LOGGING_ONLY))

    async def check_result(self, result: TranscriptionResult) -> TranscriptionResult:
        """``post_call``: the transcript as the caller may see it. Of a stream, the first event has been checked."""
        content = result.content
        if isinstance(content, RawDocument | ForeignDocument | RawEvents):
            raise TypeError("guardrails read transcripts; this one was not read")
        if isinstance(content, TranscriptEvents):
            check = self._check_transcript if self._of(Stage.POST_CALL) else None
            events = checked_events(content, check, self._log_later)
            first = await anext(events, None)
            return replace(result, content=TranscriptEvents(() if first is None else (first,), events))
        transcript = await self._check_transcript(content)
        self._log_later(content.text)
        return replace(result, content=transcript)

    async def _check_transcript(self, transcript: Transcript) -> Transcript:
        for rule in self._of(Stage.POST_CALL):
            transcript = await self._check_all_texts(rule, transcript)
        return transcript

    async def _check_all_texts(self, rule: Rule, transcript: Transcript) -> Transcript:
        """Checks every reading, since one may show what another one hides."""
        found: dict[str, Sequence[Span]] = {}
        all_readings = readings(transcript)
        for name, reading in all_readings.items():
            if not reading.text.strip():
                continue
            if name != TEXT and not rule.guard.is_local and reading.has_letters_of(all_readings[TEXT]):
                continue
            verdict = await self._check(rule, reading.text, Stage.POST_CALL)
            if verdict.action == "redact":
                found[name] = _spans(verdict, reading.text)
        return redacted(transcript, found)

    # -- what all stages share -----------------------------------------------------------------------------------------

    def _of(self, stage: Stage) -> list[Rule]:
        return [rule for rule in self._rules if stage in rule.settings.mode]

    async def _check(self, rule: Rule, text: str, stage: Stage) -> Verdict:
        verdict, result = await self._all.check(rule, text, stage, self._call)
        self._record(result)
        if result.verdict == "failed" and rule.settings.on_failure == "block":
            raise GuardrailUnavailable(f"The guardrail '{rule.name}' could not decide. Please try again.")
        if result.verdict == "blocked":
            kinds = f" ({', '.join(result.found)})" if result.found else ""
            raise GuardrailViolation(f"Blocked by the guardrail '{rule.name}'{kinds}.")
        return verdict

    def _record(self, result: GuardrailResult) -> None:
        """One entry for each guardrail and stage, however many texts it checked: the worst verdict."""
        others = []
        for other in self._call.guardrails:
            if (other.guardrail, other.stage) == (result.guardrail, result.stage):
                result = GuardrailResult(
                    result.guardrail,
                    result.stage,
                    max(result.verdict, other.verdict, key=_BY_WEIGHT.index),
                    round(result.milliseconds + other.milliseconds, 3),
                    tuple(dict.fromkeys((*other.found, *result.found))),
                    other.started,
                )
            else:
                others.append(other)
        self._call.guardrails = (*others, result)

    def _note_skipped(self, request: SpeechRequest | TranscriptionRequest, words: str) -> None:
        """Name the guardrails that have nothing to check in this call."""
        stages = {Stage.LOGGING_ONLY}
        stages |= {Stage.PRE_CALL, Stage.DURING_CALL} if words else set()
        stages |= {Stage.POST_CALL} if isinstance(request, TranscriptionRequest) else set()
        self._call.guardrails_skipped = tuple(
            rule.name for rule in self._rules if not stages.intersection(rule.settings.mode)
        )

    def _log_later(self, text: str) -> None:
        rules = self._of(Stage.LOGGING_ONLY)
        if rules and text:
            self._all.in_background(self._all.log_findings(rules, text, self._call))


def _joined(request: SpeechRequest | TranscriptionRequest) -> JoinedText:
    """All texts of a request, each on separate lines."""
    return JoinedText(words_of(request), "\n")


def _spans(verdict: Verdict, text: str) -> list[Span]:
    if verdict.text is not None:
        return changes(text, verdict.text)
    return [span for span in verdict.spans if 0 <= span.start < span.end <= len(text)]


async def _all_or_first_failure(futures: Sequence[asyncio.Future[Any]]) -> None:
    """Raises the first failure."""
    pending = set(futures)
    while pending:
        done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
        for future in done:
            future.result()
