"""``guardrails``: which fields each kind has, and what is wrong with an entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from proxy.config import litellm
from proxy.config.ignored import Ignored
from proxy.config.models import Guardrail, GuardrailKind
from proxy.config.problems import Problems, shown, suggestion
from proxy.config.tree import Node
from proxy.config.values import Setting, Values, settings_of
from proxy.domain.guardrails import Stage


@dataclass(frozen=True, slots=True)
class Kind:
    """The fields of a kind besides those that all have. ``one_of``: at least one of these is there."""

    fields: frozenset[str]
    one_of: tuple[str, ...] = ()
    #: It can say what is to go, and so be told to redact.
    redacts: bool = False


COMMON = frozenset({"guardrail", "mode", "default_on", "teams", "action"})
_REMOTE = frozenset({"timeout", "on_failure"})
KINDS: Mapping[GuardrailKind, Kind] = {
    "pii": Kind(frozenset({"entities", "regions"}), redacts=True),
    "blocked_words": Kind(frozenset({"words", "patterns"}), ("words", "patterns"), redacts=True),
    "max_length": Kind(frozenset({"max_characters"}), ("max_characters",)),
    "openai_moderation": Kind(_REMOTE | {"api_base", "api_key", "model", "categories", "thresholds"}),
    "webhook": Kind(_REMOTE | {"url", "headers"}, ("url",), redacts=True),
    "custom": Kind(_REMOTE | {"class", "params"}, ("class",), redacts=True),
}
_ENTRY_KEYS = ("guardrail_name", "litellm_params", "default_on")
_FIELDS = {"guardrail": "kind", "class": "class_path"}
_SECTION = "an entry of guardrails"


class GuardrailEntries:
    def __init__(self, values: Values, problems: Problems, ignored: Ignored) -> None:
        self._values, self._problems, self._ignored = values, problems, ignored
        self._names: dict[str, Node] = {}

    def read(self, section: Node | None) -> tuple[Guardrail, ...]:
        if section is None:
            return ()
        if not isinstance(section.content, tuple):
            self._problems.add(section.place, "guardrails must be a list of entries (- guardrail_name: …)")
            return ()
        found = [self._entry(node) for node in section.content]
        return tuple(guardrail for guardrail in found if guardrail is not None)

    def _entry(self, node: Node) -> Guardrail | None:
        if not isinstance(node.content, Mapping):
            self._problems.add(node.place, f"{_SECTION} must be a mapping (guardrail_name:, litellm_params:)")
            return None
        top = {setting.key: setting for setting in settings_of(_SECTION, node)}
        for key, setting in top.items():
            if key not in _ENTRY_KEYS and not self._ignored.take(setting, {}, {}, litellm.GUARDRAIL_IGNORED):
                self._problems.unknown_key(setting.place, key, _SECTION, _ENTRY_KEYS)
        for key in ("guardrail_name", "litellm_params"):
            if key not in top:
                self._problems.add(node.place, f"'{key}' is missing in {_SECTION}")
        if "litellm_params" not in top:
            return None
        params = top["litellm_params"]
        if not isinstance(params.value.content, Mapping):
            self._problems.add(params.place, "'litellm_params' must be a mapping (key: value)")
            return None
        settings = {setting.key: setting for setting in settings_of("litellm_params", params.value)}
        if "default_on" in top:
            if "default_on" in settings:
                self._problems.add(top["default_on"].place, "'default_on' is given twice; give it once")
            settings["default_on"] = top["default_on"]
        return self._guardrail(node, top.get("guardrail_name"), settings)

    def _guardrail(self, node: Node, name: Setting | None, settings: Mapping[str, Setting]) -> Guardrail | None:
        kind = self._kind(node, settings)
        if kind is None:
            return None
        allowed = COMMON | kind.fields
        for key, setting in settings.items():
            if key not in allowed:
                self._problems.unknown_key(setting.place, key, setting.section, allowed)
        if kind.one_of and not any(key in settings for key in kind.one_of):
            self._problems.add(node.place, f"{_or(kind.one_of)} is missing in litellm_params")
        known = {_FIELDS.get(key, key): setting for key, setting in settings.items() if key in allowed}
        if name is not None:
            known["name"] = name
        derived: dict[str, Any] = {"where": str(node.place)} | ({} if name is not None else {"name": "?"})
        guardrail = self._values.check(Guardrail, known, derived, node.place)
        if guardrail is not None:
            self._check_action(guardrail, kind, settings)
            self._check_name(guardrail.name, node)
        return guardrail

    def _kind(self, node: Node, settings: Mapping[str, Setting]) -> Kind | None:
        setting = settings.get("guardrail")
        text = self._values.text(setting) if setting is not None else None
        for name, kind in KINDS.items():
            if text == name:
                return kind
        names = ", ".join(KINDS)
        if setting is None:
            self._problems.add(node.place, f"'guardrail' is missing in litellm_params; it is one of {names}")
        elif text is not None:
            near = suggestion(text, KINDS)
            remedy = near or (
                "; a class of your own is guardrail: custom with class: module.Class" if "." in text else ""
            )
            self._problems.add(setting.place, f"there is no guardrail {shown(text)}: there are {names}{remedy}")
        return None

    def _check_action(self, guardrail: Guardrail, kind: Kind, settings: Mapping[str, Setting]) -> None:
        if guardrail.action != "redact":
            return
        place = settings["action"].place
        if not kind.redacts:
            self._problems.add(place, f"'action' cannot be redact: {guardrail.kind} does not say what is to go")
        elif Stage.DURING_CALL in guardrail.mode:
            why = "in during_call the words are with the vendor already"
            self._problems.add(place, f"'action' cannot be redact: {why}; use pre_call or post_call")

    def _check_name(self, name: str, node: Node) -> None:
        first = self._names.setdefault(name, node)
        if first is not node:
            self._problems.add(node.place, f"guardrail_name {shown(name)} is given twice, first in {first.place}")


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(f"'{name}'" for name in names)
