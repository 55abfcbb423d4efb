"""The configuration file and the files that it includes, as one tree."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from proxy.config.problems import Problems, SourceLocation, safe_quote
from proxy.config.tree import Node, read_tree

_MAX_INCLUDES = 100


def read_config(path: str, problems: Problems) -> Node | None:
    """The mapping at the top of the file, with included files merged in. None if there is no usable file."""
    root = _read_mapping(path, problems)
    if root is None:
        return None
    for location, included in _included(root, path, problems):
        part = _read_mapping(included, problems)
        if part is None:
            continue
        if part.get("include") is not None:
            what = f"an included file cannot include others (included by {location})"
            problems.add(part.key_location("include"), what)
        root = _merge(root, part, problems, top=True)
    return root


def _read_mapping(path: str, problems: Problems) -> Node | None:
    count = len(problems)
    node = read_tree(path, problems)
    if node is None or node.content is None:
        if len(problems) == count:
            problems.add(SourceLocation(path, 0), "is empty; a configuration needs model_list")
        return None
    if not isinstance(node.content, Mapping):
        problems.add(node.location, "a configuration must be a mapping of sections (model_list:, general_settings:)")
        return None
    return node


def _included(root: Node, path: str, problems: Problems) -> list[tuple[SourceLocation, str]]:
    node = root.get("include")
    if node is None or node.content is None:
        return []
    items = node.content if isinstance(node.content, tuple) else (node,)
    names = [(item.location, item.content) for item in items if isinstance(item.content, str) and item.content]
    if len(names) < len(items) or len(names) > _MAX_INCLUDES:
        problems.add(root.key_location("include"), f"include must be a file name or a list of at most {_MAX_INCLUDES}")
        return []
    folder = os.path.dirname(path)
    return [(location, os.path.join(folder, name)) for location, name in names]


def _merge(one: Node, two: Node, problems: Problems, *, top: bool) -> Node:
    """Merge two mappings. At the top level, lists with the same key are joined and mappings are merged."""
    content = dict(one.items())
    for key, value in two.items():
        existing = content.get(key)
        if key == "include" and top:
            continue
        if existing is None or existing.content is None:
            content[key] = value
        elif top and isinstance(existing.content, tuple) and isinstance(value.content, tuple):
            content[key] = Node(existing.location, existing.content + value.content)
        elif top and isinstance(existing.content, Mapping) and isinstance(value.content, Mapping):
            content[key] = _merge(existing, value, problems, top=False)
        else:
            first = one.key_location(key)
            problems.add(two.key_location(key), f"key {safe_quote(key)} is given twice, first in {first}")
    return Node(one.location, MappingProxyType(content), {**two.keys, **one.keys})
