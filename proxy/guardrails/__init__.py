"""Guardrails check the text of a call, and may redact it or end the call.

This module exports what a custom guardrail (``guardrail: custom``) needs.
"""

from __future__ import annotations

from proxy.guardrails.base import ALLOW, Context, Guard, Span, Undecided, Verdict

__all__ = ["ALLOW", "Context", "Guard", "Span", "Undecided", "Verdict"]
