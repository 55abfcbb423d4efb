"""The way of one call, readable from top to bottom. What each step means is defined in the layers below."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from difflib import get_close_matches
from time import perf_counter
from types import MappingProxyType

from proxy.attempts import AttemptRunner, ListedVoice, VoiceLists
from proxy.domain.call import Call
from proxy.domain.caller import EVERYBODY, Caller
from proxy.domain.requests import NO_OPTIONS, CallOptions, Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import SpeechResult, TranscriptionResult
from proxy.domain.transcript import Transcript
from proxy.errors import BadRequest, ModelNotFound, UpstreamTimeout
from proxy.guardrails.engine import Guardrails
from proxy.matching import (
    BoundDeployment,
    Needs,
    Rejection,
    SpeechPlan,
    TextTranslationPlan,
    TranscriptionPlan,
    file_limit,
    length_matters,
    match_speech,
    match_transcription,
    serves,
    translates,
    unreadable,
)
from proxy.routing.router import Router
from proxy.translators.english import in_english

ENDPOINTS = {Mode.SPEECH: "speech", Mode.TRANSCRIPTION: "transcription", Mode.TRANSLATION: "translation"}

#: Deployments by model group: the one that was requested, then its fallbacks.
Groups = Mapping[str, Sequence[BoundDeployment]]


class Gateway:
    """The model groups and the way to their vendors. ``aliases`` are further names of groups.

    ``translators`` are groups of chat models; ``translation_model`` is the one for deployments that name none.
    """

    def __init__(
        self,
        groups: Groups,
        router: Router,
        runner: AttemptRunner,
        aliases: Mapping[str, str],
        translators: Groups = MappingProxyType({}),
        translation_model: str | None = None,
        guardrails: Guardrails | None = None,
    ) -> None:
        self.groups = groups
        self._router = router
        self._runner = runner
        self._aliases = aliases
        self._translators = translators
        self._translation_model = translation_model
        self._guardrails = guardrails or Guardrails()
        self._voices = VoiceLists(runner.voices)
        #: The deployments of a model's groups by name, mode and the option of no fallback: computed once.
        self._chains: dict[tuple[str, Mode, bool], Groups] = {}

    # -- one call ------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def speech(
        self, request: SpeechRequest, call: Call, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[SpeechResult]:
        groups = self._candidates(request.model, Mode.SPEECH, call, options)
        if request.model != call.group:
            request = replace(request, model=call.group)
        guardrails = self._guardrails.due(call, request.guardrails, options.guardrails)
        if guardrails is None:
            async with self._router.route(_speech_plans(groups, request), call, options) as result:
                yield result
            return
        self._warm(groups, request)
        request = await guardrails.check_request(request)
        routed = self._router.route(_speech_plans(groups, request), call, options)
        async with guardrails.beside(routed, request) as result:
            yield result

    @asynccontextmanager
    async def transcription(
        self, request: TranscriptionRequest, call: Call, options: CallOptions = NO_OPTIONS
    ) -> AsyncIterator[TranscriptionResult]:
        guardrails = self._guardrails.due(call, request.guardrails, options.guardrails)
        groups = self._candidates(request.model, request.mode, call, options)
        is_read = guardrails is not None and guardrails.reads_transcripts
        if is_read and (error := unreadable(request)) is not None:
            raise error
        if guardrails is not None:
            request = await guardrails.check_request(request)
        request = await self._measured(request, groups)
        plans = {
            name: [match_transcription(request, bound, self._needs(bound, request, is_read=is_read)) for bound in some]
            for name, some in groups.items()
        }
        started = perf_counter()
        routed = self._router.route(plans, call, options)
        async with routed if guardrails is None else guardrails.beside(routed, request) as result:
            plan = routed.plan
            if isinstance(plan, TranscriptionPlan) and plan.translator is not None:
                seconds = (options.timeout or plan.bound.deployment.timeout) - (perf_counter() - started)
                left = replace(options, timeout=seconds)
                result = await self._translated(result, plan.translator, request, call, left)
            if guardrails is not None and is_read:
                result = await guardrails.check_result(result)
            yield result

    def _warm(self, groups: Groups, request: SpeechRequest) -> None:
        """If only one deployment comes into question, its socket is opened while guardrails check the request."""
        (first, *_) = groups.values()
        if len(first) == 1 and isinstance(plan := match_speech(request, first[0]), SpeechPlan):
            self._runner.warm(plan)

    async def _measured(self, request: TranscriptionRequest, groups: Groups) -> TranscriptionRequest:
        """With the length of the audio, if that may decide which deployment serves it."""
        if not length_matters(groups.values(), request):
            return request
        return replace(request, seconds=await self._runner.seconds_of(request.file))

    def _needs(self, bound: BoundDeployment, request: TranscriptionRequest, *, is_read: bool) -> Needs:
        translator = self._translator(bound) if request.task == "translate" else None
        return Needs(reading=is_read, translator=translator)

    async def _translated(
        self,
        result: TranscriptionResult,
        translator: str,
        request: TranscriptionRequest,
        call: Call,
        options: CallOptions,
    ) -> TranscriptionResult:
        """The transcript in English, by a chat model; ``options`` hold the seconds that are left."""
        names = self._names(translator, options)
        groups = {name: self._translators[name] for name in names if name in self._translators}
        # The attempts are the call's; which deployment served it is not for the translator to say.
        inner = Call(call.request_id, call.endpoint, call.started, attempts=call.attempts)

        async def translate(texts: Sequence[str]) -> Sequence[str]:
            if options.timeout is not None and options.timeout <= 0:
                raise UpstreamTimeout("There was no time left to translate the transcript.")
            plans = {
                name: [TextTranslationPlan(bound, texts, request.prompt) for bound in some]
                for name, some in groups.items()
            }
            async with self._router.route(plans, inner, options) as translated:
                return translated.texts

        assert isinstance(result.content, Transcript)  # noqa: S101
        return replace(result, content=await in_english(result.content, translate))

    # -- what there is -------------------------------------------------------------------------------------------------

    async def voices(self, model: str | None, caller: Caller = EVERYBODY) -> list[ListedVoice]:
        """What the caller may name as the voice of a model, or of any. Raises ModelNotFound."""
        visible, name = self.visible(caller), self._aliases.get(model, model) if model is not None else None
        if name is not None and name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        groups = visible.values() if name is None else [visible[name]]
        return await self._voices.of(bound for group in groups for bound in group if serves(bound, Mode.SPEECH))

    def visible(self, caller: Caller) -> Groups:
        """The groups that the caller may use."""
        if not caller.models:
            return self.groups
        allowed = {self._aliases.get(name, name) for name in caller.models}
        return {name: deployments for name, deployments in self.groups.items() if name in allowed}

    def file_limit(
        self, model: str | None, options: CallOptions = NO_OPTIONS, caller: Caller = EVERYBODY
    ) -> float | None:
        """MB that an upload for this model, or its fallbacks, may have. None: no limit.

        While the model is not known, it is the highest limit of all models. Raises ModelNotFound.
        """
        visible, name = self.visible(caller), self._aliases.get(model, model) if model is not None else None
        if name is not None and name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        names = list(visible) if name is None else self._names(name, options)
        groups = [visible[name] for name in names if name in visible]
        limits = [file_limit(bound) for group in groups for bound in group if bound.deployment.mode != Mode.SPEECH]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) and known else None

    def _translator(self, bound: BoundDeployment) -> str | None:
        """The chat group that translates for a deployment; None if it translates by itself, or nothing does."""
        own = bound.deployment.translation_model
        name = own if own is not None or translates(bound) else self._translation_model
        return self._aliases.get(name, name) if name is not None else None

    def _candidates(self, model: str, mode: Mode, call: Call, options: CallOptions) -> Groups:
        """The deployments that serve the mode, of the model's group and then of its fallbacks."""
        name, visible = self._aliases.get(model, model), self.visible(call.caller)
        if name not in visible:
            raise ModelNotFound(unknown_model(model, [name for name in visible if self._serving(name, mode)]))
        call.group = call.asked = name
        key = (name, mode, options.no_fallback)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = {group: self._serving(group, mode) for group in self._names(name, options)}
        if not chain[name]:
            raise self._cannot_serve(model, name, mode, visible)
        if visible is self.groups:
            return chain
        return {group: deployments for group, deployments in chain.items() if group in visible}

    def _cannot_serve(self, model: str, name: str, mode: Mode, visible: Groups) -> BadRequest:
        if mode == Mode.TRANSLATION and self._serving(name, Mode.TRANSCRIPTION):
            return BadRequest(
                f"The model '{model}' only transcribes. It translates if translation_model (in its litellm_params, "
                "or in general_settings) names a model group of mode chat.",
                param="model",
            )
        able = ", ".join(repr(name) for name in visible if self._serving(name, mode)) or "none"
        return BadRequest(
            f"The model '{model}' does not serve {ENDPOINTS[mode]}. Models that do: {able}.", param="model"
        )

    def _names(self, name: str, options: CallOptions) -> list[str]:
        """The group and its fallbacks, which may be named by aliases."""
        return [self._aliases.get(group, group) for group in self._router.groups(name, options)]

    def _serving(self, model: str, mode: Mode) -> list[BoundDeployment]:
        return [
            bound
            for bound in self.groups.get(model, ())
            if serves(bound, mode) or self._can_transcribe_for(bound, mode)
        ]

    def _can_transcribe_for(self, bound: BoundDeployment, mode: Mode) -> bool:
        """Whether it transcribes what a chat model then translates."""
        is_translation = bound.deployment.mode == Mode.TRANSCRIPTION and mode == Mode.TRANSLATION
        return is_translation and self._translator(bound) is not None


def _speech_plans(groups: Groups, request: SpeechRequest) -> Mapping[str, Sequence[SpeechPlan | Rejection]]:
    return {name: [match_speech(request, bound) for bound in deployments] for name, deployments in groups.items()}


def unknown_model(model: str, available: Sequence[str]) -> str:
    by_lower_case = {name.lower(): name for name in available}
    nearest = get_close_matches(model[:100].lower().rpartition("/")[2], by_lower_case, n=1, cutoff=0.5)
    hint = f" Did you mean '{by_lower_case[nearest[0]]}'?" if nearest else ""
    names = ", ".join(f"'{name}'" for name in sorted(available)[:20]) or "none"
    return f"The model '{model[:100]}' does not exist or you do not have access to it.{hint} Available here: {names}."
