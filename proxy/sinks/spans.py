"""Turns a call into a trace, after its end and from the times that it recorded.

The names follow OpenTelemetry's semantic conventions for HTTP servers and, for attempts, for generative AI. These
define no operation for audio, so the name of the endpoint is used. Other attributes begin with ``audio_proxy.``.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from proxy.domain.call import Attempt, Call
from proxy.domain.usage import Usage
from proxy.sinks.base import Record

Value = str | bool | int | float | Sequence[str] | None

#: `gen_ai.provider.name` of vendors that the conventions define. Others keep their own names.
PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "azure_ai": "azure.ai.inference",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
OPERATIONS: Mapping[str, str] = {"speech": "speech", "transcriptions": "transcription", "translations": "translation"}
SAMPLED = 1
#: Fields of the ledger row that become attributes.
ROW_FIELDS = (
    "key_id", "user_id", "team_id", "characters", "audio_seconds_in", "audio_seconds_out", "cost_basis", "bytes_in",
    "bytes_out", "fallback",
)  # fmt: skip


def trace_of(record: Record, *, is_generation: bool = False) -> list[Span]:
    """The span of the call, then those of its stages and attempts.

    ``is_generation``: add Langfuse's attributes for models, users and costs.
    """
    return list(_Trace(record, is_generation=is_generation).spans())


def is_sampled_by_parent(call: Call) -> bool | None:
    """The caller's decision; None if it sent no trace."""
    return bool(int(call.traceparent[-2:], 16) & SAMPLED) if call.traceparent else None


class _Trace:
    def __init__(self, record: Record, *, is_generation: bool) -> None:
        self._record, self._call = record, record.call
        self._is_generation = is_generation
        parent = record.call.traceparent
        self._trace = bytes.fromhex(parent[3:35]) if parent else random.randbytes(16)  # noqa: S311
        self._parent = bytes.fromhex(parent[36:52]) if parent else b""

    def spans(self) -> Iterator[Span]:
        call, ended = self._call, self._record.ended
        root = self._root(call, ended)
        yield root
        received = call.received or ended
        yield self._span("receive", root, call.started, received)
        if call.received is None:
            return
        for result in call.guardrails:
            started = result.started if result.started is not None else received
            yield self._span(
                f"guardrail {result.guardrail}", root, started, started + result.milliseconds / 1000,
                {"audio_proxy.guardrail.stage": str(result.stage), "audio_proxy.guardrail.verdict": result.verdict},
            )  # fmt: skip
        if call.attempts:
            routing = self._span("route", root, call.attempts[0].started, call.sent or ended)
            yield routing
            for attempt in call.attempts:
                yield self._attempt(attempt, routing)
        if call.sent is not None:
            yield self._span("answer", root, call.sent, ended)

    def _root(self, call: Call, ended: float) -> Span:
        row = self._record.row
        attributes: dict[str, Value] = {
            "http.request.method": "POST",
            "http.route": f"/v1/audio/{call.endpoint}",
            "http.response.status_code": call.status or None,
            "error.type": call.error or None,
            "gen_ai.operation.name": OPERATIONS.get(call.endpoint, call.endpoint),
            "gen_ai.request.model": call.group or None,
            "enduser.id": call.end_user,
            "audio_proxy.request_id": call.request_id,
            "audio_proxy.attempts": len(call.attempts),
            "audio_proxy.hedged": call.hedged,
            "audio_proxy.tags": call.tags or None,
            "audio_proxy.cost_usd": None if call.cost is None else float(call.cost),
            **{f"audio_proxy.{name}": row.get(name) for name in ROW_FIELDS},
        }
        if self._is_generation:
            attributes |= {
                "langfuse.trace.name": f"audio {call.endpoint}",
                "langfuse.user.id": call.end_user or row.get("user_id"),
                "langfuse.trace.tags": call.tags or None,
            }
        span = self._span(f"POST /v1/audio/{call.endpoint}", None, call.started, ended, attributes)
        span.kind = Span.SPAN_KIND_SERVER
        # An error of the caller is not an error of the server.
        if call.status >= 500 or (call.error and call.status == 200):
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=call.error))
        return span

    def _attempt(self, attempt: Attempt, parent: Span) -> Span:
        operation = OPERATIONS.get(self._call.endpoint, self._call.endpoint)
        model = self._record.models.get(attempt.deployment)
        usage = attempt.usage or Usage()
        attributes: dict[str, Value] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": PROVIDERS.get(attempt.vendor, attempt.vendor),
            "gen_ai.request.model": model,
            "gen_ai.output.type": "speech" if operation == "speech" else "text",
            "gen_ai.usage.input_tokens": _sum(usage.input_text_tokens, usage.input_audio_tokens),
            "gen_ai.usage.output_tokens": _sum(usage.output_text_tokens, usage.output_audio_tokens),
            "gen_ai.usage.cache_read.input_tokens": _sum(usage.cached_text_tokens, usage.cached_audio_tokens),
            "error.type": attempt.error or None,
            "audio_proxy.deployment": attempt.deployment,
            "audio_proxy.won": attempt is self._call.won,
            "audio_proxy.upstream_id": attempt.upstream_id or None,
            "audio_proxy.first_byte_ms": None if attempt.seconds is None else round(attempt.seconds * 1000, 3),
        }
        if self._is_generation:
            attributes["langfuse.observation.type"] = "generation"
            if attempt is self._call.won and self._call.cost is not None:
                attributes["gen_ai.usage.cost"] = float(self._call.cost)
        name = f"{operation} {model or attempt.deployment}"
        span = self._span(name, parent, attempt.started, attempt.ended or self._record.ended, attributes)
        span.kind = Span.SPAN_KIND_CLIENT
        if attempt.error:
            span.status.CopyFrom(Status(code=Status.STATUS_CODE_ERROR, message=attempt.error))
        return span

    def _span(
        self, name: str, parent: Span | None, began: float, ended: float, attributes: Mapping[str, Value] | None = None
    ) -> Span:
        return Span(
            trace_id=self._trace,
            span_id=random.randbytes(8),  # noqa: S311
            parent_span_id=self._parent if parent is None else parent.span_id,
            flags=SAMPLED,
            name=name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=self._time(began),
            end_time_unix_nano=self._time(max(began, ended)),
            attributes=pairs(attributes) if attributes else (),
        )

    def _time(self, moment: float) -> int:
        return int((moment + self._record.epoch) * 1e9)


def pairs(attributes: Mapping[str, Value]) -> list[KeyValue]:
    """Attributes that are None are left out."""
    return [KeyValue(key=name, value=_any(value)) for name, value in attributes.items() if value is not None]


def _any(value: Value) -> AnyValue:
    match value:
        case str():
            return AnyValue(string_value=value.encode("utf-8", "replace").decode())
        case bool():
            return AnyValue(bool_value=value)
        case int():
            return AnyValue(int_value=value)
        case float():
            return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[_any(item) for item in value or ()]))


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
