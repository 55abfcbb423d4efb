"""From located values to checked settings: variables resolved, every fault named with the place where it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.config.models import Environment, RetryPolicy
from proxy.config.problems import Problems, SourceLocation, shown, suggestion
from proxy.config.tree import Node

_Model = TypeVar("_Model", bound=BaseModel)

REFERENCE = "os.environ/"
_OFF = frozenset({"", "0", "0.0", "false", "no", "off", "none", "null"})
_TRUE = frozenset({"true", "yes", "on", "1"})
_SECRET_NAME = re.compile(r"key|token|secret|password|header|credential|authorization", re.IGNORECASE)


class _Unset:
    """Stands for a value whose variable is not set (which has been noted)."""


_UNSET = _Unset()


class Setting(NamedTuple):
    """A key with its value, and the section that it stands in."""

    section: str
    key: str
    parent: Node
    value: Node

    @property
    def place(self) -> SourceLocation:
        return self.parent.of_key(self.key)


def settings_of(section: str, node: Node | None) -> list[Setting]:
    """The keys of a section that have a value (null is as good as absent)."""
    if node is None:
        return []
    return [Setting(section, key, node, value) for key, value in node.items() if value.content is not None]


def is_on(node: Node) -> bool:
    """Whether a setting that we do not have asks for anything."""
    content = node.content
    return content.strip().lower() not in _OFF if isinstance(content, str) else bool(content)


def is_true(node: Node) -> bool:
    return isinstance(node.content, str) and node.content.strip().lower() in _TRUE


def read_environment(section: Node | None, environ: Mapping[str, str], warnings: list[str]) -> Environment:
    """``environment_variables`` over the process's own, as LiteLLM has it; the process's are left as they are."""
    values = dict(environ)
    for name, node in section.items() if section else ():
        text = node.content
        if isinstance(text, str) and text.startswith(REFERENCE):
            source = text.removeprefix(REFERENCE)
            if values.get(source, "").strip():
                values[name] = values[source]
            else:
                warnings.append(f"{node.place}: environment_variables: variable {shown(source)} is not set")
        elif isinstance(text, str):
            values[name] = text
    return Environment(values)


class Values:
    """Resolves variables and checks settings against the models."""

    def __init__(self, environment: Environment, problems: Problems) -> None:
        self._environment = environment
        self._problems = problems

    def text(self, setting: Setting) -> str | None:
        """A setting's text; None where it is not text or its variable is not set (noted in both cases)."""
        value = self._plain(setting.value)
        if isinstance(value, str):
            return value
        if value is not _UNSET:
            self._problems.add(setting.place, f"'{setting.key}' in {setting.section} must be text")
        return None

    def check(
        self,
        model: type[_Model],
        settings: Mapping[str, Setting],
        derived: Mapping[str, Any],
        otherwise: SourceLocation,
        members: Mapping[str, Mapping[str, Setting]] = MappingProxyType({}),
    ) -> _Model | None:
        """The model made of settings (by field) and of derived values; None where something is wrong with it.

        ``members``: fields that are mappings, gathered from settings of their own. ``otherwise``: the place of what is
        wrong with a derived value.
        """
        known = len(self._problems)
        data = self._plain_settings(settings)
        data.update({field: self._plain_settings(gathered) for field, gathered in members.items()})
        try:
            checked = model.model_validate({**data, **derived})
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_input=False):
                self._note(detail, settings, members, otherwise)
            return None
        return checked if len(self._problems) == known else None

    def _plain_settings(self, settings: Mapping[str, Setting]) -> dict[str, Any]:
        values = {field: self._plain(setting.value) for field, setting in settings.items()}
        return {field: value for field, value in values.items() if value is not _UNSET}

    def _plain(self, node: Node) -> Any:
        content = node.content
        if isinstance(content, str):
            return self._resolve(content, node.place)
        if isinstance(content, tuple):
            items = [self._plain(item) for item in content]
            return [item for item in items if item is not _UNSET]
        if isinstance(content, Mapping):
            values = {key: self._plain(value) for key, value in content.items()}
            return {key: value for key, value in values.items() if value is not _UNSET}
        return None

    def _resolve(self, text: str, place: SourceLocation) -> str | _Unset:
        if not text.startswith(REFERENCE):
            return text
        name = text.removeprefix(REFERENCE)
        value = self._environment.get(name)
        if value is None:
            self._problems.add(
                place, f"variable {shown(name)} is not set" if name else f"{REFERENCE} names no variable"
            )
            return _UNSET
        return value

    def _note(
        self,
        detail: ErrorDetails,
        settings: Mapping[str, Setting],
        members: Mapping[str, Mapping[str, Setting]],
        otherwise: SourceLocation,
    ) -> None:
        field, *path = detail["loc"] or ("",)
        if field in members and path:
            settings, field, *path = members[str(field)], *path
        setting = settings.get(str(field))
        if setting is None:
            self._problems.add(otherwise, f"'{field}' {_expected(detail)}")
            return
        place = setting.parent.find((setting.key, *path))
        if detail["type"] == "extra_forbidden":
            self._problems.unknown_key(
                place, str(path[-1]), f"{setting.section}.{setting.key}", RetryPolicy.model_fields
            )
            return
        text = f"'{setting.key}' in {setting.section} {_expected(detail)}"
        content = setting.value.content
        if (
            detail["type"] in ("literal_error", "enum")
            and isinstance(content, str)
            and not _is_hidden(setting.key, content)
        ):
            text += f", not {shown(content)}{suggestion(content, _choices(detail))}"
        self._problems.add(place, text)


def _is_hidden(key: str, content: str) -> bool:
    return bool(_SECRET_NAME.search(key)) or content.startswith(REFERENCE)


def _choices(detail: ErrorDetails) -> Sequence[str]:
    return re.findall("'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))


_EXPECTED = {
    "missing": "is missing",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "finite_number": "must be a finite number",
}
_EXPECTED_BY_PREFIX = {
    "string": "must be text",
    "int": "must be a whole number",
    "float": "must be a number",
    "decimal": "must be a number",
    "bool": "must be true or false",
    "dict": "must be a mapping (key: value)",
    "mapping": "must be a mapping (key: value)",
    "model": "must be a mapping (key: value)",
    "tuple": "must be a list",
    "list": "must be a list",
}
_EXPECTED_BOUNDS = {
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
}


def _expected(detail: ErrorDetails) -> str:
    """What is expected of a value, in our words; pydantic's own may quote the value."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED_BOUNDS:
        bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in context.items()}
        return _EXPECTED_BOUNDS[kind].format_map(bounds)
    return _EXPECTED.get(kind) or _EXPECTED_BY_PREFIX.get(kind.split("_")[0], "is not valid")
