"""One setting of the file: a key with its value."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from proxy.config.problems import SourceLocation
from proxy.config.tree import Node

_OFF = frozenset({"", "0", "0.0", "false", "no", "off", "none", "null"})
_TRUE = frozenset({"true", "yes", "on", "1"})


class Setting(NamedTuple):
    """A key with its value, and the name of the section that contains it."""

    section: str
    key: str
    parent: Node
    value: Node

    @property
    def location(self) -> SourceLocation:
        return self.parent.key_location(self.key)

    @property
    def is_on(self) -> bool:
        """Whether a setting that the proxy does not support asks for anything."""
        content = self.value.content
        return content.strip().lower() not in _OFF if isinstance(content, str) else bool(content)

    @property
    def is_true(self) -> bool:
        content = self.value.content
        return isinstance(content, str) and content.strip().lower() in _TRUE


def settings_of(section: str, node: Node | None) -> Collection[Setting]:
    """The settings of a section. A key whose value is null counts as absent."""
    if node is None:
        return ()
    return [Setting(section, key, node, value) for key, value in node.items() if value.content is not None]
