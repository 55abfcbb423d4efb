"""What may be called: models and voices, in OpenAI's shape and in the one that Open WebUI reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request

from proxy.api.access import caller, visitor
from proxy.api.declared import declared
from proxy.attempts import ListedVoice
from proxy.domain.caller import Caller
from proxy.domain.requests import Mode
from proxy.errors import ModelNotFound
from proxy.gateway import Gateway
from proxy.matching import BoundDeployment
from proxy.routing.groups import unknown_model


def router(gateway: Gateway, *, created: int, public: bool) -> APIRouter:
    """``created`` is the Unix time that the models carry; ``public`` opens the lists to callers without a key."""
    routes = APIRouter(tags=["catalog"])
    viewer = Depends(visitor if public else caller)

    def model(name: str, lines: Sequence[BoundDeployment]) -> dict[str, Any]:
        dates = [line.adapter.capabilities.shutdown_date for line in lines]
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": lines[0].deployment.vendor,
            "mode": lines[0].deployment.mode,
            "shutdown_date": max(date for date in dates if date) if all(dates) else None,
        }

    @routes.get("/v1/models")
    @routes.get("/models", include_in_schema=False)
    async def models(found: Caller = viewer) -> dict[str, Any]:
        """What the caller may use."""
        return {"object": "list", "data": [model(name, lines) for name, lines in gateway.groups.visible(found).items()]}

    @routes.get("/v1/models/{name:path}")
    @routes.get("/models/{name:path}", include_in_schema=False)
    async def one_model(name: str, found: Caller = viewer) -> dict[str, Any]:
        """A model, and what it can do."""
        visible = gateway.groups.visible(found)
        if name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        lines = visible[name]
        return model(name, lines) | declared(lines)

    @routes.get("/v1/audio/models")
    @routes.get("/audio/models", include_in_schema=False)
    async def audio_models(found: Caller = viewer) -> dict[str, Any]:
        """The speech models, as Open WebUI asks for them."""
        return {"models": [{"id": name} for name, lines in gateway.groups.visible(found).items() if _speaks(lines)]}

    @routes.get("/v1/audio/voices")
    @routes.get("/audio/voices", include_in_schema=False)
    async def audio_voices(request: Request, found: Caller = viewer) -> dict[str, Any]:
        """What may be said for the voice of one model (``?model=``), or of any."""
        voices = await gateway.voices(request.query_params.get("model"), found)
        return {"voices": [_voice(named) for named in voices]}

    return routes


def _speaks(lines: Sequence[BoundDeployment]) -> bool:
    return any(line.deployment.mode == Mode.SPEECH for line in lines)


def _voice(named: ListedVoice) -> dict[str, str | None]:
    voice = named.voice
    return {
        "id": voice.id,
        "name": voice.name or voice.id,
        "vendor": named.vendor,
        "language": voice.language,
        "gender": voice.gender,
    }
