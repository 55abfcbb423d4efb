"""A YAML file as a tree of values that know their file and line.

Scalars stay text, so ``api_key: 0012`` keeps its zeros and ``voice: no`` is a voice. Validation turns the text into
numbers and booleans if a setting needs them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TypeAlias

import yaml

from proxy.config.problems import Problems, SourceLocation, safe_quote

MAX_BYTES = 8 * 1024 * 1024
#: Levels of nesting. A configuration needs about seven.
MAX_DEPTH = 40
#: Values, after aliases are expanded.
MAX_VALUES = 500_000

_LOADER: type[yaml.SafeLoader] | type[yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TOO_DEEP = f"values are nested more than {MAX_DEPTH} levels deep"
_CORE = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_CORE + name for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "value")}

_NO_KEYS: Mapping[str, SourceLocation] = MappingProxyType({})

Content: TypeAlias = "str | tuple[Node, ...] | Mapping[str, Node] | None"


class Node:
    """One value of the file. The content of a scalar is its text, or None for null."""

    __slots__ = ("content", "keys", "location", "size")

    def __init__(
        self, location: SourceLocation, content: Content, keys: Mapping[str, SourceLocation] = _NO_KEYS, size: int = 1
    ) -> None:
        self.location = location
        self.content = content
        #: The location of each key, if this is a mapping.
        self.keys = keys
        #: The number of values in it, after aliases are expanded.
        self.size = size

    def key_location(self, key: str) -> SourceLocation:
        """The location of a key; the mapping's own location if it has no such key."""
        return self.keys.get(key, self.location)

    def items(self) -> Iterable[tuple[str, Node]]:
        """The keys and values of a mapping; nothing for anything else."""
        return self.content.items() if isinstance(self.content, Mapping) else ()

    def get(self, key: str) -> Node | None:
        return self.content.get(key) if isinstance(self.content, Mapping) else None

    def locate(self, path: Sequence[int | str]) -> tuple[SourceLocation, Node]:
        """Follow a path of keys and positions as far as it leads. Returns the value there, and its location."""
        node, location = self, self.location
        for step in path:
            if isinstance(node.content, Mapping) and step in node.content:
                location = node.key_location(str(step))
                node = node.content[str(step)]
            elif isinstance(node.content, tuple) and isinstance(step, int) and step < len(node.content):
                node = node.content[step]
                location = node.location
            else:
                break
        return location, node


class Unreadable(Exception):
    """The text cannot become a tree; the problem has been reported."""


def read_tree(path: str, problems: Problems) -> Node | None:
    """The tree of a YAML file. None if the file is empty or unreadable; problems are added to ``problems``."""
    try:
        text = _read_text(path)
    except OSError as error:
        problems.add(SourceLocation(path, 0), f"cannot be read: {error.strerror or type(error).__name__}")
    except ValueError as error:
        problems.add(SourceLocation(path, 0), str(error))
    else:
        return parse_tree(text, path, problems)
    return None


def parse_tree(text: str, file: str, problems: Problems) -> Node | None:
    try:
        if line := _too_deep(text):
            problems.add(SourceLocation(file, line), _TOO_DEEP)
            return None
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        problems.add(*_explain(error, text, file))
        return None
    if root is None:
        return None
    try:
        return _Builder(file, problems).build(root)
    except Unreadable:
        return None


def _read_text(path: str) -> str:
    if os.path.isdir(path):
        raise ValueError("is a directory, not a file")
    if "\0" in path:
        raise ValueError("is not the name of a file")
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ValueError("no such file") from None
    if len(raw) > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES // (1024 * 1024)} MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 text (line {line})") from None


