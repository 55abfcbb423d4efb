"""The candidates for a call, from model groups, aliases, fallbacks and the groups that a key may use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from types import MappingProxyType

from proxy.config import RouterSettings
from proxy.domain.call import Call
from proxy.domain.caller import EVERYBODY, Caller
from proxy.domain.requests import NO_OPTIONS, CallOptions, Mode
from proxy.errors import BadRequest, ModelNotFound
from proxy.matching import BoundDeployment, file_limit, serves, translates

#: Deployments by the name of their group.
Deployments = Mapping[str, Sequence[BoundDeployment]]

ENDPOINTS = {Mode.SPEECH: "speech", Mode.TRANSCRIPTION: "transcription", Mode.TRANSLATION: "translation"}


class ModelGroups:
    """The model groups of a configuration, with their aliases and fallbacks."""

    def __init__(
        self,
        deployments: Deployments,
        settings: RouterSettings,
        translators: Deployments = MappingProxyType({}),
        translation_model: str | None = None,
    ) -> None:
        """``translators``: groups of chat models; ``translation_model``: the one for deployments that name none."""
        self.deployments = deployments
        self._settings = settings
        self._aliases = settings.model_group_alias
        self._fallbacks = {self.named(name): groups for row in settings.fallbacks for name, groups in row.items()}
        self._translators = translators
        self._translation_model = translation_model
        #: By name, mode and ``no_fallback``; each is computed once.
        self._candidates: dict[tuple[str, Mode, bool], Deployments] = {}

    def named(self, model: str) -> str:
        """The name of the group: an alias is resolved."""
        return self._aliases.get(model, model)

    @property
    def names(self) -> list[str]:
        """Of the groups and their aliases."""
        return [*self.deployments, *self._aliases]

    def exists(self, name: str) -> bool:
        """Whether it is the name of a group, of chat models too, or of an alias."""
        return name in self.deployments or name in self._aliases or name in self._translators

    def visible(self, caller: Caller) -> Deployments:
        """The groups that the caller may use."""
        if not caller.models:
            return self.deployments
        allowed = {self.named(name) for name in caller.models}
        return {name: some for name, some in self.deployments.items() if name in allowed}

    def one_or_all(self, model: str | None, caller: Caller = EVERYBODY) -> Sequence[Sequence[BoundDeployment]]:
        """The group of a model, or every group if it is None. Raises ModelNotFound."""
        visible = self.visible(caller)
        if model is None:
            return list(visible.values())
        if (name := self.named(model)) not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        return [visible[name]]

    def candidates(self, model: str, mode: Mode, call: Call, options: CallOptions) -> Deployments:
        """The deployments of the model's group, then of its fallbacks, that serve the mode.

        Notes the group in the call. Raises ModelNotFound, or BadRequest if the group does not serve the mode.
        """
        name, visible = self.named(model), self.visible(call.caller)
        if name not in visible:
            raise ModelNotFound(unknown_model(model, [name for name in visible if self._serving(name, mode)]))
        call.group = call.requested_group = name
        key = (name, mode, options.no_fallback)
        candidates = self._candidates.get(key)
        if candidates is None:
            names = self.with_fallbacks(name, options)
            candidates = self._candidates[key] = {group: self._serving(group, mode) for group in names}
        if not candidates[name]:
            raise self._cannot_serve(model, name, mode, visible)
        if visible is self.deployments:
            return candidates
        return {group: some for group, some in candidates.items() if group in visible}

    def with_fallbacks(self, name: str, options: CallOptions) -> list[str]:
        """The group and its fallbacks, which may be named by aliases."""
        if options.no_fallback:
            return [name]
        settings = self._settings
        fallbacks = self._fallbacks.get(name, settings.default_fallbacks)
        names = list(dict.fromkeys([name, *fallbacks]))[: settings.max_fallbacks + 1]
        return [self.named(name) for name in names]

    def file_limit(
        self, model: str | None, options: CallOptions = NO_OPTIONS, caller: Caller = EVERYBODY
    ) -> float | None:
        """The highest limit, in MB, on uploads for this model or its fallbacks. None: no limit.

        ``model`` None means any model. Raises ModelNotFound.
        """
        groups = self.one_or_all(model, caller)
        if model is not None:
            visible = self.visible(caller)
            groups = [visible[name] for name in self.with_fallbacks(self.named(model), options) if name in visible]
        limits = [file_limit(bound) for group in groups for bound in group if bound.deployment.mode != Mode.SPEECH]
        known = [limit for limit in limits if limit is not None]
        return max(known) if len(known) == len(limits) and known else None

    def translator(self, bound: BoundDeployment) -> str | None:
        """The group of chat models that translates for a deployment; None if the vendor translates, or nothing does."""
        own = bound.deployment.translation_model
        name = own if own is not None or translates(bound) else self._translation_model
        return self.named(name) if name is not None else None

    def translators(self, name: str, options: CallOptions) -> Deployments:
        """The deployments of a group of chat models, and of its fallbacks."""
        names = self.with_fallbacks(name, options)
        return {name: self._translators[name] for name in names if name in self._translators}

    def _serving(self, model: str, mode: Mode) -> list[BoundDeployment]:
        some = self.deployments.get(model, ())
        return [bound for bound in some if serves(bound, mode) or self._can_transcribe_for(bound, mode)]

    def _can_transcribe_for(self, bound: BoundDeployment, mode: Mode) -> bool:
        """Whether it transcribes and a chat model then translates."""
        is_translation = bound.deployment.mode == Mode.TRANSCRIPTION and mode == Mode.TRANSLATION
        return is_translation and self.translator(bound) is not None

    def _cannot_serve(self, model: str, name: str, mode: Mode, visible: Deployments) -> BadRequest:
        if mode == Mode.TRANSLATION and self._serving(name, Mode.TRANSCRIPTION):
            return BadRequest(
                f"The model '{model}' only transcribes. It translates if translation_model (in its litellm_params, "
                "or in general_settings) names a model group of mode chat.",
                param="model",
            )
        others = ", ".join(repr(name) for name in visible if self._serving(name, mode))
        hint = f"Models that do: {others}." if others else "No model does."
        return BadRequest(f"The model '{model}' does not serve {ENDPOINTS[mode]}. {hint}", param="model")


def unknown_model(model: str, available: Sequence[str]) -> str:
    """The message for a model that does not exist, with the nearest name."""
    by_lower_case = {name.lower(): name for name in available}
    nearest = get_close_matches(model[:100].lower().rpartition("/")[2], by_lower_case, n=1, cutoff=0.5)
    hint = f" Did you mean '{by_lower_case[nearest[0]]}'?" if nearest else ""
    names = ", ".join(f"'{name}'" for name in sorted(available)[:20])
    known = f"Available models: {names}." if names else "No models are available."
    return f"The model '{model[:100]}' does not exist or you do not have access to it.{hint} {known}"
