"""Azure OpenAI: OpenAI's models under the names of deployments, in the customer's own resource.

There are two kinds of URL. The default is the v1 API: ``{resource}/openai/v1/audio/…`` with the deployment's name as
``model``; ``api_version`` may be ``v1`` or ``preview``. With a dated ``api_version`` it is
``{resource}/openai/deployments/{name}/audio/…?api-version=…``. Request and response bodies are OpenAI's. The key is
sent as ``api-key``, an Entra ID token (``azure_ad_token``) as a bearer token.

A deployment uses the Realtime API if its name or ``base_model`` shows it (``…realtime…``, ``gpt-live-transcribe``):
``wss://{resource}/openai/v1/realtime``. That is the v1 API whatever the ``api_version``, because the dated versions use
a protocol that has been withdrawn. Whether a model reasons is inferred from its name, so a deployment with another name
needs ``base_model``. Limits are those of the OpenAI model that the name or ``base_model`` names; retirement dates are
Azure's own.

Sources: Microsoft's pages on the v1 API and on the Realtime API over WebSockets (a transcription session names the
deployment as its model); openai-python 3.54.0 (``AzureOpenAI``); Vercel's AI SDK, azure 4.0.85; LiteLLM 1.109.1 for the
retirement dates and the names of the variables. Not tested against the real service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from proxy.audio.languages import ISO_639_1
from proxy.config import Deployment
from proxy.providers.base import Adapter, Capabilities
from proxy.providers.sockets import live, realtime
from proxy.providers.vendor import Vendor
from proxy.providers.vendors.openai import MODEL_QUIRKS, OpenAIAdapter, wants_exact_usage
from proxy.providers.vendors.openai import MODELS as OPENAI_MODELS
from proxy.providers.wire.quirks import OPENAI_QUIRKS
from proxy.providers.wire.target import Target, segment

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}")
#: A path that people copy together with the resource's address.
_API_PATH = re.compile(r"/openai(/v1|/deployments/[^/]+)?$")
#: OpenAI's names of models to which Azure gives other names.
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
_OWN = {
    name: replace(can, shutdown_date=_RETIREMENTS.get(name), languages=can.languages and ISO_639_1)
    for name, can in OPENAI_MODELS.items()
}
MODELS: Mapping[str, Capabilities] = _OWN | {name: _OWN[model] for name, model in _NAMES.items()}


def find(name: str) -> Capabilities | None:
    """Capabilities by the name of a deployment, which may contain that of a model, or by LiteLLM's name of a model."""
    known = MODELS.get(_model(name))
    if known is not None:
        return known
    if live.declared_of(name) is not None:
        return replace(live.declared_of(name) or live.LIVE, shutdown_date=None)
    return realtime.SPEECH if realtime.speaks(name) else None


def _model(name: str) -> str:
    bare = name.removeprefix("azure/").removeprefix("openai/").lower()
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
    return _http_adapter(deployment, Target(deployment, base=base, authorization=authorization), declared)


def _http_adapter(deployment: Deployment, target: Target, declared: Capabilities) -> OpenAIAdapter:
    # Whatever the deployment's name, its model is one of OpenAI's.
    declared = declared if declared.languages is not None else replace(declared, languages=ISO_639_1)
    version = deployment.api_version
    if version is not None and _DATED.match(version):
        path = f"/openai/deployments/{segment(deployment.model, param='model')}/audio"
    else:
        path = "/openai/v1/audio"
    return OpenAIAdapter(
        deployment,
        target,
        declared=declared,
        quirks=MODEL_QUIRKS.get(_model(deployment.kind), OPENAI_QUIRKS),
        exact_usage=wants_exact_usage(deployment, is_own=True),
        path=path,
        query={} if version is None else {"api-version": version},
    )


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
