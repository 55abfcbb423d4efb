"""``guardrail: max_length``: more words than a call may have."""

from __future__ import annotations

from proxy.config import Guardrail
from proxy.guardrails.base import ALLOW, Context, Verdict


class MaxLength:
    is_local = True

    def __init__(self, settings: Guardrail) -> None:
        self._most = settings.max_characters or 0

    async def check(self, text: str, context: Context) -> Verdict:
        return ALLOW if len(text) <= self._most else Verdict(("LENGTH",))

    async def aclose(self) -> None:
        pass
