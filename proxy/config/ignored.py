"""Settings that LiteLLM has and this proxy does not: refused, warned of one by one, or named in one warning."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from proxy.config.litellm import OFF_IF_TRUE
from proxy.config.problems import Problems, SourceLocation
from proxy.config.values import Setting, is_on, is_true


class Ignored:
    def __init__(self, problems: Problems, warnings: list[str]) -> None:
        self._problems = problems
        self._warnings = warnings
        self._quiet: dict[str, list[SourceLocation]] = {}

    def take(
        self, setting: Setting, refused: Mapping[str, str], loud: Mapping[str, str], quiet: Collection[str]
    ) -> bool:
        """Deal with a setting of LiteLLM's, by its tables; False where it is none."""
        if setting.key in refused:
            if is_on(setting.value):
                self.refuse(setting, refused[setting.key], setting.place)
        elif setting.key in loud:
            off = is_true(setting.value) if setting.key in OFF_IF_TRUE else not is_on(setting.value)
            if not off:
                name = f"{setting.section}.{setting.key}"
                self._warnings.append(f"{setting.place}: {name} has no effect: {loud[setting.key]}")
        elif setting.key in quiet:
            self.note(setting)
        else:
            return False
        return True

    def refuse(self, setting: Setting, why: str, place: SourceLocation) -> None:
        remedy = "LiteLLM's protection is not dropped in silence: take the key out to start without it"
        self._problems.add(place, f"'{setting.key}' in {setting.section}: {why}; {remedy}")

    def note(self, setting: Setting) -> None:
        """Name the setting in the one warning."""
        name = setting.key if setting.section == "the configuration" else f"{setting.section}.{setting.key}"
        self._quiet.setdefault(name, []).append(setting.place)

    def line(self, file: str) -> Iterator[str]:
        """The one warning, where there is anything to warn of."""
        if self._quiet:
            names = ", ".join(f"{name} ({_lines(places)})" for name, places in self._quiet.items())
            yield f"{file}: settings of LiteLLM that have no effect here: {names}"


def _lines(places: list[SourceLocation]) -> str:
    shown = ", ".join(str(place.line) for place in places[:5]) + (", …" if len(places) > 5 else "")
    return f"line {shown}" if len(places) == 1 else f"lines {shown}"
