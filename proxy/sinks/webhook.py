"""``webhook``, ``generic_api``: POSTs each batch as a signed JSON array.

The signature follows Standard Webhooks (standardwebhooks.com), which has libraries for receivers.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import time
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from proxy.config import Config, Environment
from proxy.config.fields import Headers, Key, Url, empty_mapping
from proxy.http.transport import Transport
from proxy.sinks import post
from proxy.sinks.base import Record, Sink
from proxy.sinks.rows import as_json
from proxy.sinks.settings import SinkSettings

ENDPOINT_VARIABLE, HEADERS_VARIABLE = "GENERIC_LOGGER_ENDPOINT", "GENERIC_LOGGER_HEADERS"
SECRET_PREFIX = "whsec_"  # noqa: S105


class WebhookSettings(SinkSettings):
    kind: Literal["webhook", "generic_api"] = "webhook"
    endpoint: Url | None = Field(default=None, description="URL of the webhook; $GENERIC_LOGGER_ENDPOINT if missing.")
    headers: Headers = Field(default_factory=empty_mapping, description="Sent with every batch.")
    signing_secret: Key | None = Field(default=None, description="Key for signatures.")

    def build(self, config: Config, transport: Transport) -> WebhookSink:
        return WebhookSink(self, config.environment, transport)

    def problems(self, config: Config) -> Iterable[str]:
        url = self.endpoint or config.environment.get(ENDPOINT_VARIABLE)
        if url is None:
            yield f"'endpoint' is missing in callback_settings, and ${ENDPOINT_VARIABLE} is not set"
        elif not url.startswith(("http://", "https://")):
            yield f"${ENDPOINT_VARIABLE} must begin with http:// or https://"


class WebhookSink(Sink):
    def __init__(self, settings: WebhookSettings, environment: Environment, transport: Transport) -> None:
        self._url = settings.endpoint or environment[ENDPOINT_VARIABLE]
        self._headers = {
            **post.pairs(environment.get(HEADERS_VARIABLE, "")),
            **{name: value.get_secret_value() for name, value in settings.headers.items()},
            "content-type": "application/json",
        }
        secret = settings.signing_secret
        self._secret = key_of(secret.get_secret_value()) if secret is not None else None
        self._transport = transport

    async def send(self, records: Sequence[Record]) -> None:
        body = b"[" + b",".join(as_json(record.row) for record in records) + b"]"
        await post.send(self._transport, "POST", self._url, {**self._headers, **self._signature(body)}, body)

    def _signature(self, body: bytes) -> dict[str, str]:
        """The id is derived from the content, so that the receiver recognizes a repeated batch."""
        identity, now = f"msg_{hashlib.sha256(body).hexdigest()[:32]}", str(int(time.time()))
        headers = {"webhook-id": identity, "webhook-timestamp": now}
        if self._secret is not None:
            headers["webhook-signature"] = f"v1,{signature(self._secret, identity, now, body)}"
        return headers


def signature(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    signed = b".".join((identity.encode(), timestamp.encode(), body))
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()


def key_of(secret: str) -> bytes:
    """``whsec_`` and base64, as in Standard Webhooks. Anything else is used as it is."""
    if secret.startswith(SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
        except binascii.Error:
            pass
    return secret.encode()
