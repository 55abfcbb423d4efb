"""SSML from untrusted text and values: everything is escaped, so nothing in them can become markup.

Allowed characters: XML 1.0 (fifth edition), 2.2 "Characters"; others are invalid in a document, escaped or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def text(content: str) -> str:
    """The content of an element, without the characters that XML does not allow."""
    return escape(_FORBIDDEN.sub("", content), quote=False)


def element(name: str, content: str, attributes: Mapping[str, str | None]) -> str:
    """``content`` is markup. Without attributes, the content is returned as it is."""
    present = {key: value for key, value in attributes.items() if value is not None}
    return f"<{name}{_encoded(present)}>{content}</{name}>" if present else content


def document(content: str, *, voice: str, language: str) -> str:
    namespaces = {
        "version": "1.0",
        "xmlns": "http://www.w3.org/2001/10/synthesis",
        "xmlns:mstts": "https://www.w3.org/2001/mstts",
        "xml:lang": language,
    }
    return element("speak", element("voice", content, {"name": voice}), namespaces)


def _encoded(attributes: Mapping[str, str]) -> str:
    return "".join(f' {key}="{escape(_FORBIDDEN.sub("", value))}"' for key, value in attributes.items())
