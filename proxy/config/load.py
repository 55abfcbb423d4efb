"""``load`` reads a configuration, or raises ConfigError with all its problems."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from proxy.config import litellm
from proxy.config.callbacks import Callbacks
from proxy.config.environment import Environment
from proxy.config.files import read_config
from proxy.config.guardrails import GuardrailEntries
from proxy.config.kinds import Kinds
from proxy.config.model_list import ModelListReader, Skipped
from proxy.config.models import Config, Deployment, GeneralSettings, RouterSettings, is_weak
from proxy.config.problems import Problems, SourceLocation, quote, suggestion
from proxy.config.setting import Setting, settings_of
from proxy.config.tree import Node
from proxy.config.unsupported import Unsupported
from proxy.config.validation import Draft, Validator
from proxy.config.variables import Variables, read_environment
from proxy.domain.requests import Mode

_SECTIONS = (
    "model_list",
    "general_settings",
    "router_settings",
    "litellm_settings",
    "environment_variables",
    "guardrails",
    "callback_settings",
    "include",
)
_MAPPINGS = (
    "general_settings",
    "router_settings",
    "litellm_settings",
    "environment_variables",
    "callback_settings",
)
#: Variables that are read if `general_settings` does not have the key.
_KEY_VARIABLES = {
    "master_key": ("PROXY_MASTER_KEY", "LITELLM_MASTER_KEY"),
    "previous_master_key": ("PROXY_PREVIOUS_MASTER_KEY",),
}


def load(
    path: str | os.PathLike[str],
    *,
    vendors: Collection[str],
    infer_mode: Callable[[str, str], Mode | None],
    guardrails: Kinds[Any],
    sinks: Kinds[Any],
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The configuration in a YAML file.

    ``vendors`` are the prefixes that ``model`` may have. ``infer_mode(vendor, model)`` returns what a model does if
    ``model_info.mode`` is missing; None means that it is not audio. ``guardrails`` and ``sinks`` are the available
    kinds. ``environ`` is read, never changed.
    Raises ConfigError: one line for each problem, with file, line and the most similar valid name.
    """
    file, problems = os.fspath(path), Problems()
    root = read_config(file, problems)
    if root is None:
        problems.raise_any()
        raise AssertionError("a configuration that cannot be read has a problem")
    config = _Loader(file, root, vendors, infer_mode, guardrails, sinks, environ, problems).config()
    problems.raise_any()
    if config is None:
        raise AssertionError("a configuration without problems is complete")
    return config


