"""Azure OpenAI: OpenAI's models under the names of deployments, on a resource of the customer's own.

Two shapes of URL. The v1 API, which is the default: ``{resource}/openai/v1/audio/…`` with the deployment's name as
``model``; ``api_version`` may be ``v1`` or ``preview`` there. With a dated ``api_version``:
``{resource}/openai/deployments/{name}/audio/…?api-version=…``. Bodies and answers are OpenAI's. The key goes as
``api-key``, a token of Entra ID (``azure_ad_token``) as a bearer.

A deployment speaks the Realtime API if its name, or ``base_model``, says so (``…realtime…``, ``gpt-live-transcribe``):
``wss://{resource}/openai/v1/realtime``, of the v1 API whatever the ``api_version``, for the dated versions speak a
protocol that has been withdrawn. Whether a model reasons is known by its name, so that a deployment called otherwise
needs its ``base_model``. Limits are those of the OpenAI model that the name, or ``base_model``, names; ends of service
are Azure's own.

Sources: Microsoft's pages on the v1 API and on the Realtime API over WebSockets, which say that a transcription session
names the deployment as its model; openai-python 3.54.0 (``AzureOpenAI``); Vercel's AI SDK, azure 4.0.85; LiteLLM
1.109.1 for the retirement dates and the names of the variables. Never tried against the real service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from proxy.config import Deployment
from proxy.providers.base import Adapter, Capabilities
from proxy.providers.sockets import live, realtime
from proxy.providers.vendor import Vendor
from proxy.providers.vendors.openai import MODEL_QUIRKS, OpenAIAdapter, exact_usage
from proxy.providers.vendors.openai import MODELS as OPENAI_MODELS
from proxy.providers.vendors.quirks import OPENAI_WAYS
from proxy.providers.wire.target import Target, segment

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")
#: What people copy together with the resource's address.
_API_PATH = re.compile(r"/openai(/v1|/deployments/[^/]+)?$")
#: What Azure calls otherwise than OpenAI.
_NAMES = {"tts": "tts-1", "tts-hd": "tts-1-hd", "whisper": "whisper-1"}
_RETIREMENTS = {
    "tts-1": "2026-12-15",
    "tts-1-hd": "2026-12-15",
    "whisper-1": "2026-12-15",
    "gpt-4o-transcribe": "2026-10-15",
    "gpt-4o-transcribe-diarize": "2027-04-15",
    "gpt-4o-mini-tts": "2027-06-15",
    "gpt-4o-mini-transcribe": "2027-06-15",
    "gpt-realtime-2.1": "2027-06-25",
    "gpt-realtime-2.1-mini": "2027-06-25",
    "gpt-transcribe": "2028-02-01",
    "gpt-live-transcribe": "2028-02-01",
    "gpt-realtime-whisper": "2027-05-06",
}
_OWN_DATES = {name: replace(can, shutdown_date=_RETIREMENTS.get(name)) for name, can in OPENAI_MODELS.items()}
MODELS: Mapping[str, Capabilities] = _OWN_DATES | {name: _OWN_DATES[model] for name, model in _NAMES.items()}


class AzureAdapter(OpenAIAdapter):
    """One deployment of a model behind HTTP."""

    def __init__(
        self, deployment: Deployment, *, base: str, authorization: Mapping[str, str], declared: Capabilities
    ) -> None:
        self.capabilities = declared
        self._deployment = deployment
        self._exact_usage = exact_usage(deployment, is_own=True)
        model = _model(deployment.base_model or deployment.model)
        self._quirks = MODEL_QUIRKS.get(model, OPENAI_WAYS)
        self._target = Target(deployment, base=base, authorization=authorization)
        version = deployment.api_version
        if version is not None and _DATED.match(version):
            path = f"/openai/deployments/{segment(deployment.model, param='model')}/audio"
        else:
            path = "/openai/v1/audio"
        query = {} if version is None else {"api-version": version}
        self._speech_url = self._target.url(f"{path}/speech", query)
        self._transcriptions_url = self._target.url(f"{path}/transcriptions", query)
        self._translations_url = self._target.url(f"{path}/translations", query)
        self.error = self._target.error
        self.event_error = self._target.event_error


def find(name: str) -> Capabilities | None:
    """Declares a deployment by its name, which may hold that of a model, and a model as LiteLLM names it."""
    known = MODELS.get(_model(name))
    if known is not None:
        return known
    if live.declared_of(name) is not None:
        return replace(live.declared_of(name) or live.LIVE, shutdown_date=None)
    return realtime.SPEECH if realtime.speaks(name) else None


def _model(name: str) -> str:
    bare = name.removeprefix("azure/").lower()
    return _NAMES.get(bare, bare)


def _adapter(deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> Adapter:
    names = " ".join(filter(None, (deployment.model, deployment.base_model)))
    base = _API_PATH.sub("", base.rstrip("/"))
    authorization = _authorization(deployment, key)
    if live.declared_of(names) is not None:
        return live.LiveAdapter(deployment, base=f"{base}/openai", authorization=authorization, declared=declared)
    if any(realtime.speaks(name) for name in (deployment.model, deployment.base_model or "")):
        return realtime.RealtimeAdapter(
            deployment, base=f"{base}/openai", authorization=authorization, declared=declared
        )
    return AzureAdapter(deployment, base=base, authorization=authorization, declared=declared)


def _authorization(deployment: Deployment, key: str | None) -> dict[str, str]:
    if deployment.azure_ad_token is not None:
        return {"authorization": f"Bearer {deployment.azure_ad_token.get_secret_value()}"}
    return {"api-key": key} if key is not None else {}


AZURE = Vendor(
    name="azure",
    base_url=None,
    base_variable="AZURE_API_BASE",
    key_variables=("AZURE_API_KEY", "AZURE_OPENAI_API_KEY"),
    models=MODELS,
    adapter=_adapter,
    find=find,
)
