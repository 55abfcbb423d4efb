"""``model_list``: its audio entries become deployments, the others are skipped by name."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from proxy.config import litellm
from proxy.config.ignored import Ignored
from proxy.config.models import COST_FIELDS, DERIVED_FIELDS, MODEL_INFO_FIELDS, Deployment, RouterSettings
from proxy.config.problems import Problems, SourceLocation, nearest, quoted, shown, suggestion
from proxy.config.tree import Node
from proxy.config.values import Setting, Values, settings_of
from proxy.domain.requests import Mode

CHAT = "chat"
_ENTRY_KEYS = ("model_name", "litellm_params", "params", "model_info")
_PARAM_FIELDS = Deployment.model_fields.keys() - MODEL_INFO_FIELDS - DERIVED_FIELDS
_COST = "_cost_per_"
#: Prices of LiteLLM's that are named otherwise.
_CACHE_COSTS = frozenset({"cache_read_input_token_cost", "cache_read_input_audio_token_cost"})
#: Parameters of other vendors come in families.
_IGNORED_PREFIXES = ("aws_", "azure_", "vertex_", "langfuse_", "s3_", "milvus_", "valkey_", "auto_router_")
_KNOWN_ENTRY_KEYS = {*_ENTRY_KEYS, *litellm.ENTRY_REFUSED, *litellm.ENTRY_IGNORED}
_KNOWN_PARAMS = {"custom_llm_provider", *_PARAM_FIELDS, *litellm.PARAM_ALIASES} | {
    *litellm.PARAM_REFUSED,
    *litellm.PARAM_LOUD,
    *litellm.PARAM_IGNORED,
}


def _is_cost(key: str) -> bool:
    return _COST in key or key in _CACHE_COSTS


def _meant_entry_key(key: str) -> str | None:
    """The key of ours that this one is a slip of, where neither we nor LiteLLM know it."""
    return None if key in _KNOWN_ENTRY_KEYS else nearest(key, _ENTRY_KEYS)


def _meant_parameter(key: str) -> str | None:
    """As `_meant_entry_key`, in litellm_params."""
    is_known = key in _KNOWN_PARAMS or key.startswith(_IGNORED_PREFIXES) or _is_cost(key)
    return None if is_known else nearest(key, _PARAM_FIELDS)


class Skipped(NamedTuple):
    """An entry that is not served: it is not audio, or of a vendor that the proxy has not."""

    name: str
    place: SourceLocation
    is_audio: bool

    def __str__(self) -> str:
        return f"{quoted(self.name)[1:-1]} (line {self.place.line})"


class Entries:
    def __init__(
        self,
        values: Values,
        problems: Problems,
        ignored: Ignored,
        warnings: list[str],
        vendors: Collection[str],
        infer_mode: Callable[[str, str], Mode | None],
    ) -> None:
        self._values, self._problems, self._ignored, self._warnings = values, problems, ignored, warnings
        self._vendors, self._infer_mode = vendors, infer_mode
        self._alike: Counter[tuple[str, ...]] = Counter()
        self._ids: dict[str, str] = {}
        #: Entries of ``mode: chat`` by their name, of which `translators` reads those that it is told.
        self._chats: dict[str, list[Node]] = {}
        self.skipped: list[Skipped] = []
        #: What the deployments' ``translation_model`` names, and where it is said first.
        self.wanted: dict[str, SourceLocation] = {}

    def read(self, model_list: Node | None, router: RouterSettings, file: str) -> tuple[Deployment, ...]:
        if model_list is None:
            return ()
        if not isinstance(model_list.content, tuple):
            self._problems.add(model_list.place, "model_list must be a list of entries (- model_name: …)")
            return ()
        found = [self._entry(node, router) for node in model_list.content]
        return tuple(deployment for deployment in found if deployment is not None)

    def translators(self, names: Collection[str], router: RouterSettings) -> tuple[Deployment, ...]:
        """The entries of ``mode: chat`` of these names: none is read unless it is to translate."""
        found = []
        for name in names:
            nodes = self._chats.pop(name, [])
            read = {(name, node.place) for node in nodes}
            self.skipped = [entry for entry in self.skipped if (entry.name, entry.place) not in read]
            found += [self._translator(node, router) for node in nodes]
        return tuple(deployment for deployment in found if deployment is not None)

    @property
    def chats(self) -> Collection[str]:
        """Names of the entries of ``mode: chat`` that have not been read."""
        return self._chats.keys()

    def _translator(self, node: Node, router: RouterSettings) -> Deployment | None:
        top = self._top(node)
        name, params, info = self._name(node, top), self._params(node, top), self._info(top)
        self._check_keys(top, is_ours=True)
        if params is None:
            return None
        vendor, model = self._vendor_and_model(node, params, None)
        if model and not vendor:
            remedy = "if its server speaks OpenAI's API, write openai/NAME and api_base"
            self._problems.add(node.place, f"there is no vendor for {quoted(model)}; {remedy}")
        derived = {"group": name or "?", "vendor": vendor or "?", "model": model or "?", "where": str(node.place)}
        return self._deployment(node, derived, params, info, router)

    def _entry(self, node: Node, router: RouterSettings) -> Deployment | None:
        if not isinstance(node.content, Mapping):
            self._problems.add(node.place, "an entry of model_list must be a mapping (model_name:, litellm_params:)")
            return None
        top = self._top(node)
        name, params, info = self._name(node, top), self._params(node, top), self._info(top)
        mode, is_other = self._mode(info)
        vendor, model = ("", "") if is_other or params is None else self._vendor_and_model(node, params, mode)
        if vendor and mode is None:
            base_model = self._values.text(info["base_model"]) if "base_model" in info else None
            mode = self._infer_mode(vendor, model) or self._infer_mode(vendor, base_model or "")
        is_known = is_other or bool(model)
        is_ours = bool(vendor and mode) if is_known else bool(mode or any(map(_meant_parameter, params or {})))
        self._check_keys(top, is_ours=is_ours)
        if is_ours:
            # What is missing has been noted: with a question mark in its place, the other faults are found as well.
            derived = {"group": name or "?", "vendor": vendor or "?", "model": model or "?", "mode": mode}
            return self._deployment(node, derived | {"where": str(node.place)}, params or {}, info, router)
        if is_known:
            self._skip(node, name or "?", model, is_audio=mode is not None)
        if is_other and name and self._values.text(info["mode"]) == CHAT:
            self._chats.setdefault(name, []).append(node)
        return None

    def _skip(self, node: Node, name: str, model: str, *, is_audio: bool) -> None:
        self.skipped.append(Skipped(name, node.place, is_audio))
        if "*" in model:
            self._warnings.append(f"{node.place}: wildcards are not supported; name each audio model in an entry")

    # -- the parts of an entry -----------------------------------------------------------------------------------------

    def _top(self, node: Node) -> dict[str, Setting]:
        """The entry's settings, those with misspelt keys also under the keys that were meant."""
        top = {setting.key: setting for setting in settings_of("an entry of model_list", node)}
        meant = {near: setting for key, setting in top.items() if (near := _meant_entry_key(key))}
        return meant | top

    def _name(self, node: Node, top: Mapping[str, Setting]) -> str | None:
        if "model_name" not in top:
            self._problems.add(node.place, "'model_name' is missing in an entry of model_list")
            return None
        name = self._values.text(top["model_name"])
        if name == "":
            self._problems.add(top["model_name"].place, "'model_name' in an entry of model_list must not be empty")
        return name or None

    def _params(self, node: Node, top: Mapping[str, Setting]) -> dict[str, Setting] | None:
        names = [name for name in ("litellm_params", "params") if name in top]
        if not names:
            self._problems.add(node.place, "'litellm_params' is missing in an entry of model_list")
            return None
        if len(names) > 1:
            self._problems.add(top["params"].place, "'params' is the same key as 'litellm_params'; give one of them")
        return self._mapping(top[names[0]])

    def _info(self, top: Mapping[str, Setting]) -> dict[str, Setting]:
        return (self._mapping(top["model_info"]) if "model_info" in top else None) or {}

    def _mapping(self, setting: Setting) -> dict[str, Setting] | None:
        if not isinstance(setting.value.content, Mapping):
            self._problems.add(setting.place, f"'{setting.key}' must be a mapping (key: value)")
            return None
        return {inner.key: inner for inner in settings_of(setting.key, setting.value)}

    def _mode(self, info: Mapping[str, Setting]) -> tuple[Mode | None, bool]:
        """The mode that the entry gives or seems to mean, and whether that is none of audio."""
        text = self._values.text(info["mode"]) if "mode" in info else None
        if text is None:
            return None, False
        known = [mode.value for mode in Mode]
        if text not in known and text not in litellm.OTHER_MODES:
            near = suggestion(text, {*known, *litellm.OTHER_MODES})
            self._problems.add(
                info["mode"].place, f"'mode' in model_info must be {', '.join(known)}, not {shown(text)}{near}"
            )
            text = nearest(text, {*known, *litellm.OTHER_MODES})
        return (Mode(text), False) if text in known else (None, text is not None)

    def _vendor_and_model(self, node: Node, params: Mapping[str, Setting], mode: Mode | None) -> tuple[str, str]:
        """Vendor and its name of the model. The vendor is empty where the proxy has none for this prefix, and the
        model too where the entry names none."""
        setting = self._model(node, params)
        text = self._values.text(setting) if setting is not None else None
        if setting is None or text is None:
            return "", ""
        given = self._values.text(params["custom_llm_provider"]) if "custom_llm_provider" in params else None
        vendor, name = self._prefix_and_name(text.strip(), given)
        if vendor not in self._vendors and vendor in litellm.OPENAI_COMPATIBLE and "api_base" in params:
            vendor = "openai"
        if vendor not in self._vendors:
            if mode is not None:
                remedy = f"if its server speaks OpenAI's API, write openai/{quoted(name)[1:-1] or 'NAME'} and api_base"
                self._warnings.append(
                    f"{setting.place}: there is no vendor {quoted(vendor)}: the entry is not served; {remedy}"
                )
            return "", text
        if not name or name.endswith("/"):
            self._problems.add(setting.place, f"'{setting.key}' in {setting.section} must name a model")
            return "", ""
        return vendor, name

    def _model(self, node: Node, params: Mapping[str, Setting]) -> Setting | None:
        """What names the model, also under a misspelt key: with the model known, so is whether the entry is audio."""
        if "model" in params:
            return params["model"]
        slip = next((setting for key, setting in params.items() if _meant_parameter(key) == "model"), None)
        if slip is None:
            self._problems.add(node.place, "'model' is missing in litellm_params")
        else:
            self._problems.unknown_key(slip.place, slip.key, slip.section, _PARAM_FIELDS)
        return slip

    def _prefix_and_name(self, whole: str, given: str | None) -> tuple[str, str]:
        """The prefix is openai where there is none, or none that is known: names of models have slashes, too."""
        if given:
            return given, whole.removeprefix(f"{given}/")
        for vendor in self._vendors:
            if "/" in vendor and whole.startswith(f"{vendor}/"):
                return vendor, whole.removeprefix(f"{vendor}/")
        prefix, _, name = whole.partition("/")
        is_known = prefix in self._vendors or prefix in litellm.PROVIDERS
        return (prefix, name) if is_known and whole != "openai" else ("openai", whole)

    def _check_keys(self, top: Mapping[str, Setting], *, is_ours: bool) -> None:
        for setting in top.values():
            if setting.key in _ENTRY_KEYS:
                continue
            if is_ours and self._ignored.take(setting, litellm.ENTRY_REFUSED, {}, litellm.ENTRY_IGNORED):
                continue
            if is_ours or _meant_entry_key(setting.key):
                self._problems.unknown_key(setting.place, setting.key, setting.section, _ENTRY_KEYS)

    # -- the deployment ------------------------------------------------------------------------------------------------

    def _deployment(
        self,
        node: Node,
        derived: dict[str, Any],
        params: Mapping[str, Setting],
        info: Mapping[str, Setting],
        router: RouterSettings,
    ) -> Deployment | None:
        if "*" in derived["model"] or "*" in derived["group"]:
            self._problems.add(node.place, "wildcards (*) are not supported; name each audio model in an entry")
        found = self._fields_of_params(params) | self._fields_of_info(info)
        costs = {key: setting for key, setting in {**info, **params}.items() if _is_cost(key)}
        for setting in costs.values():
            if setting.key not in COST_FIELDS:
                self._ignored.note(setting)
        for field in ("timeout", "stream_timeout"):
            if field not in found and getattr(router, field) is not None:
                derived[field] = getattr(router, field)
        if "id" not in found:
            derived["id"] = self._made_up_id(derived, found.get("api_base"))
        deployment = self._values.check(Deployment, found, derived, node.place, members={"costs": costs})
        if deployment is not None:
            self._note_id(deployment, node.place)
            if deployment.translation_model is not None:
                self.wanted.setdefault(deployment.translation_model, found["translation_model"].place)
        return deployment

    def _fields_of_params(self, params: Mapping[str, Setting]) -> dict[str, Setting]:
        found: dict[str, Setting] = {}
        for setting in params.values():
            field = litellm.PARAM_ALIASES.get(setting.key, setting.key)
            if setting.key in ("model", "custom_llm_provider") or _is_cost(setting.key):
                continue
            if field in found:
                other = found[field].key
                self._problems.add(setting.place, f"'{setting.key}' is the same key as '{other}'; give one of them")
            elif field in _PARAM_FIELDS:
                found[field] = setting
            elif setting.key.startswith(_IGNORED_PREFIXES):
                self._ignored.note(setting)
            elif not self._ignored.take(setting, litellm.PARAM_REFUSED, litellm.PARAM_LOUD, litellm.PARAM_IGNORED):
                self._problems.unknown_key(setting.place, setting.key, setting.section, _PARAM_FIELDS)
        return found

    def _fields_of_info(self, info: Mapping[str, Setting]) -> dict[str, Setting]:
        """`model_info` may hold notes of the operator's own: only what looks like a slip of the pen is an error."""
        found: dict[str, Setting] = {}
        for setting in info.values():
            if setting.key == "mode" or _is_cost(setting.key):
                continue
            if setting.key in MODEL_INFO_FIELDS:
                found[setting.key] = setting
            elif not self._ignored.take(setting, litellm.INFO_REFUSED, {}, litellm.INFO_IGNORED):
                if suggestion(setting.key, MODEL_INFO_FIELDS | _PARAM_FIELDS):
                    self._problems.unknown_key(setting.place, setting.key, setting.section, MODEL_INFO_FIELDS)
                else:
                    self._ignored.note(setting)
        return found

    def _made_up_id(self, derived: Mapping[str, Any], api_base: Setting | None) -> str:
        """Stable over restarts, different for entries that differ in nothing, and never made of the key."""
        base = api_base.value.content if api_base is not None and isinstance(api_base.value.content, str) else ""
        alike = (derived["group"], derived["vendor"], derived["model"], base)
        self._alike[alike] += 1
        text = "\n".join((*alike, str(self._alike[alike])))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def _note_id(self, deployment: Deployment, place: SourceLocation) -> None:
        if deployment.id in self._ids:
            first = self._ids[deployment.id]
            self._problems.add(place, f"model_info.id {shown(deployment.id)} is given twice, first in {first}")
        self._ids.setdefault(deployment.id, deployment.where)
