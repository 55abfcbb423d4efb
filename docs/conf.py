"""The documentation site: ``sphinx-build -W -n docs site``. See CONTRIBUTING.md."""

from __future__ import annotations

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import mermaidx
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS))

import http_reference  # noqa: E402  (beside this file)

project = "audio-proxy"
version = release = importlib.metadata.version("audio-proxy")
project_copyright = "the audio-proxy contributors, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "audio-proxy"
html_copy_source = False
html_show_sphinx = False
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4
myst_fence_as_directive = ["mermaid"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_type_aliases = {"File": "File"}
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
#: Types of other packages, and of this one's internals, are named but not linked.
nitpick_ignore_regex = [("py:.*", r"(?!proxy\.(errors|guardrails)\b).*")]

#: Pages of the repository that lie outside ``docs/``, and where the site shows them.
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
    "bench/README.md": "project/benchmarks.md",
    "bench/history.md": "project/benchmark-history.md",
}
_LINK = re.compile(r"\]\((?![a-z]+:|#)(?P<path>[^)#\s]+)")


def relinked(markdown: str, source: str, page: str) -> str:
    """``markdown`` of the repository's file ``source``, with links that hold when it stands at ``docs/PAGE``."""

    def link(match: re.Match[str]) -> str:
        path = os.path.normpath(os.path.join(os.path.dirname(source), match["path"]))
        target = DOCS / ELSEWHERE[path] if path in ELSEWHERE else ROOT / path
        return "](" + os.path.relpath(target, (DOCS / page).parent)

    return _LINK.sub(link, markdown)


class Mermaid(SphinxDirective):
    """A diagram, drawn when the site is built: no page loads a script for it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        drawing = mermaidx.render("\n".join(self.content)).svg()
        return [nodes.raw("", f'<div style="background: white; padding: 1em">{drawing}</div>', format="html")]


def write_pages(app: Sphinx) -> None:
    """What is made at each build and not committed: see ``.gitignore``."""
    pages = {
        page: relinked((ROOT / source).read_text(encoding="utf-8"), source, page)
        for source, page in ELSEWHERE.items()
        if page != "index.md"
    }
    pages["reference/http.md"] = http_reference.page(http_reference.openapi())
    for page, markdown in pages.items():
        path = DOCS / page
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != markdown:
            path.write_text(markdown, encoding="utf-8")


def relink(app: Sphinx, docname: str, content: list[str]) -> None:
    if f"{docname}.md" not in ELSEWHERE.values() or docname == "index":
        content[0] = relinked(content[0], f"docs/{docname}.md", f"{docname}.md")


def without_signature(app: Sphinx, what: str, name: str, *_: object) -> tuple[str, None] | None:
    """Nobody constructs these errors but the proxy."""
    return ("", None) if name.startswith("proxy.errors.") and what == "exception" else None


def setup(app: Sphinx) -> None:
    app.add_directive("mermaid", Mermaid)
    app.connect("builder-inited", write_pages)
    app.connect("source-read", relink)
    app.connect("autodoc-process-signature", without_signature)
