"""The order of decisions for one call, readable from top to bottom. What each decision means lies below."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from time import perf_counter
from types import MappingProxyType
from typing import TypeVar

from proxy.calls import Answer, AttemptRunner, BoundDeployment, Heard, Named, Part, Translated, VoiceLists, translation
from proxy.domain.call import Attempt, Call
from proxy.domain.caller import EVERYBODY, Caller
from proxy.domain.requests import NO_OPTIONS, CallOptions, Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.transcript import Transcript
from proxy.errors import BadRequest, ModelNotFound, ProxyError, UpstreamTimeout
from proxy.guardrails.engine import GuardrailRun, Guardrails
from proxy.routing import fitness
from proxy.routing.router import Router

A = TypeVar("A")
B = TypeVar("B")

#: Batches of one transcript that are translated at the same time.
BATCHES = 4
ENDPOINTS = {Mode.SPEECH: "speech", Mode.TRANSCRIPTION: "transcription", Mode.TRANSLATION: "translation"}


class Gateway:
    """The model groups and the way to their vendors. ``aliases`` are further names of groups.

    ``translators`` are groups of chat models; ``translation_model`` names the one for deployments that name none.
    """

    def __init__(
        self,
        groups: Mapping[str, Sequence[BoundDeployment]],
        router: Router,
        calls: AttemptRunner,
        aliases: Mapping[str, str],
        translators: Mapping[str, Sequence[BoundDeployment]] = MappingProxyType({}),
        translation_model: str | None = None,
        guardrails: Guardrails | None = None,
    ) -> None:
        self.groups = groups
        self._router = router
        self._calls = calls
        self._aliases = aliases
        self._translators = translators
        self._translation_model = translation_model
        self._guardrails = guardrails or Guardrails()
        self._voices = VoiceLists(calls.voices)
        #: The deployments of a model's groups by name, mode and the wish for no fallback: found once.
        self._chains: dict[tuple[str, Mode, bool], Mapping[str, Sequence[BoundDeployment]]] = {}

    def speech(self, request: SpeechRequest, call: Call, options: CallOptions = NO_OPTIONS) -> Awaitable[Answer]:
        chain = self._chain(request.model, Mode.SPEECH, call, options)
        request = request if request.model == call.group else replace(request, model=call.group)
        self._warm(chain[call.group], request)
        guarded = self._guardrails.due(call, request.guardrails, options.guardrails)
        if guarded is not None:
            return self._guarded_speech(guarded, chain, request, call, options)
        return self._spoken(chain, request, call, options)

    def transcription(
        self, request: TranscriptionRequest, call: Call, options: CallOptions = NO_OPTIONS
    ) -> Awaitable[Answer]:
        guarded = self._guardrails.due(call, request.guardrails, options.guardrails)
        if guarded is not None:
            return self._guarded_transcription(guarded, request, call, options)
        return self._heard(request, call, options)

    async def _guarded_speech(
        self,
        guarded: GuardrailRun,
        chain: Mapping[str, Sequence[BoundDeployment]],
        request: SpeechRequest,
        call: Call,
        options: CallOptions,
    ) -> Answer:
        request = await guarded.before(request)
        return await guarded.beside(request, self._spoken(chain, request, call, options))

    async def _guarded_transcription(
        self, guarded: GuardrailRun, request: TranscriptionRequest, call: Call, options: CallOptions
    ) -> Answer:
        self._chain(request.model, request.mode, call, options)  # a model that does not exist is told first
        to_read = guarded.reads_transcripts
        if to_read:
            fitness.check_readable(request)
        request = await guarded.before(request)
        answer = await guarded.beside(request, self._heard(request, call, options, to_read=to_read))
        return await guarded.after(request, answer) if to_read else answer

    def _spoken(
        self, chain: Mapping[str, Sequence[BoundDeployment]], request: SpeechRequest, call: Call, options: CallOptions
    ) -> Awaitable[Answer]:
        def ask(line: BoundDeployment, attempt: Attempt, left: float | None) -> Awaitable[Answer]:
            return self._calls.speech(line, request, attempt, left)

        return self._router.run(chain, lambda line: fitness.speech(line, request), ask, call, options)

    def _heard(
        self, request: TranscriptionRequest, call: Call, options: CallOptions, *, to_read: bool = False
    ) -> Awaitable[Answer]:
        """``to_read``: the answer is `Heard`, or a stream of events, whatever format the caller wants."""
        hear = self._translation if request.task == "translate" else self._transcription
        return hear(request, call, options, to_read=to_read)

    async def _transcription(
        self, request: TranscriptionRequest, call: Call, options: CallOptions, *, to_read: bool
    ) -> Answer:
        chain = self._chain(request.model, request.mode, call, options)
        if fitness.length_matters(chain, request):
            request = replace(request, seconds=await self._calls.seconds_of(request.file))

        def ask(line: BoundDeployment, attempt: Attempt, left: float | None) -> Awaitable[Answer]:
            return self._asked(line, request, attempt, left, to_read=to_read)

        return await self._router.run(chain, lambda line: fitness.transcription(line, request), ask, call, options)

    def _asked(
        self,
        line: BoundDeployment,
        request: TranscriptionRequest,
        attempt: Attempt,
        left: float | None,
        *,
        to_read: bool,
    ) -> Awaitable[Answer]:
        if to_read and not fitness.streams_readably(request):
            return self._calls.transcript(line, fitness.to_read(line, request), attempt, left)
        return self._calls.transcription(line, request, attempt, left)

    def _warm(self, lines: Sequence[BoundDeployment], request: SpeechRequest) -> None:
        """Where one deployment only is in question, its socket is opened beside the work that is before the call."""
        over_socket = len(lines) == 1 and lines[0].adapter.over_socket
        if over_socket and fitness.speech(lines[0], request) is None:
            self._calls.warm(lines[0], request)

    async def _translation(
        self, request: TranscriptionRequest, call: Call, options: CallOptions, *, to_read: bool
    ) -> Answer:
        """By the vendor itself, or by its transcript and a chat model."""
        chain = self._chain(request.model, request.mode, call, options)
        if fitness.length_matters(chain, request):
            request = replace(request, seconds=await self._calls.seconds_of(request.file))

        def objection(line: BoundDeployment) -> ProxyError | None:
            by_itself = self._translator(line) is None
            return fitness.transcription(line, request) if by_itself else fitness.translated(line, request)

        async def ask(line: BoundDeployment, attempt: Attempt, left: float | None) -> Answer:
            if self._translator(line) is None:
                return await self._asked(line, request, attempt, left, to_read=to_read)
            return await self._calls.transcript(line, fitness.heard(line, request), attempt, left)

        began = perf_counter()
        answer = await self._router.run(chain, objection, ask, call, options)
        if not isinstance(answer, Heard) or self._translator(answer.line) is None:
            return answer
        await answer.aclose()
        deployment = answer.line.deployment
        seconds = (options.timeout or deployment.timeout) - (perf_counter() - began)
        answer.transcript = await self._in_english(answer, request, call, replace(options, timeout=seconds))
        return answer if to_read else answer.passed_on(request, answer.transcript)

    async def _in_english(
        self, heard: Heard, request: TranscriptionRequest, call: Call, options: CallOptions
    ) -> Transcript:
        """What the caller gets of a transcript; ``options`` tells the seconds that are left."""
        found = heard.transcript
        if translation.is_english(found):
            return translation.as_translation(found)
        name = self._translator(heard.line) or ""
        chain = {group: self._translators[group] for group in self._names(name, options) if group in self._translators}
        # The attempts are the call's; who served it is not for the translator to say.
        inner = Call(call.request_id, call.endpoint, call.started, attempts=call.attempts)

        async def translated(batch: Sequence[Part]) -> Sequence[str]:
            return await self._batch(chain, [part.text for part in batch], request.prompt, inner, options)

        batches = translation.batches(found)
        texts = [text for some in await _at_a_time(BATCHES, translated, batches) for text in some]
        return translation.in_english(found, [part for some in batches for part in some], texts)

    async def _batch(
        self,
        chain: Mapping[str, Sequence[BoundDeployment]],
        texts: Sequence[str],
        hint: str | None,
        call: Call,
        options: CallOptions,
    ) -> Sequence[str]:
        if options.timeout is not None and options.timeout <= 0:
            raise UpstreamTimeout("There was no time left to translate what was said.")

        async def ask(line: BoundDeployment, attempt: Attempt, left: float | None) -> Answer:
            return await self._calls.translation(line, texts, hint, attempt, left)

        answer = await self._router.run(chain, lambda line: None, ask, call, options)
        await answer.aclose()
        assert isinstance(answer, Translated)  # noqa: S101
        return answer.texts

    async def voices(self, model: str | None, caller: Caller = EVERYBODY) -> list[Named]:
        """What the caller may name as the voice of a model, or of any. Raises ModelNotFound."""
        visible, name = self.visible(caller), self._aliases.get(model, model) if model is not None else None
        if name is not None and name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        groups = visible.values() if name is None else [visible[name]]
        return await self._voices.of(line for group in groups for line in group if fitness.serves(line, Mode.SPEECH))

    def visible(self, caller: Caller) -> Mapping[str, Sequence[BoundDeployment]]:
        """The groups that the caller may use."""
        if not caller.models:
            return self.groups
        allowed = {self._aliases.get(name, name) for name in caller.models}
        return {name: lines for name, lines in self.groups.items() if name in allowed}

    def file_limit(
        self, model: str | None, options: CallOptions = NO_OPTIONS, caller: Caller = EVERYBODY
    ) -> float | None:
        """MB that an upload for this model, or its fallbacks, may have. None: no limit.

        While the model is not known, it is the most that any model takes. Raises ModelNotFound.
        """
        visible, name = self.visible(caller), self._aliases.get(model, model) if model is not None else None
        if name is not None and name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        names = list(visible) if name is None else self._names(name, options)
        groups = [visible[name] for name in names if name in visible]
        limits = [fitness.file_limit(line) for group in groups for line in group if line.deployment.mode != Mode.SPEECH]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) and known else None

    def _translator(self, line: BoundDeployment) -> str | None:
        """The chat group that translates for a deployment; None where it translates by itself, or nobody does."""
        own = line.deployment.translation_model
        name = own if own is not None or fitness.translates(line) else self._translation_model
        return self._aliases.get(name, name) if name is not None else None

    def _chain(
        self, model: str, mode: Mode, call: Call, options: CallOptions
    ) -> Mapping[str, Sequence[BoundDeployment]]:
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
        return {group: lines for group, lines in chain.items() if group in visible}

    def _cannot_serve(
        self, model: str, name: str, mode: Mode, visible: Mapping[str, Sequence[BoundDeployment]]
    ) -> BadRequest:
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
        return [self._aliases.get(group, group) for group in self._router.chain(name, options)]

    def _serving(self, model: str, mode: Mode) -> list[BoundDeployment]:
        return [line for line in self.groups.get(model, ()) if fitness.serves(line, mode) or self._hears(line, mode)]

    def _hears(self, line: BoundDeployment, mode: Mode) -> bool:
        """Whether it can transcribe what is to be translated by another."""
        is_able = line.deployment.mode == Mode.TRANSCRIPTION and mode == Mode.TRANSLATION
        return is_able and self._translator(line) is not None


async def _at_a_time(most: int, do: Callable[[A], Awaitable[B]], items: Sequence[A]) -> list[B]:
    """The results in order; the first failure ends the others."""
    turns = asyncio.Semaphore(most)

    async def one(item: A) -> B:
        async with turns:
            return await do(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def unknown_model(model: str, able: Sequence[str]) -> str:
    bare = {name.lower(): name for name in able}
    nearest = get_close_matches(model[:100].lower().rpartition("/")[2], bare, n=1, cutoff=0.5)
    hint = f" Did you mean '{bare[nearest[0]]}'?" if nearest else ""
    names = ", ".join(f"'{name}'" for name in sorted(able)[:20]) or "none"
    return f"The model '{model[:100]}' does not exist or you do not have access to it.{hint} Available here: {names}."