class _Loader:
    """Reads the sections in the order in which they depend on each other.

    Each section is first translated from LiteLLM's shape, then validated.
    """

    def __init__(
        self,
        file: str,
        root: Node,
        vendors: Collection[str],
        infer_mode: Callable[[str, str], Mode | None],
        guardrails: Kinds[Any],
        sinks: Kinds[Any],
        environ: Mapping[str, str],
        problems: Problems,
    ) -> None:
        self._file, self._root, self._vendors, self._problems = file, root, vendors, problems
        self._warnings: list[str] = []
        self._unsupported = unsupported = Unsupported(problems, self._warnings)
        self._sections = self._known_sections()
        self._environment = self._read_environment(environ)
        variables = Variables(self._environment, problems)
        self._validator = validator = Validator(variables, problems)
        self._guardrails = GuardrailEntries(guardrails, validator, problems, unsupported)
        self._callbacks = Callbacks(sinks, variables, validator, problems, unsupported)
        self._model_list = ModelListReader(
            variables, validator, problems, unsupported, self._warnings, vendors, infer_mode
        )

    def config(self) -> Config | None:
        general, router = self._general(), self._router()
        deployments = self._model_list.read(self._sections.get("model_list"), router or RouterSettings())
        translators = self._translators(general, router or RouterSettings())
        guardrails = self._guardrails.read(self._sections.get("guardrails"))
        sinks = self._callbacks.sinks(self._sections.get("callback_settings"))
        self._warn_of_skipped(deployments != ())
        self._warnings.extend(self._unsupported.warning(self._file))
        if self._problems or general is None or router is None:
            return None
        self._warn_of_weakness(general)
        return Config(
            path=self._file,
            deployments=deployments,
            translators=translators,
            general=general,
            router=router,
            guardrails=guardrails,
            sinks=sinks,
            warnings=tuple(self._warnings),
            skipped=tuple(entry.name for entry in self._model_list.skipped),
            locations=self._locations(),
            environment=self._environment,
        )

    def _known_sections(self) -> dict[str, Node]:
        sections: dict[str, Node] = {}
        for setting in settings_of("the configuration", self._root):
            if setting.key in _MAPPINGS and not isinstance(setting.value.content, Mapping):
                self._problems.add(setting.location, f"{setting.key} must be a mapping (key: value)")
            elif setting.key in _SECTIONS:
                sections[setting.key] = setting.value
            elif setting.key.startswith("x-"):
                continue  # for anchors
            elif not self._unsupported.take(setting, litellm.TOP):
                self._problems.unknown_key(setting.location, setting.key, setting.section, _SECTIONS)
        return sections

    def _settings(self, section: str) -> Collection[Setting]:
        return settings_of(section, self._sections.get(section))

    def _read_environment(self, environ: Mapping[str, str]) -> Environment:
        for setting in self._settings("environment_variables"):
            if not isinstance(setting.value.content, str):
                self._problems.add(setting.location, f"'{setting.key}' in environment_variables must be text")
        return read_environment(self._sections.get("environment_variables"), environ, self._warnings)

    # -- general_settings, router_settings, litellm_settings -----------------------------------------------------------

    def _general(self) -> GeneralSettings | None:
        section = "general_settings"
        settings = {
            setting.key: setting
            for setting in self._settings(section)
            if not self._unsupported.take(setting, litellm.GENERAL)
        }
        location = SourceLocation(self._file, 0)
        if section in self._sections:
            location = self._root.key_location(section)
        constants = self._keys_of_environment(settings)
        general = self._validator.validate(GeneralSettings, Draft(section, location, settings, constants))
        if general and general.master_key is None and not general.allow_unauthenticated:
            self._problems.add(
                location,
                "no master key: set general_settings.master_key or $PROXY_MASTER_KEY or $LITELLM_MASTER_KEY, "
                "or allow_unauthenticated: true",
            )
        if general and general.master_key is None and general.previous_master_key is not None:
            self._problems.add(location, "previous_master_key has no effect without a master_key")
        return general

    def _keys_of_environment(self, settings: dict[str, Setting]) -> dict[str, Any]:
        """The master keys from the environment, as far as the file has none."""
        found = {}
        for name, variables in _KEY_VARIABLES.items():
            if name in settings and settings[name].value.content != "":
                continue
            settings.pop(name, None)
            if key := next((key for variable in variables if (key := self._environment.get(variable))), None):
                found[name] = key
        return found

    def _router(self) -> RouterSettings | None:
        """`router_settings` override the same settings in `litellm_settings`."""
        settings = dict(self._router_settings_of_litellm())
        settings |= {
            setting.key: setting
            for setting in self._settings("router_settings")
            if not self._unsupported.take(setting, litellm.ROUTER)
        }
        draft = Draft("router_settings", SourceLocation(self._file, 0), settings)
        return self._validator.validate(RouterSettings, draft)

    def _router_settings_of_litellm(self) -> Iterator[tuple[str, Setting]]:
        for setting in self._settings("litellm_settings"):
            field = litellm.SETTING_ALIASES.get(setting.key, setting.key)
            if field in RouterSettings.model_fields:
                yield field, setting
            elif not self._callbacks.take(setting) and not self._unsupported.take(setting, litellm.LITELLM):
                known = litellm.LITELLM.ignored | litellm.CALLBACK_KEYS | RouterSettings.model_fields.keys()
                self._problems.unknown_key(setting.location, setting.key, setting.section, known)

    # -- several sections ----------------------------------------------------------------------------------------------

    def _translators(
        self, general: GeneralSettings | None, router: RouterSettings
    ) -> dict[str, tuple[Deployment, ...]]:
        """The chat groups that ``translation_model`` names."""
        named = dict(self._model_list.translation_models)
        if general is not None and general.translation_model is not None:
            location = self._sections["general_settings"].key_location("translation_model")
            named.setdefault(general.translation_model, location)
        chats = self._model_list.chat_groups
        for name, location in named.items():
            if name not in chats:
                what = f"translation_model names {quote(name)}, but no entry with mode: chat has that model_name"
                self._problems.add(location, f"{what}{suggestion(name, chats)}")
        return self._model_list.translators([name for name in named if name in chats], router)

    def _locations(self) -> dict[str, str]:
        sections = ("general_settings", "router_settings", "litellm_settings")
        settings = (setting for section in sections for setting in self._settings(section))
        return {f"{setting.section}.{setting.key}": str(setting.location) for setting in settings}

    def _warn_of_skipped(self, any_served: bool) -> None:
        skipped = self._model_list.skipped
        remedy = f"an audio entry needs model_info.mode ({', '.join(Mode)})"
        if not any_served and not self._problems:
            location = SourceLocation(self._file, 0)
            if "model_list" in self._sections:
                location = self._root.key_location("model_list")
            vendors = f"and a supported vendor ({', '.join(sorted(self._vendors))})"
            what = f"no entry of model_list can be served: {_listed(skipped)}; {remedy} {vendors}"
            self._problems.add(location, what if skipped else "model_list is missing or empty")
        elif not_audio := [entry for entry in skipped if not entry.is_audio]:
            self._warnings.append(f"{self._file}: skipped entries that are not audio: {_listed(not_audio)}; {remedy}")

    def _warn_of_weakness(self, general: GeneralSettings) -> None:
        weak = False
        for name, what in (("master_key", "master key"), ("previous_master_key", "previous master key")):
            key: SecretStr | None = getattr(general, name)
            if key is not None and is_weak(key.get_secret_value()):
                weak = True
                location = self._locations().get(f"general_settings.{name}", self._file)
                self._warnings.append(f"{location}: the {what} is weak: use 32 random characters or more")
        if general.allow_weak_master_key:
            effect = (
                "whoever guesses the master key can manage keys, and read usage and metrics"
                if weak
                else "it has no effect because the master key is not weak"
            )
            self._warnings.append(f"{self._file}: allow_weak_master_key: {effect}")
        if general.master_key is None:
            what = "allow_unauthenticated: anyone who can reach the port can use the proxy"
            self._warnings.append(f"{self._file}: {what}")
        elif general.allow_unauthenticated:
            self._warnings.append(f"{self._file}: allow_unauthenticated has no effect because there is a master key")


def _listed(entries: Sequence[Skipped]) -> str:
    more = f" and {len(entries) - 50} more" if len(entries) > 50 else ""
    return ", ".join(str(entry) for entry in entries[:50]) + more
