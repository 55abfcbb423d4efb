"""Checks ``router_settings`` for names of groups that do not exist."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from proxy.config import Config


def problems(config: Config) -> list[str]:
    """One line for each problem, with file and line number. Groups that were skipped (no audio models) exist, too."""
    aliases = config.router.model_group_alias
    groups = {*config.groups, *config.translators, *config.skipped}
    problems = []
    for key, name in _named(config):
        known = groups if key == "model_group_alias" else groups | aliases.keys()
        if name not in known:
            what = (
                "is itself an alias; name the group" if name in aliases else f"is no model_name{_nearest(name, known)}"
            )
            location = config.locations.get(f"router_settings.{key}", config.path)
            problems.append(f"{location}: {key} names '{name}', which {what}")
    return problems


def _named(config: Config) -> Iterator[tuple[str, str]]:
    router = config.router
    for row in router.fallbacks:
        for group, others in row.items():
            yield from (("fallbacks", name) for name in (group, *others))
    yield from (("default_fallbacks", name) for name in router.default_fallbacks)
    yield from (("model_group_alias", name) for name in router.model_group_alias.values())


def _nearest(name: str, known: set[str]) -> str:
    nearest = get_close_matches(name, known, n=1)
    return f"; did you mean '{nearest[0]}'?" if nearest else ""
