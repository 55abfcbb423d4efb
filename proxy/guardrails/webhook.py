"""``guardrail: webhook``: the operator's server decides."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from proxy.config import Config
from proxy.config.fields import Headers, Url, empty_mapping
from proxy.guardrails.base import ALLOW, Context, Guard, Undecided, Verdict
from proxy.guardrails.outside import ask
from proxy.guardrails.settings import GuardrailSettings
from proxy.http.transport import Transport

LABEL = "WEBHOOK"


class WebhookSettings(GuardrailSettings):
    redacts: ClassVar[bool] = True

    guardrail: Literal["webhook"] = "webhook"
    url: Url = Field(description="URL of the webhook.")
    headers: Headers = Field(default_factory=empty_mapping, description="Sent with every request.")

    def build(self, config: Config, transport: Transport) -> WebhookGuardrail:
        return WebhookGuardrail(self, transport)


class WebhookGuardrail(Guard):
    is_local = False

    def __init__(self, settings: WebhookSettings, transport: Transport) -> None:
        self._url = settings.url
        self._headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._seconds = settings.timeout
        self._transport = transport

    async def check(self, text: str, context: Context) -> Verdict:
        document = {
            "guardrail": context.guardrail,
            "stage": context.stage,
            "text": text,
            "call": {
                "request_id": context.request_id,
                "endpoint": context.endpoint,
                "model": context.model,
                "key_id": context.key_id,
                "user_id": context.user_id,
                "team_id": context.team_id,
                "end_user": context.end_user,
            },
        }
        answer = await ask(self._transport, self._url, self._headers, document, self._seconds)
        action, changed = answer.get("action"), answer.get("text")
        if action == "allow":
            return ALLOW
        if action == "block":
            return Verdict.block(LABEL)
        if action == "redact" and isinstance(changed, str):
            return Verdict.rewrite(changed, LABEL)
        raise Undecided("the answer has no action, or no text to go with it")
