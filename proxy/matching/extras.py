"""Which fields that OpenAI's API does not have a request may set, and the warning about those that it may not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from proxy.providers.base import Capabilities

MAX_WARNINGS = 20
#: Never forwarded: such a field could bypass limits, billing and guardrails, or send the call elsewhere.
NEVER_EXTRA = re.compile(r"url|uri|callback|webhook|api[-_]?key|token(?!s|i)|authorization|header", re.IGNORECASE)


def is_allowed(capabilities: Capabilities, name: str, value: Any = None) -> bool:
    """``name`` may be the name of a form field: ``options[seed]`` belongs to ``options``."""
    if capabilities.extras is not None:
        return name.partition("[")[0] in capabilities.extras
    if NEVER_EXTRA.search(name) is not None:
        return False
    return not any(NEVER_EXTRA.search(inner) or "://" in text for inner, text in _texts_in(value))


def no_effect(name: str, model: str) -> str:
    """The warning about a field that is left out."""
    return f"{name[:50]} has no effect on '{model}'"


def _texts_in(value: Any) -> Iterator[tuple[str, str]]:
    """All names and texts in a JSON value: ``(name, "")`` or ``("", text)``."""
    pending = [value]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            yield from ((name, "") for name in node)
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, str):
            yield "", node
