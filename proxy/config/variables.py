"""Environment variables in the file, written ``os.environ/NAME``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from proxy.config.environment import Environment
from proxy.config.problems import Problems, SourceLocation, safe_quote
from proxy.config.setting import Setting
from proxy.config.tree import Node

REFERENCE = "os.environ/"
#: The end of a problem.
NOT_SET = "is not set"


class _Unset:
    """Replaces a value whose variable is not set. The problem has been reported."""


UNSET: Final = _Unset()


def read_environment(section: Node | None, environ: Mapping[str, str], warnings: list[str]) -> Environment:
    """``environment_variables``, which override those of the process, as in LiteLLM. The process's are not changed."""
    values = dict(environ)
    for name, node in section.items() if section else ():
        text = node.content
        if isinstance(text, str) and text.startswith(REFERENCE):
            source = text.removeprefix(REFERENCE)
            if values.get(source, "").strip():
                values[name] = values[source]
            else:
                warnings.append(f"{node.location}: environment_variables: variable {safe_quote(source)} is not set")
        elif isinstance(text, str):
            values[name] = text
    return Environment(values)


class Variables:
    """Turns nodes into plain values. A variable that is not set is reported, and its value is `UNSET`."""

    def __init__(self, environment: Environment, problems: Problems) -> None:
        self._environment = environment
        self._problems = problems

    def text(self, setting: Setting) -> str | None:
        """The text of a setting. None, and a problem, if it is not text or its variable is not set."""
        value = self.resolve(setting.value)
        if isinstance(value, str):
            return value
        if value is not UNSET:
            self._problems.add(setting.location, f"'{setting.key}' in {setting.section} must be text")
        return None

    def resolve(self, node: Node) -> Any:
        """The plain value. Items of lists and mappings that are `UNSET` are left out."""
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
            what = f"variable {safe_quote(name)} {NOT_SET}"
            self._problems.add(location, what if name else f"{REFERENCE} must be followed by the name of a variable")
            return UNSET
        return value
