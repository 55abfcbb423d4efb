"""Guardrails: what looks at the words of a call, and may change them or end the call.

What a guardrail of one's own (``guardrail: custom``) needs is exported here.
"""

from __future__ import annotations

from proxy.guardrails.base import ALLOW, Context, Guard, Span, Undecided, Verdict

__all__ = ["ALLOW", "Context", "Guard", "Span", "Undecided", "Verdict"]
