"""Reads a configuration: ``load`` returns it whole, or raises ConfigError with every problem in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from proxy.config import litellm
from proxy.config.entries import Entries, Skipped
from proxy.config.files import read_config
from proxy.config.guardrails import GuardrailEntries
from proxy.config.ignored import Ignored
from proxy.config.models import Config, Deployment, Environment, GeneralSettings, RouterSettings
from proxy.config.problems import Problems, SourceLocation, quoted, suggestion
from proxy.config.sinks import SinkRegistry
from proxy.config.tree import Node
from proxy.config.values import Setting, Values, read_environment, settings_of
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
#: Where the master key is looked for when `general_settings` has none.
_MASTER_KEY_VARIABLES = ("PROXY_MASTER_KEY", "LITELLM_MASTER_KEY")


def load(
    path: str | os.PathLike[str],
    *,
    vendors: Collection[str],
    infer_mode: Callable[[str, str], Mode | None],
    environ: Mapping[str, str] = os.environ,
) -> Config:
    """The configuration in a YAML file.

    ``vendors`` are the prefixes that ``model`` may carry; ``infer_mode(vendor, model)`` says what a model does where
    ``model_info.mode`` does not, None meaning that it is not audio. ``environ`` is read, never changed.
    Raises ConfigError: one line for each problem, with file, line and the nearest valid name.
    """
    file, problems = os.fspath(path), Problems()
    root = read_config(file, problems)
    if root is None:
        problems.raise_any()
        raise AssertionError("a configuration that cannot be read has a problem")
    config = _Loader(file, root, vendors, infer_mode, environ, problems).config()
    problems.raise_any()
    if config is None:
        raise AssertionError("a configuration without problems is complete")
    return config


class _Loader:
    """One pass over the sections, in the order in which they depend on each other."""

    def __init__(
        self,
        file: str,
        root: Node,
        vendors: Collection[str],
        infer_mode: Callable[[str, str], Mode | None],
        environ: Mapping[str, str],
        problems: Problems,
    ) -> None:
        self._file, self._root, self._vendors, self._problems = file, root, vendors, problems
        self._warnings: list[str] = []
        self._ignored = Ignored(problems, self._warnings)
        self._sections = self._known_sections()
        self._environment = self._read_environment(environ)
        self._values = Values(self._environment, problems)
        self._sinks = SinkRegistry(self._values, problems, self._ignored)
        self._entries = Entries(self._values, problems, self._ignored, self._warnings, vendors, infer_mode)

    def config(self) -> Config | None:
        general, router = self._general(), self._router()
        deployments = self._entries.read(self._sections.get("model_list"), router or RouterSettings(), self._file)
        translators = self._translators(general, router or RouterSettings())
        guardrails = GuardrailEntries(self._values, self._problems, self._ignored).read(
            self._sections.get("guardrails")
        )
        sinks = self._sinks.read(self._sections.get("callback_settings"))
        self._warn_of_skipped(deployments != ())
        self._warnings.extend(self._ignored.line(self._file))
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
            skipped=tuple(entry.name for entry in self._entries.skipped),
            places=self._places(),
            environment=self._environment,
        )

    def _translators(self, general: GeneralSettings | None, router: RouterSettings) -> dict[str, Any]:
        """The chat groups that a ``translation_model`` names; one that does not exist is a problem."""
        wanted = dict(self._entries.wanted)
        if general is not None and general.translation_model is not None:
            wanted.setdefault(general.translation_model, self._sections["general_settings"].of_key("translation_model"))
        chats = self._entries.chats
        groups: dict[str, list[Deployment]] = {name: [] for name in wanted if name in chats}
        for name, place in wanted.items():
            if name not in chats:
                what = f"translation_model names {quoted(name)}, which is no model_name of an entry with mode: chat"
                self._problems.add(place, f"{what}{suggestion(name, chats)}")
        for deployment in self._entries.translators(tuple(groups), router):
            groups[deployment.group].append(deployment)
        return groups

    def _known_sections(self) -> dict[str, Node]:
        sections: dict[str, Node] = {}
        for setting in settings_of("the configuration", self._root):
            if setting.key in _MAPPINGS and not isinstance(setting.value.content, Mapping):
                self._problems.add(setting.place, f"{setting.key} must be a mapping (key: value)")
            elif setting.key in _SECTIONS:
                sections[setting.key] = setting.value
            elif setting.key.startswith("x-"):
                continue  # a place for anchors
            elif not self._ignored.take(setting, litellm.TOP_REFUSED, {}, litellm.TOP_IGNORED):
                self._problems.unknown_key(setting.place, setting.key, setting.section, _SECTIONS)
        return sections

    def _read_environment(self, environ: Mapping[str, str]) -> Environment:
        section = self._sections.get("environment_variables")
        for setting in settings_of("environment_variables", section):
            if not isinstance(setting.value.content, str):
                self._problems.add(setting.place, f"'{setting.key}' in environment_variables must be text")
        return read_environment(section, environ, self._warnings)

    def _general(self) -> GeneralSettings | None:
        found: dict[str, Setting] = {}
        for setting in settings_of("general_settings", self._sections.get("general_settings")):
            if setting.key in GeneralSettings.model_fields:
                found[setting.key] = setting
            elif not self._ignored.take(
                setting, litellm.GENERAL_REFUSED, litellm.GENERAL_LOUD, litellm.GENERAL_IGNORED
            ):
                self._problems.unknown_key(setting.place, setting.key, setting.section, GeneralSettings.model_fields)
        derived = self._master_key(found)
        place = (
            self._root.of_key("general_settings")
            if "general_settings" in self._sections
            else SourceLocation(self._file, 0)
        )
        general = self._values.check(GeneralSettings, found, derived, place)
        if general and general.master_key is None and not general.allow_unauthenticated:
            self._problems.add(
                place,
                "no master key: set general_settings.master_key or $PROXY_MASTER_KEY or $LITELLM_MASTER_KEY, "
                "or allow_unauthenticated: true",
            )
        return general

    def _master_key(self, found: dict[str, Setting]) -> dict[str, Any]:
        """The key from the environment, where the file names none."""
        setting = found.get("master_key")
        if setting is not None and setting.value.content != "":
            return {}
        found.pop("master_key", None)
        keys = (self._environment.get(name) for name in _MASTER_KEY_VARIABLES)
        key = next((key for key in keys if key), None)
        return {} if key is None else {"master_key": key}

    def _router(self) -> RouterSettings | None:
        """`router_settings`, and what `litellm_settings` says of the same things where those are silent."""
        found: dict[str, Setting] = {}
        for setting in settings_of("litellm_settings", self._sections.get("litellm_settings")):
            field = litellm.SETTING_ALIASES.get(setting.key, setting.key)
            if field in RouterSettings.model_fields:
                found[field] = setting
            elif not self._sinks.take(setting) and not self._ignored.take(
                setting, litellm.LITELLM_REFUSED, litellm.LITELLM_LOUD, litellm.LITELLM_IGNORED
            ):
                known = litellm.LITELLM_IGNORED | litellm.CALLBACK_KEYS | RouterSettings.model_fields.keys()
                self._problems.unknown_key(setting.place, setting.key, setting.section, known)
        for setting in settings_of("router_settings", self._sections.get("router_settings")):
            if setting.key in RouterSettings.model_fields:
                found[setting.key] = setting
            elif not self._ignored.take(setting, litellm.ROUTER_REFUSED, litellm.ROUTER_LOUD, litellm.ROUTER_IGNORED):
                self._problems.unknown_key(setting.place, setting.key, setting.section, RouterSettings.model_fields)
        return self._values.check(RouterSettings, found, {}, SourceLocation(self._file, 0))

    def _places(self) -> dict[str, str]:
        sections = ("general_settings", "router_settings", "litellm_settings")
        settings = (setting for name in sections for setting in settings_of(name, self._sections.get(name)))
        return {f"{setting.section}.{setting.key}": str(setting.place) for setting in settings}

    def _warn_of_skipped(self, any_served: bool) -> None:
        skipped = self._entries.skipped
        remedy = f"an entry that is audio needs model_info.mode ({', '.join(Mode)})"
        if not any_served and not self._problems:
            place = self._root.of_key("model_list") if "model_list" in self._sections else SourceLocation(self._file, 0)
            vendors = f"and a vendor of ours ({', '.join(sorted(self._vendors))})"
            what = f"no entry of model_list can be served: {_listed(skipped)}; {remedy} {vendors}"
            self._problems.add(place, what if skipped else "model_list is missing or empty")
        elif not_audio := [entry for entry in skipped if not entry.is_audio]:
            self._warnings.append(f"{self._file}: skipped, because not audio: {_listed(not_audio)}; {remedy}")

    def _warn_of_weakness(self, general: GeneralSettings) -> None:
        place = self._places().get("general_settings.master_key", self._file)
        if general.master_key_weak:
            self._warnings.append(f"{place}: the master key is weak: use 32 random characters or more")
        if general.master_key is None:
            self._warnings.append(f"{self._file}: allow_unauthenticated: everybody who reaches the port may call")
        elif general.allow_unauthenticated:
            self._warnings.append(f"{self._file}: allow_unauthenticated has no effect, for there is a master key")


def _listed(entries: Sequence[Skipped]) -> str:
    more = f" and {len(entries) - 50} more" if len(entries) > 50 else ""
    return ", ".join(str(entry) for entry in entries[:50]) + more
