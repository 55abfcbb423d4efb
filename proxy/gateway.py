"""The order of decisions for one call, readable from top to bottom. What each decision means lies below."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches

from proxy.calls import Answer, Calls, Line
from proxy.errors import BadRequest, ModelNotFound
from proxy.records import NO_WISHES, Attempt, Call, Mode, SpeechRequest, TranscriptionRequest, Wishes
from proxy.routing import fitness
from proxy.routing.router import Router

ENDPOINTS = {Mode.SPEECH: "speech", Mode.TRANSCRIPTION: "transcription", Mode.TRANSLATION: "translation"}


class Gateway:
    """The model groups and the way to their vendors. ``aliases`` are further names of groups."""

    def __init__(
        self,
        groups: Mapping[str, Sequence[Line]],
        router: Router,
        calls: Calls,
        aliases: Mapping[str, str],
    ) -> None:
        self.groups = groups
        self._router = router
        self._calls = calls
        self._aliases = aliases
        #: The deployments of a model's groups by name, mode and the wish for no fallback: found once.
        self._chains: dict[tuple[str, Mode, bool], Mapping[str, Sequence[Line]]] = {}

    def speech(self, request: SpeechRequest, call: Call, wishes: Wishes = NO_WISHES) -> Awaitable[Answer]:
        chain = self._chain(request.model, Mode.SPEECH, call, wishes)
        request = request if request.model == call.group else replace(request, model=call.group)

        def ask(line: Line, attempt: Attempt, left: float | None) -> Awaitable[Answer]:
            return self._calls.speech(line, request, attempt, left)

        return self._router.run(chain, lambda line: fitness.speech(line, request), ask, call, wishes)

    async def transcription(self, request: TranscriptionRequest, call: Call, wishes: Wishes = NO_WISHES) -> Answer:
        chain = self._chain(request.model, request.mode, call, wishes)
        if fitness.length_matters(chain, request):
            request = replace(request, seconds=await self._calls.seconds_of(request.file))

        def ask(line: Line, attempt: Attempt, left: float | None) -> Awaitable[Answer]:
            return self._calls.transcription(line, request, attempt, left)

        return await self._router.run(chain, lambda line: fitness.transcription(line, request), ask, call, wishes)

    def file_limit(self, model: str | None, wishes: Wishes = NO_WISHES) -> float | None:
        """MB that an upload for this model, or its fallbacks, may have. None: no limit.

        While the model is not known, it is the most that any model takes. Raises ModelNotFound.
        """
        name = self._aliases.get(model, model) if model is not None else None
        if name is not None and name not in self.groups:
            raise ModelNotFound(unknown_model(name, list(self.groups)))
        names = list(self.groups) if name is None else self._names(name, wishes)
        groups = [self.groups[name] for name in names if name in self.groups]
        limits = [fitness.file_limit(line) for group in groups for line in group if line.deployment.mode != Mode.SPEECH]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) and known else None

    def _chain(self, model: str, mode: Mode, call: Call, wishes: Wishes) -> Mapping[str, Sequence[Line]]:
        """The deployments that serve the mode, of the model's group and then of its fallbacks."""
        name = self._aliases.get(model, model)
        if name not in self.groups:
            raise ModelNotFound(unknown_model(model, [name for name in self.groups if self._serving(name, mode)]))
        call.group = name
        key = (name, mode, wishes.no_fallback)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = {group: self._serving(group, mode) for group in self._names(name, wishes)}
        if not chain[name]:
            able = ", ".join(repr(name) for name in self.groups if self._serving(name, mode)) or "none"
            raise BadRequest(
                f"The model '{model}' does not serve {ENDPOINTS[mode]}. Models that do: {able}.", param="model"
            )
        return chain

    def _names(self, name: str, wishes: Wishes) -> list[str]:
        """The group and its fallbacks, which may be named by aliases."""
        return [self._aliases.get(group, group) for group in self._router.chain(name, wishes)]

    def _serving(self, model: str, mode: Mode) -> list[Line]:
        return [line for line in self.groups.get(model, ()) if fitness.serves(line, mode)]


def unknown_model(model: str, able: Sequence[str]) -> str:
    bare = {name.lower(): name for name in able}
    nearest = get_close_matches(model[:100].lower().rpartition("/")[2], bare, n=1, cutoff=0.5)
    hint = f" Did you mean '{bare[nearest[0]]}'?" if nearest else ""
    names = ", ".join(f"'{name}'" for name in sorted(able)[:20]) or "none"
    return f"The model '{model[:100]}' does not exist or you do not have access to it.{hint} Available here: {names}."
