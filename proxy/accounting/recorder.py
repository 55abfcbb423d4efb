"""The books: each call's bill, and its row in the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal
from time import perf_counter
from typing import Any

from proxy.accounting.billing import UNIT, Billing
from proxy.accounting.ledger import Ledger
from proxy.domain.call import Call, milliseconds
from proxy.domain.guardrails import GuardrailResult
from proxy.domain.usage import Usage

_LARGEST = (1 << 63) - 1
#: As long as the database's columns are.
_MAX_NAME_LENGTH = 256
#: The column of each field of a usage.
_COLUMNS = (
    ("characters", "characters"),
    ("audio_seconds_in", "seconds_in"),
    ("audio_seconds_out", "seconds_out"),
    ("input_text_tokens", "input_text_tokens"),
    ("input_audio_tokens", "input_audio_tokens"),
    ("cached_text_tokens", "cached_text_tokens"),
    ("cached_audio_tokens", "cached_audio_tokens"),
    ("output_text_tokens", "output_text_tokens"),
    ("output_audio_tokens", "output_audio_tokens"),
)
_PLACES = Decimal(1) / UNIT


class CallRecorder:
    """Without a ledger, calls are billed only."""

    def __init__(self, billing: Billing, ledger: Ledger | None, clock: Callable[[], float] = time.time) -> None:
        self._billing = billing
        self._ledger = ledger
        self._clock = clock

    def admit(self, call: Call) -> None:
        """From here on the call will be recorded, however it ends. Raises LedgerFull where it could not be."""
        if self._ledger is not None:
            self._ledger.admit()
        call.is_open = True

    @property
    def must_settle(self) -> bool:
        """What is recorded is safe only when `settled` has returned."""
        return self._ledger is not None and self._ledger.must_settle

    def quote(self, call: Call) -> Decimal | None:
        """What the call costs, where that is known before its end."""
        cost = self._billing.quote(call)
        return None if cost is None else cost.amount

    def close(self, call: Call) -> None:
        """The call is over but for its last byte: bill it, and record it once. Never raises for want of a place."""
        if not call.is_open:
            return
        call.is_open = False
        used = self._billing.bill(call)
        if self._ledger is not None:
            call.row = self._row(self._ledger.new_id(), call, used)
            self._ledger.append(call.row)

    async def settled(self) -> None:
        """Returns when what was recorded is as safe as the configuration promises."""
        if self._ledger is not None:
            await self._ledger.settled()

    def _row(self, name: str, call: Call, used: Usage | None) -> dict[str, Any]:
        """By the columns of ``calls``; what is missing is null."""
        total, caller = perf_counter() - call.started, call.caller
        asked = call.won or (call.attempts[-1] if call.attempts else None)
        row: dict[str, Any] = {
            "id": name,
            "time": int((self._clock() - total) * 1000),
            "request_id": call.request_id,
            "endpoint": call.endpoint,
            "key_id": caller.key_id,
            "model": call.group[:_MAX_NAME_LENGTH],
            "status": call.status,
            "total_ms": milliseconds(total),
            "bytes_in": call.bytes_in,
            "bytes_out": call.bytes_out,
            "attempts": len(call.attempts),
        }
        if caller.user_id is not None:
            row["user_id"] = caller.user_id
        if caller.team_id is not None:
            row["team_id"] = caller.team_id
        if call.end_user is not None:
            row["end_user"] = call.end_user
        if call.error:
            row["error"] = call.error
        if call.cost is not None:
            row["cost"] = units(call.cost)
        if call.sent is not None:
            row["first_byte_ms"] = milliseconds(call.sent - call.started)
        if asked is not None:
            row["deployment"], row["vendor"] = asked.deployment, asked.vendor
            row["vendor_model"] = self._billing.deployment(asked.deployment).model[:_MAX_NAME_LENGTH]
        if used is not None:
            row["cost_basis"] = call.cost_basis
            _take_usage(row, used)
        if call.fallback:
            row["fallback"] = call.asked[:_MAX_NAME_LENGTH]
        if call.guardrails:
            row["guardrails"] = json.dumps([_shown(result) for result in call.guardrails])
        if call.tags:
            row["tags"] = list(dict.fromkeys(call.tags))
        return row


def units(amount: Decimal) -> int:
    """Of the ledger's money."""
    return min(int((amount * _PLACES).to_integral_value(ROUND_HALF_UP)), _LARGEST)


def _take_usage(row: dict[str, Any], used: Usage) -> None:
    for column, field in _COLUMNS:
        if (count := getattr(used, field)) is not None:
            row[column] = count


def _shown(result: GuardrailResult) -> dict[str, Any]:
    return {
        "guardrail": result.guardrail,
        "stage": result.stage,
        "verdict": result.verdict,
        "ms": round(result.milliseconds, 2),
        "found": list(result.found),
    }
