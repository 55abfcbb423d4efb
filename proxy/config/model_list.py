"""``model_list``: turns audio entries into deployments, and skips the others with a warning."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote as percent_encoded

from proxy.config import litellm
from proxy.config.model_names import misspelt_vendor, split_model, unknown_vendor
from proxy.config.models import COST_FIELDS, DERIVED_FIELDS, MODEL_INFO_FIELDS, Deployment, RouterSettings
from proxy.config.problems import Problems, SourceLocation, nearest, quote, safe_quote, suggestion
from proxy.config.setting import Setting, settings_of
from proxy.config.tree import Node
from proxy.config.unsupported import Unsupported
from proxy.config.validation import Draft, Validator
from proxy.config.variables import Variables
from proxy.domain.requests import Mode

CHAT = "chat"
_SECTION = "an entry of model_list"
_ENTRY_KEYS = ("model_name", "litellm_params", "params", "model_info")
_PARAM_FIELDS = Deployment.model_fields.keys() - MODEL_INFO_FIELDS - DERIVED_FIELDS
_COST = "_cost_per_"
#: LiteLLM's prices whose names do not contain `_COST`.
_CACHE_COSTS = frozenset({"cache_read_input_token_cost", "cache_read_input_audio_token_cost"})
#: Prefixes of vendor-specific parameters.
_IGNORED_PREFIXES = ("aws_", "azure_", "vertex_", "langfuse_", "s3_", "milvus_", "valkey_", "auto_router_")
#: In generated ids, besides letters, digits and ``_.-~``.
_SAFE_IN_ID = "/:@+,="
_MAX_ID_LENGTH = 120
_KNOWN_ENTRY_KEYS = {*_ENTRY_KEYS, *litellm.ENTRY.refused, *litellm.ENTRY.ignored}
_KNOWN_PARAMS = {"custom_llm_provider", *_PARAM_FIELDS, *litellm.PARAM_ALIASES} | {
    *litellm.PARAMS.refused,
    *litellm.PARAMS.warned,
    *litellm.PARAMS.ignored,
}


def _is_cost(key: str) -> bool:
    return _COST in key or key in _CACHE_COSTS


def _misspelt_entry_key(key: str) -> str | None:
    """The supported key that this one probably stands for, if neither the proxy nor LiteLLM has it."""
    return None if key in _KNOWN_ENTRY_KEYS else nearest(key, _ENTRY_KEYS)


def _misspelt_param(key: str) -> str | None:
    """The same for the keys of litellm_params."""
    is_known = key in _KNOWN_PARAMS or key.startswith(_IGNORED_PREFIXES) or _is_cost(key)
    return None if is_known else nearest(key, _PARAM_FIELDS)


def readable_id(group: str, vendor: str, model: str) -> str:
    """The id of a deployment that has none: an `Identifier`, with room for a number.

    Characters that headers cannot carry, and those that separate the parts, are percent-encoded. An id that is too long
    ends with a hash of the whole.
    """
    text = percent_encoded(f"{group}/{vendor}/{model}", safe=_SAFE_IN_ID, errors="replace")
    if len(text) <= _MAX_ID_LENGTH:
        return text
    return f"{text[: _MAX_ID_LENGTH - 9]}~{hashlib.sha256(text.encode()).hexdigest()[:8]}"


class Skipped(NamedTuple):
    """An entry that is not served: it is not audio, or its vendor is unknown."""

    name: str
    location: SourceLocation
    is_audio: bool

    def __str__(self) -> str:
        return f"{quote(self.name)[1:-1]} (line {self.location.line})"


class _Parts(NamedTuple):
    """The parts of an entry. Missing or invalid parts have been reported and are None or empty."""

    node: Node
    settings: Mapping[str, Setting]
    name: str | None
    params: Mapping[str, Setting] | None
    info: Mapping[str, Setting]


class ModelListReader:
    def __init__(
        self,
        variables: Variables,
        validator: Validator,
        problems: Problems,
        unsupported: Unsupported,
        warnings: list[str],
        vendors: Collection[str],
        infer_mode: Callable[[str, str], Mode | None],
    ) -> None:
        self._variables, self._validator, self._problems = variables, validator, problems
        self._unsupported, self._warnings = unsupported, warnings
        self._vendors, self._infer_mode = vendors, infer_mode
        #: The number of entries with the same group, vendor and model.
        self._duplicates: Counter[str] = Counter()
        #: The ids of deployments, with their locations.
        self._ids: dict[str, str] = {}
        #: Entries with ``mode: chat`` by name. They are read only if they are needed as translators.
        self._chats: dict[str, list[Node]] = {}
        self.skipped: list[Skipped] = []
        #: The groups named by ``translation_model`` of deployments, with the location of the first mention.
        self.translation_models: dict[str, SourceLocation] = {}

    def read(self, model_list: Node | None, router: RouterSettings) -> tuple[Deployment, ...]:
        if model_list is None:
            return ()
        if not isinstance(model_list.content, tuple):
            self._problems.add(model_list.location, "model_list must be a list of entries (- model_name: …)")
            return ()
        deployments = [self._entry(node, router) for node in model_list.content]
        return tuple(deployment for deployment in deployments if deployment is not None)

    @property
    def chat_groups(self) -> Collection[str]:
        """The names of the entries with ``mode: chat`` that have not been read."""
        return self._chats.keys()

    def translators(self, names: Sequence[str], router: RouterSettings) -> dict[str, tuple[Deployment, ...]]:
        """Read the entries with ``mode: chat`` and these names. They no longer count as skipped."""
        entries = {name: self._chats.pop(name) for name in names}
        read = {(name, node.location) for name, nodes in entries.items() for node in nodes}
        self.skipped = [entry for entry in self.skipped if (entry.name, entry.location) not in read]
        groups = {name: [self._translator(node, router) for node in nodes] for name, nodes in entries.items()}
        return {
            name: tuple(deployment for deployment in group if deployment is not None) for name, group in groups.items()
        }

    def _translator(self, node: Node, router: RouterSettings) -> Deployment | None:
        entry = self._parts(node)
        self._check_keys(entry.settings, is_ours=True)
        if entry.params is None:
            return None
        problems = len(self._problems)
        vendor, model = self._vendor_and_model(node, entry.params, None)
        if model and not vendor and len(self._problems) == problems:
            remedy = "if its server speaks OpenAI's API, use openai/NAME and api_base"
            self._problems.add(node.location, f"unknown vendor in {quote(model)}; {remedy}")
        return self._deployment(entry, vendor, model, {}, router)

    def _entry(self, node: Node, router: RouterSettings) -> Deployment | None:
        if not isinstance(node.content, Mapping):
            self._problems.add(node.location, f"{_SECTION} must be a mapping (model_name:, litellm_params:)")
            return None
        entry = self._parts(node)
        mode, is_other = self._mode(entry.info)
        vendor, model = "", ""
        if entry.params is not None and not is_other:
            vendor, model = self._vendor_and_model(node, entry.params, mode)
        if vendor and mode is None:
            base_model = self._variables.text(entry.info["base_model"]) if "base_model" in entry.info else None
            mode = self._infer_mode(vendor, model) or self._infer_mode(vendor, base_model or "")
        is_known = is_other or bool(model)
        is_ours = bool(vendor and mode) if is_known else bool(mode or any(map(_misspelt_param, entry.params or {})))
        self._check_keys(entry.settings, is_ours=is_ours)
        if is_ours:
            return self._deployment(entry, vendor, model, {"mode": mode}, router)
        if is_known:
            self._skip(entry, model, is_audio=mode is not None)
        if is_other and entry.name and self._variables.text(entry.info["mode"]) == CHAT:
            self._chats.setdefault(entry.name, []).append(node)
        return None

    def _skip(self, entry: _Parts, model: str, *, is_audio: bool) -> None:
        location = entry.node.location
        self.skipped.append(Skipped(entry.name or "?", location, is_audio))
        if "*" in model:
            self._warnings.append(f"{location}: wildcards are not supported; add an entry for each audio model")

    # -- the parts of an entry -----------------------------------------------------------------------------------------

    def _parts(self, node: Node) -> _Parts:
        """Settings with misspelt keys are also stored under the keys that they probably stand for."""
        settings = {setting.key: setting for setting in settings_of(_SECTION, node)}
        corrected = {near: setting for key, setting in settings.items() if (near := _misspelt_entry_key(key))}
        settings = corrected | settings
        name, params = self._name(node, settings), self._params(node, settings)
        info = self._mapping(settings["model_info"]) if "model_info" in settings else None
        return _Parts(node, settings, name, params, info or {})

    def _name(self, node: Node, settings: Mapping[str, Setting]) -> str | None:
        if "model_name" not in settings:
            self._problems.add(node.location, f"'model_name' is missing in {_SECTION}")
            return None
        name = self._variables.text(settings["model_name"])
        if name == "":
            self._problems.add(settings["model_name"].location, f"'model_name' in {_SECTION} must not be empty")
        return name or None

    def _params(self, node: Node, settings: Mapping[str, Setting]) -> dict[str, Setting] | None:
        names = [name for name in ("litellm_params", "params") if name in settings]
        if not names:
            self._problems.add(node.location, f"'litellm_params' is missing in {_SECTION}")
            return None
        if len(names) > 1:
            location = settings["params"].location
            self._problems.add(location, "'params' is the same setting as 'litellm_params'; use only one of them")
        return self._mapping(settings[names[0]])

    def _mapping(self, setting: Setting) -> dict[str, Setting] | None:
        if not isinstance(setting.value.content, Mapping):
            self._problems.add(setting.location, f"'{setting.key}' must be a mapping (key: value)")
            return None
        return {inner.key: inner for inner in settings_of(setting.key, setting.value)}

    def _mode(self, info: Mapping[str, Setting]) -> tuple[Mode | None, bool]:
        """The audio mode that the entry has or probably means, and whether it has another mode."""
        text = self._variables.text(info["mode"]) if "mode" in info else None
        if text is None:
            return None, False
        modes = [mode.value for mode in Mode]
        if text not in modes and text not in litellm.OTHER_MODES:
            near = suggestion(text, {*modes, *litellm.OTHER_MODES})
            self._problems.add(
                info["mode"].location, f"'mode' in model_info must be {', '.join(modes)}, not {safe_quote(text)}{near}"
            )
            text = nearest(text, {*modes, *litellm.OTHER_MODES})
        return (Mode(text), False) if text in modes else (None, text is not None)

    def _vendor_and_model(self, node: Node, params: Mapping[str, Setting], mode: Mode | None) -> tuple[str, str]:
        """The vendor, and the vendor's name for the model.

        The vendor is empty if it is unknown. Both are empty if the entry names no model.
        """
        setting = self._model(node, params)
        text = self._variables.text(setting) if setting is not None else None
        if setting is None or text is None:
            return "", ""
        provider = self._variables.text(params["custom_llm_provider"]) if "custom_llm_provider" in params else None
        has_own_server = "api_base" in params or "base_url" in params
        vendor, name = split_model(text.strip(), self._vendors, provider=provider, has_own_server=has_own_server)
        if vendor not in self._vendors:
            self._unknown_vendor(
                params["custom_llm_provider"] if provider else setting, vendor, name, mode, has_own_server
            )
            return "", text
        if not name or name.endswith("/") or (name != name.strip("/ ") and not has_own_server):
            self._name_is_missing(setting)
            return "", ""
        return vendor, name

    def _name_is_missing(self, setting: Setting) -> None:
        self._problems.add(setting.location, f"'{setting.key}' in {setting.section} must name a model")

    def _model(self, node: Node, params: Mapping[str, Setting]) -> Setting | None:
        """The setting ``model``, even if its key is misspelt: the model tells whether the entry is audio."""
        if "model" in params:
            return params["model"]
        misspelt = next((setting for key, setting in params.items() if _misspelt_param(key) == "model"), None)
        if misspelt is None:
            self._problems.add(node.location, "'model' is missing in litellm_params")
        else:
            self._problems.unknown_key(misspelt.location, misspelt.key, misspelt.section, _PARAM_FIELDS)
        return misspelt

    def _unknown_vendor(
        self, setting: Setting, vendor: str, name: str, mode: Mode | None, has_own_server: bool
    ) -> None:
        """A misspelt vendor is an error. LiteLLM's other providers are not served; chat models are left alone."""
        if vendor in litellm.PROVIDERS:
            if mode is not None:
                remedy = f"if its server speaks OpenAI's API, use openai/{quote(name)[1:-1] or 'NAME'} and api_base"
                self._warnings.append(
                    f"{setting.location}: unknown vendor {quote(vendor)}, the entry is not served; {remedy}"
                )
        elif not name.strip("/"):
            self._name_is_missing(setting)
        elif mode or self._is_misspelt(vendor, name):
            what = unknown_vendor(vendor, name, self._vendors, has_own_server=has_own_server)
            self._problems.add(setting.location, what)

    def _is_misspelt(self, vendor: str, name: str) -> bool:
        """Whether the entry probably is audio, and its vendor a mistake."""
        near = nearest(vendor, self._vendors) or "openai"
        return bool(
            misspelt_vendor(vendor, self._vendors)
            or vendor.lower().rstrip(":\\") in self._vendors
            or self._infer_mode("openai", name)
            or self._infer_mode(near, name)
        )

    def _check_keys(self, settings: Mapping[str, Setting], *, is_ours: bool) -> None:
        for setting in settings.values():
            if setting.key in _ENTRY_KEYS:
                continue
            if is_ours and self._unsupported.take(setting, litellm.ENTRY):
                continue
            if is_ours or _misspelt_entry_key(setting.key):
                self._problems.unknown_key(setting.location, setting.key, setting.section, _ENTRY_KEYS)

    # -- the deployment ------------------------------------------------------------------------------------------------

    def _deployment(
        self, entry: _Parts, vendor: str, model: str, constants: Mapping[str, Any], router: RouterSettings
    ) -> Deployment | None:
        """Missing values have been reported. A question mark replaces them, so that other problems are found too."""
        location, params = entry.node.location, entry.params or {}
        constants = {
            "group": entry.name or "?",
            "vendor": vendor or "?",
            "model": model or "?",
            "where": str(location),
            **constants,
        }
        if "*" in constants["model"] or "*" in constants["group"]:
            self._problems.add(location, "wildcards (*) are not supported; add an entry for each audio model")
        settings = self._fields_of_params(params) | self._fields_of_info(entry.info)
        for name, default in (("timeout", router.timeout), ("stream_timeout", router.stream_timeout)):
            if name not in settings and default is not None:
                constants[name] = default
        default_id = self._default_id(constants)
        if "id" not in settings:
            constants["id"] = default_id
        costs = self._costs({**entry.info, **params})
        draft = Draft("litellm_params", location, settings, constants, {"costs": costs})
        deployment = self._validator.validate(Deployment, draft)
        if deployment is not None:
            self._check_id(deployment, location)
            if deployment.base_model is not None:
                self._check_base_model(entry.info["base_model"], deployment.base_model)
            if deployment.translation_model is not None:
                named = settings["translation_model"].location
                self.translation_models.setdefault(deployment.translation_model, named)
        return deployment

    def _check_base_model(self, setting: Setting, base_model: str) -> None:
        prefix, slash, _ = base_model.partition("/")
        if slash and prefix not in litellm.PROVIDERS and (near := misspelt_vendor(prefix, self._vendors)):
            what = f"unknown vendor {quote(prefix)} in 'base_model'; did you mean '{near}'?"
            self._problems.add(setting.location, what)

    def _costs(self, settings: Mapping[str, Setting]) -> dict[str, Setting]:
        costs = {key: setting for key, setting in settings.items() if _is_cost(key)}
        for setting in costs.values():
            if setting.key not in COST_FIELDS:
                self._unsupported.ignore(setting)
        return costs

    def _fields_of_params(self, params: Mapping[str, Setting]) -> dict[str, Setting]:
        fields: dict[str, Setting] = {}
        for setting in params.values():
            field = litellm.PARAM_ALIASES.get(setting.key, setting.key)
            if setting.key in ("model", "custom_llm_provider") or _is_cost(setting.key):
                continue
            if field in fields:
                what = f"'{setting.key}' is the same setting as '{fields[field].key}'; use only one of them"
                self._problems.add(setting.location, what)
            elif field in _PARAM_FIELDS:
                fields[field] = setting
            elif setting.key.startswith(_IGNORED_PREFIXES):
                self._unsupported.ignore(setting)
            elif not self._unsupported.take(setting, litellm.PARAMS):
                self._problems.unknown_key(setting.location, setting.key, setting.section, _PARAM_FIELDS)
        return fields

    def _fields_of_info(self, info: Mapping[str, Setting]) -> dict[str, Setting]:
        """`model_info` may contain the operator's own notes, so only keys that look misspelt are errors."""
        fields: dict[str, Setting] = {}
        for setting in info.values():
            if setting.key == "mode" or _is_cost(setting.key):
                continue
            if setting.key in MODEL_INFO_FIELDS:
                fields[setting.key] = setting
            elif not self._unsupported.take(setting, litellm.MODEL_INFO):
                if nearest(setting.key, MODEL_INFO_FIELDS | _PARAM_FIELDS):
                    self._problems.unknown_key(setting.location, setting.key, setting.section, MODEL_INFO_FIELDS)
                else:
                    self._unsupported.ignore(setting)
        return fields

    def _default_id(self, constants: Mapping[str, Any]) -> str:
        """``group/vendor/model``; a second entry with the same three gets ``#2``.

        Entries with an id of their own are counted, too, so that setting an id does not rename other entries.
        """
        name = readable_id(constants["group"], constants["vendor"], constants["model"])
        self._duplicates[name] += 1
        number = self._duplicates[name]
        return name if number == 1 else f"{name}#{number}"

    def _check_id(self, deployment: Deployment, location: SourceLocation) -> None:
        if deployment.id in self._ids:
            first = self._ids[deployment.id]
            self._problems.add(location, f"model_info.id {safe_quote(deployment.id)} is given twice, first in {first}")
        self._ids.setdefault(deployment.id, deployment.where)
