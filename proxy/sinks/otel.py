"""``otel``: sends traces over OTLP (protobuf over HTTP). Configured by the variables of OpenTelemetry and LiteLLM."""

from __future__ import annotations

import asyncio
import gzip
import importlib.util
import random
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Literal
from urllib.parse import unquote

from proxy.config import Config, Environment
from proxy.domain.call import Call
from proxy.http.transport import Transport
from proxy.sinks import post
from proxy.sinks.base import Record, Sink
from proxy.sinks.settings import SinkSettings

DEFAULT_ENDPOINT = "http://localhost:4318"
PATH = "/v1/traces"
PROTOCOLS = frozenset({"http/protobuf", "otlp_http", "otlp", "http"})
SAMPLERS = frozenset({"always_on", "always_off", "traceidratio"})
PARENT_BASED = "parentbased_"
NOT_INSTALLED = "OpenTelemetry is not installed: pip install 'audio-proxy[otel]'"
#: Traces that are encoded without yielding to other tasks.
AT_A_TIME = 10


class OtelSettings(SinkSettings):
    """Everything else comes from environment variables."""

    kind: Literal["otel"] = "otel"

    def build(self, config: Config, transport: Transport) -> Otel:
        return Otel(config.environment, transport)

    def problems(self, config: Config) -> Iterable[str]:
        return problems(config.environment)


class Otel(Sink):
    def __init__(
        self,
        environment: Environment,
        transport: Transport,
        *,
        endpoint: str | None = None,
        headers: Mapping[str, str] | None = None,
        is_langfuse: bool = False,
    ) -> None:
        """``endpoint`` and ``headers`` override the variables."""
        self._url = endpoint or endpoint_of(environment)
        self._headers = {
            **(headers_of(environment) if headers is None else headers),
            "content-type": "application/x-protobuf",
        }
        self._compress = _first(environment, "COMPRESSION") == "gzip"
        if self._compress:
            self._headers["content-encoding"] = "gzip"
        self._resource = resource_of(environment)
        self._sampler = Sampler(environment)
        self._transport, self._is_langfuse = transport, is_langfuse

    async def send(self, records: Sequence[Record]) -> None:
        records = [record for record in records if self._sampler.includes(record.call)]
        if not records:
            return
        body = await self._encoded(records)
        if self._compress:
            body = await asyncio.to_thread(gzip.compress, body)
        await post.send(self._transport, "POST", self._url, self._headers, body)

    async def _encoded(self, records: Sequence[Record]) -> bytes:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
        from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
        from opentelemetry.proto.resource.v1.resource_pb2 import Resource
        from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

        from proxy.sinks.spans import pairs, trace_of

        spans = []
        for number, record in enumerate(records, start=1):
            spans += trace_of(record, is_generation=self._is_langfuse)
            if number % AT_A_TIME == 0:
                await asyncio.sleep(0)
        scope = ScopeSpans(scope=InstrumentationScope(name="audio-proxy", version=self._resource["service.version"]))
        scope.spans.extend(spans)
        resource = ResourceSpans(resource=Resource(attributes=pairs(self._resource)), scope_spans=[scope])
        return ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString()


class Sampler:
    """``OTEL_TRACES_SAMPLER``: which calls become traces. By default the caller's decision, else all of them."""

    def __init__(self, environment: Environment) -> None:
        name = environment.get("OTEL_TRACES_SAMPLER", PARENT_BASED + "always_on")
        self._follows_parent = name.startswith(PARENT_BASED)
        share = {"always_on": 1.0, "always_off": 0.0}.get(name.removeprefix(PARENT_BASED))
        self._share = _share(environment) if share is None else share

    def includes(self, call: Call) -> bool:
        from proxy.sinks.spans import is_sampled_by_parent

        sampled = is_sampled_by_parent(call) if self._follows_parent else None
        return random.random() < self._share if sampled is None else sampled  # noqa: S311


def _share(environment: Environment) -> float:
    return float(environment.get("OTEL_TRACES_SAMPLER_ARG", "1"))


def _first(environment: Environment, name: str) -> str | None:
    return environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}") or environment.get(f"OTEL_EXPORTER_OTLP_{name}")


def endpoint_of(environment: Environment) -> str:
    own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if own:
        return own
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or environment.get("OTEL_ENDPOINT") or DEFAULT_ENDPOINT
    return base if base.rstrip("/").endswith(PATH) else base.rstrip("/") + PATH


def headers_of(environment: Environment) -> dict[str, str]:
    headers = post.pairs(_first(environment, "HEADERS") or environment.get("OTEL_HEADERS", ""))
    return {name: unquote(value) for name, value in headers.items()}


def resource_of(environment: Environment) -> dict[str, str]:
    attributes = post.pairs(environment.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    name = environment.get("OTEL_SERVICE_NAME") or attributes.get("service.name") or "audio-proxy"
    return {
        **{key: unquote(value) for key, value in attributes.items()},
        "service.name": name,
        "service.version": version("audio-proxy"),
    }


def missing() -> bool:
    try:
        return importlib.util.find_spec("opentelemetry.proto") is None
    except ModuleNotFoundError:
        return True


def problems(environment: Environment) -> Iterable[str]:
    if missing():
        yield NOT_INSTALLED
    if not endpoint_of(environment).startswith(("http://", "https://")):
        yield "$OTEL_EXPORTER_OTLP_ENDPOINT must begin with http:// or https://"
    protocol = _first(environment, "PROTOCOL") or environment.get("OTEL_EXPORTER", "http/protobuf")
    if protocol not in PROTOCOLS:
        yield f"$OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not {protocol!r}"
    sampler = environment.get("OTEL_TRACES_SAMPLER", "always_on").removeprefix(PARENT_BASED)
    if sampler not in SAMPLERS:
        names = ", ".join(sorted(SAMPLERS))
        yield f"$OTEL_TRACES_SAMPLER must be one of {names}, with or without the prefix {PARENT_BASED}"
    try:
        share = _share(environment)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        yield "$OTEL_TRACES_SAMPLER_ARG must be a number from 0 to 1"
