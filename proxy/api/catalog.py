"""What may be called: models and voices, in OpenAI's shape and in the one that Open WebUI reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Depends, Request

from proxy.api.access import caller
from proxy.calls import Line
from proxy.errors import ModelNotFound
from proxy.gateway import Gateway, unknown_model
from proxy.providers.voices import OPENAI_VOICES
from proxy.records import Mode


def router(gateway: Gateway, *, created: int, public: bool) -> APIRouter:
    """``created`` is the Unix time that the models carry; ``public`` opens the lists to callers without a key."""
    routes = APIRouter(dependencies=[] if public else [Depends(caller)], tags=["catalog"])

    def model(name: str, lines: Sequence[Line]) -> dict[str, Any]:
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
    async def models() -> dict[str, Any]:
        """What the caller may use."""
        return {"object": "list", "data": [model(name, lines) for name, lines in gateway.groups.items()]}

    @routes.get("/v1/models/{name:path}")
    @routes.get("/models/{name:path}", include_in_schema=False)
    async def one_model(name: str) -> dict[str, Any]:
        if name not in gateway.groups:
            raise ModelNotFound(unknown_model(name, list(gateway.groups)))
        return model(name, gateway.groups[name])

    @routes.get("/v1/audio/models")
    @routes.get("/audio/models", include_in_schema=False)
    async def audio_models() -> dict[str, Any]:
        """The speech models, as Open WebUI asks for them."""
        return {"models": [{"id": name} for name, lines in gateway.groups.items() if _speaks(lines)]}

    @routes.get("/v1/audio/voices")
    @routes.get("/audio/voices", include_in_schema=False)
    async def audio_voices(request: Request) -> dict[str, Any]:
        """The voices of one model (``?model=``) or of all."""
        wanted = request.query_params.get("model")
        if wanted is not None and wanted not in gateway.groups:
            raise ModelNotFound(unknown_model(wanted, list(gateway.groups)))
        groups = [gateway.groups[wanted]] if wanted is not None else list(gateway.groups.values())
        names = dict.fromkeys(voice for lines in groups if _speaks(lines) for line in lines for voice in _voices(line))
        return {"voices": [{"id": name, "name": name} for name in names]}

    return routes


def _speaks(lines: Sequence[Line]) -> bool:
    return any(line.deployment.mode == Mode.SPEECH for line in lines)


def _voices(line: Line) -> Sequence[str]:
    """What the deployment names, and what the vendor declares (OpenAI's names where it declares nothing)."""
    own = [*line.deployment.voices, *([line.deployment.voice] if line.deployment.voice else [])]
    return [*own, *(line.adapter.capabilities.voices or OPENAI_VOICES).names]
