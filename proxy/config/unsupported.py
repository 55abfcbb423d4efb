"""Settings that LiteLLM has and this proxy does not support: errors, warnings, or named in one common warning."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.litellm import OFF_IF_TRUE, Section
from proxy.config.problems import Problems, SourceLocation
from proxy.config.setting import Setting


class Unsupported:
    def __init__(self, problems: Problems, warnings: list[str]) -> None:
        self._problems = problems
        self._warnings = warnings
        self._ignored: dict[str, list[SourceLocation]] = {}

    def take(self, setting: Setting, section: Section) -> bool:
        """Report a setting of LiteLLM. Returns False if LiteLLM does not have it either."""
        key = setting.key
        if key in section.refused:
            if setting.is_on:
                self.refuse(setting, section.refused[key], setting.location)
        elif key in section.warned:
            is_off = setting.is_true if key in OFF_IF_TRUE else not setting.is_on
            if not is_off:
                what = f"{setting.section}.{key} has no effect: {section.warned[key]}"
                self._warnings.append(f"{setting.location}: {what}")
        elif key in section.ignored:
            self.ignore(setting)
        else:
            return False
        return True

    def refuse(self, setting: Setting, reason: str, location: SourceLocation) -> None:
        remedy = "remove the key to start without this protection"
        self._problems.add(location, f"'{setting.key}' in {setting.section}: {reason}; {remedy}")

    def ignore(self, setting: Setting) -> None:
        """Name the setting in the common warning."""
        name = setting.key if setting.section == "the configuration" else f"{setting.section}.{setting.key}"
        self._ignored.setdefault(name, []).append(setting.location)

    def warning(self, file: str) -> Iterator[str]:
        """The common warning, if there is anything to warn of."""
        if self._ignored:
            names = ", ".join(f"{name} ({_lines(locations)})" for name, locations in self._ignored.items())
            yield f"{file}: LiteLLM settings that have no effect here: {names}"


def _lines(locations: list[SourceLocation]) -> str:
    numbers = ", ".join(str(location.line) for location in locations[:5]) + (", …" if len(locations) > 5 else "")
    return f"line {numbers}" if len(locations) == 1 else f"lines {numbers}"
