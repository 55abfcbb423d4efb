"""The order of decisions for one call, readable from top to bottom. What each decision means lies below."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from proxy.calls import Answer, Calls, Line
from proxy.errors import BadRequest, ModelNotFound, ProxyError
from proxy.records import Call, Mode, SpeechRequest, TranscriptionRequest
from proxy.routing import fitness

ENDPOINTS = {Mode.SPEECH: "speech", Mode.TRANSCRIPTION: "transcription", Mode.TRANSLATION: "translation"}


class Gateway:
    """The model groups and the way to their vendors."""

    def __init__(self, groups: Mapping[str, Sequence[Line]], calls: Calls) -> None:
        self.groups = groups
        self._calls = calls

    async def speech(self, request: SpeechRequest, call: Call) -> Answer:
        lines = self._lines(request.model, Mode.SPEECH)
        line = _fit(lines, lambda line: fitness.speech(line, request))
        _note(call, request.model, line)
        return await self._calls.speech(line, request, call)

    async def transcription(self, request: TranscriptionRequest, call: Call) -> Answer:
        lines = self._lines(request.model, request.mode)
        line = _fit(lines, lambda line: fitness.transcription(line, request))
        _note(call, request.model, line)
        return await self._calls.transcription(line, request, call)

    def file_limit(self, model: str | None) -> float | None:
        """MB that an upload for this model may have; if it is unknown, the most that any takes. None: no limit."""
        group = self.groups.get(model) if model is not None else None
        groups = list(self.groups.values()) if group is None else [group]
        limits = [fitness.file_limit(line) for group in groups for line in group if line.deployment.mode != Mode.SPEECH]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) and known else None

    def _lines(self, model: str, mode: Mode) -> list[Line]:
        """The deployments of a group that serve a mode."""
        group = self.groups.get(model)
        if group is None:
            raise ModelNotFound(unknown_model(model, [name for name in self.groups if self._serving(name, mode)]))
        lines = self._serving(model, mode)
        if not lines:
            able = ", ".join(repr(name) for name in self.groups if self._serving(name, mode)) or "none"
            raise BadRequest(
                f"The model '{model}' does not serve {ENDPOINTS[mode]}. Models that do: {able}.", param="model"
            )
        return lines

    def _serving(self, model: str, mode: Mode) -> list[Line]:
        return [line for line in self.groups[model] if fitness.serves(line, mode)]


def _fit(lines: Sequence[Line], objection: Callable[[Line], ProxyError | None]) -> Line:
    """One of the deployments that can serve the request; where none can, what stands against it is raised."""
    objections = [objection(line) for line in lines]
    fit = [line for line, against in zip(lines, objections, strict=True) if against is None]
    if not fit:
        raise next(against for against in objections if against is not None)
    return fit[0] if len(fit) == 1 else random.choice(fit)  # noqa: S311


def _note(call: Call, group: str, line: Line) -> None:
    call.group = group
    call.deployment = line.deployment.id
    call.vendor = line.deployment.vendor
    call.attempts += 1


def unknown_model(model: str, able: Sequence[str]) -> str:
    nearest = get_close_matches(model, able, n=1, cutoff=0.5)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else ""
    names = ", ".join(f"'{name}'" for name in sorted(able)[:20]) or "none"
    return f"The model '{model[:100]}' does not exist or you do not have access to it.{hint} Available here: {names}."
