"""The steps of one call, from top to bottom. Each step is defined in the layers below."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import chain
from time import perf_counter

from proxy.attempts import AttemptRunner, ListedVoice, VoiceLists
from proxy.domain.call import Call
from proxy.domain.caller import EVERYBODY, Caller
from proxy.domain.requests import NO_OPTIONS, CallOptions, Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import SpeechResult, TranscriptionResult
from proxy.guardrails.engine import GuardrailRun, Guardrails
from proxy.matching import (
    Needs,
    Rejection,
    SpeechPlan,
    TranscriptionPlan,
    length_matters,
    match_speech,
    match_transcription,
    serves,
    unreadable,
)
from proxy.routing.groups import Deployments, ModelGroups
from proxy.routing.router import Router
from proxy.translators.stage import translated


class Gateway:
    def __init__(
        self, groups: ModelGroups, router: Router, runner: AttemptRunner, guardrails: Guardrails | None = None
    ) -> None:
        self.groups = groups
        self._router = router
        self._runner = runner
        self._guardrails = guardrails or Guardrails()
        self._voices = VoiceLists(runner.voices)

    def speech(
        self, request: SpeechRequest, call: Call, options: CallOptions = NO_OPTIONS
    ) -> AbstractAsyncContextManager[SpeechResult]:
        """``async with`` gives the result. Raises errors about the model at once."""
        candidates = self.groups.candidates(request.model, Mode.SPEECH, call, options)
        if request.model != call.group:
            request = replace(request, model=call.group)
        guardrails = self._guardrails.due(call, request.guardrails, options.guardrails)
        if guardrails is None:
            plans = _speech_plans(request, candidates)
            if _lacks_voice(plans[call.group]):
                return self._speech_after_listing(candidates, request, call, options)
            return self._router.route(plans, call, options)
        return self._guarded_speech(guardrails, candidates, request, call, options)

    @asynccontextmanager
    async def _speech_after_listing(
        self, candidates: Deployments, request: SpeechRequest, call: Call, options: CallOptions
    ) -> AsyncIterator[SpeechResult]:
        plans = await self._listed_speech_plans(request, candidates, call)
        async with self._router.route(plans, call, options) as result:
            yield result

    async def _listed_speech_plans(
        self, request: SpeechRequest, candidates: Deployments, call: Call
    ) -> Mapping[str, Sequence[SpeechPlan | Rejection]]:
        """If nothing in the group knows the voice, its vendors are asked for their public voices first."""
        plans = _speech_plans(request, candidates)
        if not _lacks_voice(plans[call.group]):
            return plans
        await self._voices.learn(candidates[call.group])
        return _speech_plans(request, candidates)

    @asynccontextmanager
    async def _guarded_speech(
        self,
        guardrails: GuardrailRun,
        candidates: Deployments,
        request: SpeechRequest,
        call: Call,
        options: CallOptions,
    ) -> AsyncIterator[SpeechResult]:
        plans = await self._listed_speech_plans(request, candidates, call)
        if any(isinstance(plan, SpeechPlan) for some in plans.values() for plan in some):
            self._warm(plans[call.group])
            checked = await guardrails.check_request(request)
            if checked is not request:
                request, plans = checked, await self._listed_speech_plans(checked, candidates, call)
        # Otherwise nothing is sent, and nothing is worth checking: an input that is too long costs nobody's time.
        routed = self._router.route(plans, call, options)
        async with guardrails.beside(routed, request) as result:
            yield result

    @asynccontextmanager
    async def transcription(
        self, request: TranscriptionRequest, call: Call, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[TranscriptionResult]:
        guardrails = self._guardrails.due(call, request.guardrails, options.guardrails)
        candidates = self.groups.candidates(request.model, request.mode, call, options)
        is_read = guardrails is not None and guardrails.reads_transcripts
        if is_read and (error := unreadable(request)) is not None:
            raise error
        if guardrails is not None:
            request = await guardrails.check_request(request)
        if length_matters(chain(*candidates.values()), request):
            request = replace(request, seconds=await self._runner.seconds_of(request.file))
        translator = self.groups.translator if request.task == "translate" else _none
        plans = {
            name: [match_transcription(request, bound, Needs(is_read, translator(bound))) for bound in some]
            for name, some in candidates.items()
        }
        started = perf_counter()
        routed = self._router.route(plans, call, options)
        async with routed if guardrails is None else guardrails.beside(routed, request) as result:
            plan = routed.plan
            if isinstance(plan, TranscriptionPlan) and plan.translator is not None:
                seconds = (options.timeout or plan.bound.deployment.timeout) - (perf_counter() - started)
                left = replace(options, timeout=seconds)
                translators = self.groups.translators(plan.translator, left)
                result = await translated(result, translators, self._router.route, request.prompt, call, left)
            if guardrails is not None and is_read:
                result = await guardrails.check_result(result)
            yield result

    def _warm(self, plans: Sequence[SpeechPlan | Rejection]) -> None:
        """If only one deployment is in question and it is behind a socket, open that while guardrails check."""
        if len(plans) == 1 and isinstance(plan := plans[0], SpeechPlan) and plan.bound.adapter.over_socket:
            self._runner.warm(plan)

    async def voices(self, model: str | None, caller: Caller = EVERYBODY) -> list[ListedVoice]:
        """The voices that the caller may name for a model, or for any model if it is None. Raises ModelNotFound."""
        groups = self.groups.one_or_all(model, caller)
        return await self._voices.of(bound for group in groups for bound in group if serves(bound, Mode.SPEECH))


def _none(_: object) -> None:
    """No chat model translates."""


def _lacks_voice(plans: Sequence[SpeechPlan | Rejection]) -> bool:
    """Whether nothing in a group can speak, and something only because it does not know the voice."""
    lacks = False
    for plan in plans:
        if not isinstance(plan, Rejection):
            return False
        lacks = lacks or plan.error.param == "voice"
    return lacks


def _speech_plans(request: SpeechRequest, candidates: Deployments) -> Mapping[str, Sequence[SpeechPlan | Rejection]]:
    return {name: [match_speech(request, bound) for bound in some] for name, some in candidates.items()}
