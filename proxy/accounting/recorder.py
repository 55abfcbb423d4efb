"""Records each call: its bill, and its row in the ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from decimal import Decimal
from time import perf_counter
from typing import Any

from proxy.accounting.billing import Billing
from proxy.accounting.ledger import Ledger
from proxy.accounting.refusals import Refusals
from proxy.domain.call import Call, milliseconds
from proxy.domain.guardrails import GuardrailResult
from proxy.domain.money import units_of
from proxy.domain.usage import Usage

#: The length of the database's columns.
_MAX_NAME_LENGTH = 256
#: The column of each field of ``Usage``.
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


class CallRecorder:
    """Without a ledger it only bills calls."""

    def __init__(
        self,
        billing: Billing,
        ledger: Ledger | None,
        refusals: Refusals | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._billing = billing
        self._ledger = ledger
        self._refusals = refusals
        self._clock = clock

    def admit(self, call: Call) -> None:
        """From here on the call will be recorded, however it ends. Raises LedgerFull if it could not be."""
        if self._ledger is not None:
            self._ledger.admit()
        call.is_open = True

    @property
    def needs_sync(self) -> bool:
        """Recorded calls are safe only when `sync` has returned."""
        return self._ledger is not None and self._ledger.needs_sync

    def quote(self, call: Call) -> Decimal | None:
        """What the call costs, if that is known before its end."""
        cost = self._billing.quote(call)
        return None if cost is None else cost.amount

    def record(self, call: Call) -> None:
        """Bill the call and record it, once. Call it before the last byte is sent. Never raises for lack of space."""
        if not call.is_open:
            return
        call.is_open = False
        usage = self._billing.bill(call)
        if self._ledger is not None:
            call.row = self._row(self._ledger.new_id(), call, usage)
            self._ledger.append(call.row)

    def refuse(self, call: Call) -> None:
        """Keep the error of a call that was not admitted because it had no valid key. Call it before `record`."""
        if self._refusals is not None and not call.is_open and call.row is None:
            self._refusals.add(call)

    async def sync(self) -> None:
        """Returns when recorded calls are as safe as the configuration promises."""
        if self._ledger is not None:
            await self._ledger.sync()

    def _row(self, row_id: str, call: Call, usage: Usage | None) -> dict[str, Any]:
        """Values by the columns of ``calls``; missing ones are null."""
        total, caller = perf_counter() - call.started, call.caller
        attempt = call.won or (call.attempts[-1] if call.attempts else None)
        row: dict[str, Any] = {
            "id": row_id,
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
            row["error"], row["error_message"] = call.error, call.message
            if call.detail:
                row["error_detail"] = call.detail
        if call.cost is not None:
            row["cost"] = units_of(call.cost)
        if call.sent is not None:
            row["first_byte_ms"] = milliseconds(call.sent - call.started)
        if attempt is not None:
            row["deployment"], row["vendor"] = attempt.deployment, attempt.vendor
            row["vendor_model"] = self._billing.deployment(attempt.deployment).model[:_MAX_NAME_LENGTH]
        if usage is not None:
            row["cost_basis"] = call.cost_basis
            _add_usage(row, usage)
        if call.fallback:
            row["fallback"] = call.requested_group[:_MAX_NAME_LENGTH]
        if call.guardrails:
            row["guardrails"] = json.dumps([_document(result) for result in call.guardrails])
        if call.tags:
            row["tags"] = list(dict.fromkeys(call.tags))
        return row


def _add_usage(row: dict[str, Any], usage: Usage) -> None:
    for column, field in _COLUMNS:
        if (count := getattr(usage, field)) is not None:
            row[column] = count


def _document(result: GuardrailResult) -> dict[str, Any]:
    return {
        "guardrail": result.guardrail,
        "stage": result.stage,
        "verdict": result.verdict,
        "ms": round(result.milliseconds, 2),
        "found": list(result.found),
    }
