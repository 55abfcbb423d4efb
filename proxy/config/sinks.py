"""``litellm_settings.callbacks``: where the records of calls go, and what is wrong with that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.config import litellm
from proxy.config.ignored import Ignored
from proxy.config.models import Sink, SinkKind
from proxy.config.problems import Problems, SourceLocation, shown, suggestion
from proxy.config.tree import Node
from proxy.config.values import Setting, Values, settings_of

#: The names of sinks. Those of LiteLLM's that mean the same are here, too.
NAMES: Mapping[str, SinkKind] = {
    "webhook": "webhook",
    "generic_api": "webhook",
    "otel": "otel",
    "langfuse": "langfuse",
    "langfuse_otel": "langfuse",
    "s3": "s3",
    "s3_v2": "s3",
}
CUSTOM = "a class of your own (module.Class)"
#: Which calls each list is about: those that went well, those that failed.
LISTS: Mapping[str, tuple[bool, bool]] = {
    "callbacks": (True, True),
    "success_callback": (True, False),
    "failure_callback": (False, True),
}
_COMMON = frozenset({"callback_type", "batch_size", "flush_interval", "queue_size"})
FIELDS: Mapping[SinkKind, frozenset[str]] = {
    "webhook": _COMMON | {"endpoint", "headers", "signing_secret"},
    "otel": _COMMON,
    "langfuse": _COMMON,
    "s3": _COMMON,
    "custom": _COMMON | {"params"},
}
#: LiteLLM's; no content is ever sent, and a batch is one JSON array.
_IGNORED = frozenset({"message_logging", "log_format", "event_types"})
#: Of ``s3_callback_params``.
S3_FIELDS: Mapping[str, str] = {
    "s3_bucket_name": "bucket",
    "s3_region_name": "region",
    "s3_endpoint_url": "endpoint",
    "s3_path": "path",
    "s3_aws_access_key_id": "access_key_id",
    "s3_aws_secret_access_key": "secret_access_key",
    "s3_aws_session_token": "session_token",
    "s3_batch_size": "batch_size",
    "s3_flush_interval": "flush_interval",
}


@dataclass(slots=True)
class _Wanted:
    setting: Setting
    place: SourceLocation
    successes: bool = False
    failures: bool = False


class SinkRegistry:
    def __init__(self, values: Values, problems: Problems, ignored: Ignored) -> None:
        self._values, self._problems, self._ignored = values, problems, ignored
        self._wanted: dict[str, _Wanted] = {}
        self._s3: Setting | None = None

    def take(self, setting: Setting) -> bool:
        """One of `litellm_settings`; False where it is not about sinks."""
        if setting.key == "s3_callback_params":
            self._s3 = setting
        elif setting.key in litellm.CALLBACK_KEYS:
            self._list(setting)
        else:
            return False
        return True

    def read(self, callback_settings: Node | None) -> tuple[Sink, ...]:
        own = {setting.key: setting for setting in settings_of("callback_settings", callback_settings)}
        found = [self._sink(name, wanted, own.pop(name, None)) for name, wanted in self._wanted.items()]
        for setting in own.values():
            self._ignored.note(setting)
        if self._s3 is not None:
            self._ignored.note(self._s3)
        return tuple(sink for sink in found if sink is not None)

    def _list(self, setting: Setting) -> None:
        content = setting.value.content
        for node in content if isinstance(content, tuple) else (setting.value,):
            name = node.content
            if not isinstance(name, str | None):
                self._ignored.refuse(setting, "a callback that is not a name is not supported", node.place)
            elif name is None or name in litellm.BUILT_IN_CALLBACKS:
                continue
            elif setting.key not in LISTS:
                self._ignored.refuse(setting, f"callback {shown(name)} is not supported", node.place)
            else:
                wanted = self._wanted.setdefault(name, _Wanted(setting, node.place))
                successes, failures = LISTS[setting.key]
                wanted.successes |= successes
                wanted.failures |= failures

    def _sink(self, name: str, wanted: _Wanted, own: Setting | None) -> Sink | None:
        settings = {setting.key: setting for setting in settings_of(name, own.value)} if own is not None else {}
        if own is not None and not isinstance(own.value.content, Mapping):
            self._problems.add(own.place, f"{shown(name)} in callback_settings must be a mapping (key: value)")
            return None
        kind = self._kind(name, wanted, settings.get("callback_type"))
        if kind is None:
            return None
        known: dict[str, Setting] = {}
        for key, setting in settings.items():
            if key in FIELDS[kind]:
                known[key] = setting
            elif key in _IGNORED:
                self._ignored.note(setting)
            else:
                self._problems.unknown_key(setting.place, key, f"callback_settings.{name}", FIELDS[kind])
        known.pop("callback_type", None)
        if kind == "s3":
            known = {**dict(self._s3_settings()), **known}
        derived: dict[str, Any] = {
            "name": name,
            "kind": kind,
            "successes": wanted.successes,
            "failures": wanted.failures,
            "where": str(wanted.place),
        }
        return self._values.check(Sink, known, derived, wanted.place)

    def _kind(self, name: str, wanted: _Wanted, setting: Setting | None) -> SinkKind | None:
        """By ``callback_type``, as LiteLLM has it for names of one's own, else by the name."""
        said = self._values.text(setting) if setting is not None else name
        if said is None:
            return None
        if said in NAMES:
            return NAMES[said]
        if setting is None and "." in name:
            return "custom"
        place = wanted.place if setting is None else setting.place
        names = ", ".join([*litellm.BUILT_IN_CALLBACKS, *NAMES, CUSTOM])
        why = f"callback {shown(said)} is not supported: there are {names}{suggestion(said, NAMES)}"
        self._ignored.refuse(wanted.setting if setting is None else setting, why, place)
        return None

    def _s3_settings(self) -> Iterator[tuple[str, Setting]]:
        section, self._s3 = self._s3, None
        for setting in settings_of("s3_callback_params", section.value if section is not None else None):
            if setting.key in S3_FIELDS:
                yield S3_FIELDS[setting.key], setting
            elif setting.key.startswith("s3_"):
                self._ignored.note(setting)
            else:
                self._problems.unknown_key(setting.place, setting.key, setting.section, S3_FIELDS)
