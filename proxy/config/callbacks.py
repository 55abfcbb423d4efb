"""``litellm_settings.callbacks``: turns LiteLLM's lists of names into the settings of sinks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from proxy.config import litellm
from proxy.config.kinds import Kinds, keys_of
from proxy.config.problems import Problems, SourceLocation, safe_quote, suggestion
from proxy.config.setting import Setting, settings_of
from proxy.config.tree import Node
from proxy.config.unsupported import Unsupported
from proxy.config.validation import Draft, Validator
from proxy.config.variables import Variables

#: The kind of a sink whose name is the path of a class.
CUSTOM: Final = "custom"


@dataclass(slots=True)
class _Callback:
    """A name, with the first list that contains it, and its location there."""

    setting: Setting
    location: SourceLocation
    successes: bool = False
    failures: bool = False


class Callbacks:
    def __init__(
        self,
        kinds: Kinds[Any],
        variables: Variables,
        validator: Validator,
        problems: Problems,
        unsupported: Unsupported,
    ) -> None:
        self._kinds, self._variables, self._validator = kinds, variables, validator
        self._problems, self._unsupported = problems, unsupported
        self._names = [name for name in kinds.classes if name != CUSTOM]
        self._callbacks: dict[str, _Callback] = {}
        self._s3_params: Setting | None = None

    def take(self, setting: Setting) -> bool:
        """Read a setting of `litellm_settings`. Returns False if it is not about callbacks."""
        if setting.key == "s3_callback_params":
            self._s3_params = setting
        elif setting.key in litellm.CALLBACK_KEYS:
            self._take_list(setting)
        else:
            return False
        return True

    def _take_list(self, setting: Setting) -> None:
        content = setting.value.content
        for node in content if isinstance(content, tuple) else (setting.value,):
            name = node.content
            if not isinstance(name, str | None):
                self._unsupported.refuse(setting, "a callback must be a name", node.location)
            elif name is None or name in litellm.BUILT_IN_CALLBACKS:
                continue
            elif setting.key not in litellm.CALLBACK_LISTS:
                self._unsupported.refuse(setting, f"callback {safe_quote(name)} is not supported", node.location)
            else:
                callback = self._callbacks.setdefault(name, _Callback(setting, node.location))
                successes, failures = litellm.CALLBACK_LISTS[setting.key]
                callback.successes |= successes
                callback.failures |= failures

    def sinks(self, callback_settings: Node | None) -> tuple[Any, ...]:
        """The sinks that the lists name, each with its own settings."""
        settings = {setting.key: setting for setting in settings_of("callback_settings", callback_settings)}
        sinks = [self._sink(name, callback, settings.pop(name, None)) for name, callback in self._callbacks.items()]
        for setting in settings.values():
            self._unsupported.ignore(setting)
        if self._s3_params is not None:
            self._unsupported.ignore(self._s3_params)
        return tuple(sink for sink in sinks if sink is not None)

    def _sink(self, name: str, callback: _Callback, own: Setting | None) -> Any:
        if own is not None and not isinstance(own.value.content, Mapping):
            self._problems.add(own.location, f"{safe_quote(name)} in callback_settings must be a mapping (key: value)")
            return None
        section = f"callback_settings.{name}"
        settings = {
            setting.key: setting
            for setting in settings_of(section, own.value if own is not None else None)
            if not self._unsupported.take(setting, litellm.CALLBACK_SETTINGS)
        }
        kind = self._kind(name, callback, settings.pop("callback_type", None))
        if kind is None:
            return None
        if kind in litellm.S3_CALLBACKS:
            settings = {**dict(self._s3_settings(kind)), **settings}
        constants = {
            "name": name,
            "kind": kind,
            "successes": callback.successes,
            "failures": callback.failures,
            "where": str(callback.location),
        }
        return self._validator.validate(self._kinds, Draft(section, callback.location, settings, constants))

    def _kind(self, name: str, callback: _Callback, callback_type: Setting | None) -> str | None:
        """From ``callback_type``, which LiteLLM has for custom names, or from the name."""
        kind = name if callback_type is None else self._variables.text(callback_type)
        if kind is None or kind in self._names:
            return kind
        if callback_type is None and "." in name:
            return CUSTOM
        setting, location = callback.setting, callback.location
        if callback_type is not None:
            setting, location = callback_type, callback_type.location
        names = ", ".join([*litellm.BUILT_IN_CALLBACKS, *self._names])
        near = suggestion(kind, self._names)
        choices = f"{f'{near} Use' if near else '; use'} one of {names}, or module.Class for a class of your own"
        self._unsupported.refuse(setting, f"unknown callback {safe_quote(kind)}{choices}", location)
        return None

    def _s3_settings(self, kind: str) -> Iterator[tuple[str, Setting]]:
        """The settings in ``s3_callback_params``. Only the first sink of the kind gets them."""
        params, self._s3_params = self._s3_params, None
        prefix = "s3_"
        keys = {key: key for key in keys_of(self._kinds.classes[kind]) if key.startswith(prefix)}
        keys |= litellm.S3_PARAM_ALIASES
        for setting in settings_of("s3_callback_params", params.value if params is not None else None):
            if setting.key in keys:
                yield keys[setting.key], setting
            elif setting.key.startswith(prefix):
                self._unsupported.ignore(setting)
            else:
                self._problems.unknown_key(setting.location, setting.key, setting.section, keys)
