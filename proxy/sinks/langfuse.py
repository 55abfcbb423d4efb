"""``langfuse``, ``langfuse_otel``: sends traces to Langfuse's OTLP endpoint."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal

from proxy.config import Config, Environment
from proxy.http.transport import Transport
from proxy.sinks import otel
from proxy.sinks.settings import SinkSettings

HOST_VARIABLES = ("LANGFUSE_OTEL_HOST", "LANGFUSE_HOST", "LANGFUSE_BASE_URL")
KEY_VARIABLES = ("LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
DEFAULT_HOST = "https://cloud.langfuse.com"
PATH = "/api/public/otel/v1/traces"


class LangfuseSettings(SinkSettings):
    """Everything else comes from environment variables."""

    kind: Literal["langfuse", "langfuse_otel"] = "langfuse"

    def build(self, config: Config, transport: Transport) -> otel.Otel:
        environment = config.environment
        credentials = ":".join(environment[name] for name in KEY_VARIABLES)
        headers = {
            "authorization": f"Basic {base64.b64encode(credentials.encode()).decode()}",
            "x-langfuse-ingestion-version": "4",
        }
        endpoint = host_of(environment) + PATH
        return otel.Otel(environment, transport, endpoint=endpoint, headers=headers, is_langfuse=True)

    def problems(self, config: Config) -> Iterable[str]:
        if otel.missing():
            yield otel.NOT_INSTALLED
        for name in KEY_VARIABLES:
            if name not in config.environment:
                yield f"${name} is not set"
        if not host_of(config.environment).startswith(("http://", "https://")):
            yield "$LANGFUSE_HOST must be a host, or begin with http:// or https://"


def host_of(environment: Environment) -> str:
    host = next((environment[name] for name in HOST_VARIABLES if name in environment), DEFAULT_HOST)
    return (host if "://" in host else f"https://{host}").rstrip("/")
