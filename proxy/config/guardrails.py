"""``guardrails``: turns entries in LiteLLM's shape into the settings of guardrails."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.config import litellm
from proxy.config.kinds import Kinds
from proxy.config.problems import Problems, safe_quote
from proxy.config.setting import Setting, settings_of
from proxy.config.tree import Node
from proxy.config.unsupported import Unsupported
from proxy.config.validation import Draft, Validator
from proxy.config.variables import REFERENCE

_KEYS = ("guardrail_name", "litellm_params", "default_on")
_SECTION = "an entry of guardrails"


class GuardrailEntries:
    def __init__(self, kinds: Kinds[Any], validator: Validator, problems: Problems, unsupported: Unsupported) -> None:
        self._kinds, self._validator = kinds, validator
        self._problems, self._unsupported = problems, unsupported
        #: Entries by the names of their guardrails.
        self._names: dict[str, Node] = {}

    def read(self, section: Node | None) -> tuple[Any, ...]:
        if section is None:
            return ()
        if not isinstance(section.content, tuple):
            self._problems.add(section.location, "guardrails must be a list of entries (- guardrail_name: …)")
            return ()
        guardrails = [self._guardrail(node) for node in section.content]
        return tuple(guardrail for guardrail in guardrails if guardrail is not None)

    def _guardrail(self, node: Node) -> Any:
        settings = self._settings(node)
        if settings is None or self._is_class(settings.get("guardrail")):
            return None
        constants = {"where": str(node.location)}
        if "guardrail_name" not in settings:  # which has been reported
            constants["guardrail_name"] = "?"
        guardrail = self._validator.validate(self._kinds, Draft("litellm_params", node.location, settings, constants))
        if guardrail is not None:
            self._check_name(guardrail.name, node)
        return guardrail

    def _settings(self, node: Node) -> Mapping[str, Setting] | None:
        """The settings inside of ``litellm_params`` and next to it."""
        if not isinstance(node.content, Mapping):
            self._problems.add(node.location, f"{_SECTION} must be a mapping (guardrail_name:, litellm_params:)")
            return None
        entry = {setting.key: setting for setting in settings_of(_SECTION, node)}
        for key, setting in entry.items():
            if key not in _KEYS and not self._unsupported.take(setting, litellm.GUARDRAIL):
                self._problems.unknown_key(setting.location, key, _SECTION, _KEYS)
        for key in ("guardrail_name", "litellm_params"):
            if key not in entry:
                self._problems.add(node.location, f"'{key}' is missing in {_SECTION}")
        if "litellm_params" not in entry:
            return None
        params = entry["litellm_params"]
        if not isinstance(params.value.content, Mapping):
            self._problems.add(params.location, "'litellm_params' must be a mapping (key: value)")
            return None
        settings = {setting.key: setting for setting in settings_of("litellm_params", params.value)}
        if misplaced := settings.pop("guardrail_name", None):
            self._problems.add(misplaced.location, "'guardrail_name' belongs next to litellm_params, not inside it")
        if "default_on" in entry and "default_on" in settings:
            self._problems.add(entry["default_on"].location, "'default_on' is given twice; give it once")
        return settings | {key: entry[key] for key in ("guardrail_name", "default_on") if key in entry}

    def _is_class(self, setting: Setting | None) -> bool:
        """Report LiteLLM's notation for a custom class."""
        text = setting.value.content if setting is not None else None
        if setting is None or not isinstance(text, str) or "." not in text or text.startswith(REFERENCE):
            return False
        remedy = "for a class of your own, use guardrail: custom and class: module.Class"
        self._problems.add(setting.location, f"unknown guardrail {safe_quote(text)}; {remedy}")
        return True

    def _check_name(self, name: str, node: Node) -> None:
        first = self._names.setdefault(name, node)
        if first is not node:
            what = f"guardrail_name {safe_quote(name)} is given twice, first in {first.location}"
            self._problems.add(node.location, what)
