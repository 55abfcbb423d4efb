"""Turns settings of the file into validated models, and pydantic's errors into problems with file and line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from proxy.config.kinds import Kinds, keys_of
from proxy.config.problems import Problems, SourceLocation, safe_quote, suggestion
from proxy.config.setting import Setting
from proxy.config.variables import REFERENCE, UNSET, Variables

Model = TypeVar("Model", bound=BaseModel)
Step = str | int

_SECRET_NAME = re.compile(r"key|token|secret|password|header|credential|authorization", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Draft:
    """A model before validation: a setting for each field, and the location in the file."""

    #: The name of the section, for messages about missing fields.
    section: str
    #: The location of missing fields and invalid constants.
    location: SourceLocation
    settings: Mapping[str, Setting]
    #: Values that the loader adds. The file cannot set these fields.
    constants: Mapping[str, Any] = field(default_factory=dict)
    #: Fields that are mappings whose entries are settings themselves.
    mappings: Mapping[str, Mapping[str, Setting]] = field(default_factory=dict)


class Validator:
    def __init__(self, variables: Variables, problems: Problems) -> None:
        self._variables = variables
        self._problems = problems

    def validate(self, schema: type[Model] | Kinds[Model], draft: Draft) -> Model | None:
        """The model, or None if it is invalid. All problems are reported."""
        count = len(self._problems)
        data = {name: self._variables.resolve(setting.value) for name, setting in draft.settings.items()}
        unset = {name for name, value in data.items() if value is UNSET}
        data |= dict.fromkeys(unset)
        data |= {name: self._mapping(settings) for name, settings in draft.mappings.items()}
        for key, setting in draft.settings.items():
            if key in draft.constants:
                self._problems.unknown_key(setting.location, key, setting.section, ())
        try:
            model = _validated(schema, {**data, **draft.constants})
        except ValidationError as error:
            for details in error.errors(include_url=False, include_input=False):
                self._report(details, schema, draft, unset)
            return None
        return model if len(self._problems) == count else None

    def _mapping(self, settings: Mapping[str, Setting]) -> dict[str, Any]:
        values = {key: self._variables.resolve(setting.value) for key, setting in settings.items()}
        return {key: value for key, value in values.items() if value is not UNSET}

    def _report(
        self, details: ErrorDetails, schema: type[BaseModel] | Kinds[Any], draft: Draft, unset: Collection[str]
    ) -> None:
        path = details["loc"]
        if isinstance(schema, Kinds):
            if details["type"].startswith("union_tag"):
                self._report_kind(schema, draft, unset)
                return
            schema, path = schema.classes[str(path[0])], path[1:]
        if not path:
            self._problems.add(draft.location, f"{draft.section} {_expected(details)}")
            return
        settings = draft.settings
        if path[0] in draft.mappings:
            settings, path = draft.mappings[str(path[0])], path[1:]
        name = str(path[0])
        setting = settings.get(name)
        if setting is None:
            section = "" if name in draft.constants else f" in {draft.section}"
            self._problems.add(draft.location, f"'{name}' {_expected(details)}{section}")
            return
        location, node = setting.parent.locate((setting.key, *path[1:]))
        if details["type"] == "extra_forbidden":
            section = ".".join((setting.section, *map(str, path[:-1])))
            self._problems.unknown_key(location, str(path[-1]), section, _keys(schema, path[:-1], draft))
        elif name not in unset:
            part = "" if len(path) == 1 or details["type"] == "missing" else "an entry of "
            text = f"{part}'{setting.key}' in {setting.section} {_expected(details)}"
            self._problems.add(location, text + _correction(details, setting.key, node.content))

    def _report_kind(self, kinds: Kinds[Any], draft: Draft, unset: Collection[str]) -> None:
        """The kind is missing or unknown."""
        key, names = kinds.key, ", ".join(kinds.classes)
        setting = draft.settings.get(key)
        if setting is None:
            self._problems.add(draft.location, f"'{key}' is missing in {draft.section}; use one of {names}")
        elif not isinstance(text := setting.value.content, str):
            self._problems.add(setting.location, f"'{key}' in {setting.section} must be text")
        elif key not in unset:
            near = suggestion(text, kinds.classes)
            self._problems.add(setting.location, f"unknown {key} {safe_quote(text)}; use one of {names}{near}")


def _validated(schema: type[Model] | Kinds[Model], data: Mapping[str, Any]) -> Model:
    """Fields are looked up by their aliases only, which are the keys of the file."""
    if isinstance(schema, Kinds):
        return schema.union.validate_python(data, by_alias=True, by_name=False)
    return schema.model_validate(data, by_alias=True, by_name=False)


def _keys(model: Any, path: Sequence[Step], draft: Draft) -> list[str]:
    """The keys of a model, or of the nested model at the path."""
    for step in path:
        model = model.model_fields[step].annotation
    return [key for key in keys_of(model) if key not in draft.constants]


def _correction(details: ErrorDetails, key: str, content: object) -> str:
    """The invalid choice, unless it may be secret, and the most similar valid one."""
    if details["type"] not in ("literal_error", "enum") or not isinstance(content, str):
        return ""
    if _SECRET_NAME.search(key) or content.startswith(REFERENCE):
        return ""
    return f", not {safe_quote(content)}{suggestion(content, _choices(details))}"


def _choices(details: ErrorDetails) -> Sequence[str]:
    return re.findall("'([^']*)'", str(details.get("ctx", {}).get("expected", "")))


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


def _expected(details: ErrorDetails) -> str:
    """What is expected of a value. Pydantic's own messages may quote the value."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED_BOUNDS:
        bounds = {name: f"{bound:g}" if isinstance(bound, float) else bound for name, bound in context.items()}
        return _EXPECTED_BOUNDS[kind].format_map(bounds)
    return _EXPECTED.get(kind) or _EXPECTED_BY_PREFIX.get(kind.split("_")[0], "is not valid")