def _too_deep(text: str) -> int | None:
    """The line of a value that is nested too deeply. It must not reach the composer, which is recursive."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return event.start_mark.line + 1 if event.start_mark else 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return None


def _explain(error: yaml.YAMLError, text: str, file: str) -> tuple[SourceLocation, str]:
    """Location and message of a syntax error, without any text from the file, which may be secret."""
    if isinstance(error, yaml.reader.ReaderError):
        position = error.position if isinstance(error.position, int) else 0
        return SourceLocation(file, text.count("\n", 0, position) + 1), "a control character is not allowed in YAML"
    if not isinstance(error, yaml.MarkedYAMLError):
        return SourceLocation(file, 0), "not valid YAML"
    mark = error.problem_mark or error.context_mark
    location = SourceLocation(file, min(mark.line, text.count("\n")) + 1 if mark else 0)
    problem = error.problem or "syntax error"
    if problem.startswith("found"):
        problem = re.sub(r"\s*'.*'", "", problem)  # the pure-Python parser quotes the text
    if "nesting depth" in problem:  # PyYAML's own limit, from 6.0.4 on
        return location, _TOO_DEEP
    if "undefined alias" in problem:
        return location, "an alias (*name) without its anchor (&name); a value that begins with * needs quotes"
    if "another document" in problem:
        return location, "more than one YAML document (---) in the file"
    if "duplicate anchor" in (error.context or "") or "duplicate anchor" in problem:
        return location, "an anchor (&name) with this name already exists"
    if "start any token" in problem and mark and _begins_with_tab(text, mark):
        return location, "a tab where spaces are required"
    if "start any token" in problem or "tag handle" in problem:
        problem += "; a value that begins with a special character needs quotes"
    if "expected key" in problem or "expected <block end>" in problem or "mapping values" in problem:
        problem += "; check the indentation here and in the lines above"
    return location, f"not valid YAML: {problem}"


def _begins_with_tab(text: str, mark: yaml.Mark) -> bool:
    line = text.split("\n")[mark.line : mark.line + 1]
    return bool(line) and line[0][mark.column :].startswith("\t")


class _Builder:
    """Converts PyYAML's nodes, each once, however many aliases refer to it."""

    def __init__(self, file: str, problems: Problems) -> None:
        self._file = file
        self._problems = problems
        self._built: dict[int, Node | None] = {}

    def build(self, node: yaml.Node) -> Node:
        known = self._built.get(id(node), self)
        if isinstance(known, Node):
            return known
        if known is None:
            self._problems.add(self._location(node), "an alias must not contain itself")
            raise Unreadable
        self._built[id(node)] = None
        built = self._convert(node)
        if built.size > MAX_VALUES:
            self._problems.add(built.location, f"expands to more than {MAX_VALUES} values")
            raise Unreadable
        self._built[id(node)] = built
        return built

    def _location(self, node: yaml.Node) -> SourceLocation:
        return SourceLocation(self._file, node.start_mark.line + 1)

    def _convert(self, node: yaml.Node) -> Node:
        location = self._location(node)
        if node.tag not in _KNOWN_TAGS:
            self._problems.add(location, "YAML tags (!name) are not supported; a value that begins with ! needs quotes")
            return Node(location, None)
        if isinstance(node, yaml.ScalarNode):
            return Node(location, None if node.tag == _CORE + "null" else str(node.value))
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item) for item in node.value)
            return Node(location, items, size=1 + sum(item.size for item in items))
        return self._mapping(node, location)

    def _mapping(self, node: yaml.Node, location: SourceLocation) -> Node:
        content: dict[str, Node] = {}
        keys: dict[str, SourceLocation] = {}
        merged: list[Node] = []
        for key, value in node.value:
            key_location = self._location(key)
            if key.tag == _CORE + "merge":
                merged.extend(self._merged(value))
            elif not isinstance(key, yaml.ScalarNode):
                self._problems.add(key_location, "a key must be text")
            elif key.value in content:
                first = keys[key.value].line
                self._problems.add(key_location, f"key {safe_quote(key.value)} is given twice, first in line {first}")
            else:
                content[key.value] = self.build(value)
                keys[key.value] = key_location
        for source in merged:
            for name, value in source.items():
                content.setdefault(name, value)
                keys.setdefault(name, source.key_location(name))
        size = 1 + sum(value.size for value in content.values())
        return Node(location, MappingProxyType(content), MappingProxyType(keys), size)

    def _merged(self, value: yaml.Node) -> Iterator[Node]:
        """The mappings that ``<<: *name`` or ``<<: [*one, *two]`` merges. The first has precedence."""
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in sources:
            built = self.build(source)
            if isinstance(built.content, Mapping):
                yield built
            else:
                self._problems.add(built.location, "<< merges mappings only")
