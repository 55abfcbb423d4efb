"""Markdown as the tests of the documents read it: code blocks, code spans, links and anchors."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
#: Made by ``docs/conf.py`` when the site is built, and not committed.
GENERATED = (ROOT / "docs" / "project", ROOT / "docs" / "reference" / "http.md")
#: Above a YAML block that is no configuration of the proxy.
NOT_A_CONFIGURATION = "<!-- not a configuration -->"

_PARSER = MarkdownIt("commonmark").enable("table")
_ANCHOR = re.compile(r'<a (?:id|name)="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced code block."""

    path: Path
    #: Of its first line in the file.
    line: int
    language: str
    text: str
    #: The HTML comment right above it, else an empty string.
    mark: str

    @property
    def place(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Document:
    path: Path
    blocks: tuple[Block, ...]
    #: Code spans in the text.
    spans: tuple[str, ...]
    #: Targets of links and images.
    links: tuple[str, ...]
    #: What a fragment of a link may name.
    anchors: frozenset[str]


def documents() -> list[Document]:
    """Every Markdown file of the repository."""
    folders = [ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in ("docs", "bench", "deploy"))]
    paths = sorted(path for folder in folders for path in folder)
    return [read(path) for path in paths if not any(path.is_relative_to(made) for made in GENERATED)]


def read(path: Path) -> Document:
    tokens = _PARSER.parse(path.read_text(encoding="utf-8"))
    inline = [child for token in tokens for child in token.children or ()]
    return Document(
        path=path,
        blocks=tuple(_blocks(path, tokens)),
        spans=tuple(token.content for token in inline if token.type == "code_inline"),
        links=tuple(str(token.attrs[name]) for token in inline for name in ("href", "src") if name in token.attrs),
        anchors=frozenset(_anchors(tokens)),
    )


def _blocks(path: Path, tokens: list[Token]) -> Iterator[Block]:
    for before, token in itertools.pairwise([None, *tokens]):
        if token is not None and token.type == "fence":
            assert token.map
            mark = before.content.strip() if before is not None and before.type == "html_block" else ""
            yield Block(path, token.map[0] + 1, token.info.strip(), token.content, mark)


def _anchors(tokens: list[Token]) -> Iterator[str]:
    """As GitHub makes them of headings; one that comes again gets a number."""
    seen: dict[str, int] = {}
    for before, token in itertools.pairwise(tokens):
        if before.type == "heading_open":
            text = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            count = seen[slug] = seen.get(slug, -1) + 1
            yield f"{slug}-{count}" if count else slug
        yield from _ANCHOR.findall(token.content)
