"""``langfuse``, ``langfuse_otel``: traces to Langfuse's OTLP endpoint."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping

from proxy.config import Environment
from proxy.http.transport import Transport
from proxy.sinks import otel

HOST_VARIABLES = ("LANGFUSE_OTEL_HOST", "LANGFUSE_HOST", "LANGFUSE_BASE_URL")
KEY_VARIABLES = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
DEFAULT_HOST = "https://cloud.langfuse.com"
PATH = "/api/public/otel/v1/traces"


def made(environment: Environment, models: Mapping[str, str], transport: Transport) -> otel.Otel:
    credentials = ":".join(environment[name] for name in KEY_VARIABLES)
    headers = {
        "authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}",
        "x-langfuse-ingestion-version": "4",
    }
    endpoint = host_of(environment) + PATH
    return otel.Otel(environment, models, transport, endpoint=endpoint, headers=headers, is_langfuse=True)


def host_of(environment: Environment) -> str:
    host = next((environment[name] for name in HOST_VARIABLES if name in environment), DEFAULT_HOST)
    return (host if "://" in host else f"https://{host}").rstrip("/")


def problems(environment: Environment) -> Iterable[str]:
    if otel.missing():
        yield otel.NOT_INSTALLED
    for name in KEY_VARIABLES:
        if name not in environment:
            yield f"${name} is not set"
    if not host_of(environment).startswith(("http://", "https://")):
        yield "$LANGFUSE_HOST must be a host, or begin with http:// or https://"
