"""``os.environ/NAME`` in the file: the variables that it may name, and values with all of them resolved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.config.environment import Environment
from proxy.config.problems import Problems, SourceLocation, shown
from proxy.config.setting import Setting
from proxy.config.tree import Node

REFERENCE = "os.environ/"


class _Unset:
    """Stands for a value whose variable is not set, which has been reported."""


UNSET: Final = _Unset()


def read_environment(section: Node | None, environ: Mapping[str, str], warnings: list[str]) -> Environment:
    """``environment_variables`` over those of the process, as LiteLLM has it. The process's own stay as they are."""
    values = dict(environ)
    for name, node in section.items() if section else ():
        text = node.content
        if isinstance(text, str) and text.startswith(REFERENCE):
            source = text.removeprefix(REFERENCE)
            if values.get(source, "").strip():
                values[name] = values[source]
            else:
                warnings.append(f"{node.location}: environment_variables: variable {shown(source)} is not set")
        elif isinstance(text, str):
            values[name] = text
    return Environment(values)


class Variables:
    """Turns values of the file into plain ones. A variable that is not set is reported, and its value is `UNSET`."""

    def __init__(self, environment: Environment, problems: Problems) -> None:
        self._environment = environment
        self._problems = problems

    def text(self, setting: Setting) -> str | None:
        """The text of a setting; None if it is no text or its variable is not set, which is reported."""
        value = self.resolve(setting.value)
        if isinstance(value, str):
            return value
        if value is not UNSET:
            self._problems.add(setting.location, f"'{setting.key}' in {setting.section} must be text")
        return None

    def resolve(self, node: Node) -> Any:
        """Without what is `UNSET` inside of it."""
        content = node.content
        if isinstance(content, str):
            return self._resolved(content, node.location)
        if isinstance(content, tuple):
            items = [self.resolve(item) for item in content]
            return [item for item in items if item is not UNSET]
        if isinstance(content, Mapping):
            values = {key: self.resolve(value) for key, value in content.items()}
            return {key: value for key, value in values.items() if value is not UNSET}
        return None

    def _resolved(self, text: str, location: SourceLocation) -> str | _Unset:
        if not text.startswith(REFERENCE):
            return text
        name = text.removeprefix(REFERENCE)
        value = self._environment.get(name)
        if value is None:
            self._problems.add(
                location, f"variable {shown(name)} is not set" if name else f"{REFERENCE} names no variable"
            )
            return UNSET
        return value
