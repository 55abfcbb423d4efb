"""The models and voices that a caller may use, in OpenAI's shape and in the one that Open WebUI reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from proxy.api.access import caller, visitor
from proxy.api.capabilities import GroupCapabilities, group_capabilities
from proxy.attempts import ListedVoice
from proxy.domain.caller import Caller
from proxy.domain.requests import Mode
from proxy.errors import ModelNotFound
from proxy.gateway import Gateway
from proxy.matching import BoundDeployment
from proxy.routing.groups import unknown_model


class Model(BaseModel):
    id: str = Field(description="A model group of the configuration.", examples=["tts"])
    object: Literal["model"] = "model"
    created: int = Field(description="When the configuration was loaded, in seconds since 1970.")
    owned_by: str = Field(description="The vendor of the group's first deployment.", examples=["openai"])
    mode: Mode
    shutdown_date: str | None = Field(
        description="When the vendors have retired all models of the group; null if one has no such date.",
        examples=["2027-01-06"],
    )


# The last base's fields come first.
class ModelDetails(GroupCapabilities, Model):
    pass


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class SpeechModel(BaseModel):
    id: str


class SpeechModels(BaseModel):
    models: list[SpeechModel]


class CatalogVoice(BaseModel):
    id: str = Field(description="What a request names.", examples=["alloy"])
    name: str
    vendor: str
    language: str | None
    gender: str | None


class VoiceList(BaseModel):
    voices: list[CatalogVoice]


def router(gateway: Gateway, *, created: int, public: bool) -> APIRouter:
    """``created`` is the Unix time that the models report; ``public`` opens the lists to callers without a key."""
    routes = APIRouter(tags=["catalog"])
    viewer = Depends(visitor if public else caller)

    def fields(name: str, group: Sequence[BoundDeployment]) -> dict[str, Any]:
        dates = [bound.adapter.capabilities.shutdown_date for bound in group]
        return {
            "id": name,
            "object": "model",
            "created": created,
            "owned_by": group[0].deployment.vendor,
            "mode": group[0].deployment.mode,
            "shutdown_date": max(date for date in dates if date) if all(dates) else None,
        }

    @routes.get("/v1/models")
    @routes.get("/models", include_in_schema=False)
    async def list_models(caller: Caller = viewer) -> ModelList:
        """The models that the caller may use."""
        visible = gateway.groups.visible(caller)
        return ModelList(data=[Model(**fields(name, group)) for name, group in visible.items()])

    @routes.get("/v1/models/{name:path}", response_model_exclude_unset=True)
    @routes.get("/models/{name:path}", include_in_schema=False, response_model_exclude_unset=True)
    async def model_details(name: str, caller: Caller = viewer) -> ModelDetails:
        """A model, and what it can do."""
        visible = gateway.groups.visible(caller)
        if name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        group = visible[name]
        capabilities = group_capabilities(group).model_dump(exclude_unset=True)
        return ModelDetails(**fields(name, group), **capabilities)

    @routes.get("/v1/audio/models")
    @routes.get("/audio/models", include_in_schema=False)
    async def list_speech_models(caller: Caller = viewer) -> SpeechModels:
        """The speech models, as Open WebUI reads them."""
        visible = gateway.groups.visible(caller)
        return SpeechModels(models=[SpeechModel(id=name) for name, group in visible.items() if _speaks(group)])

    @routes.get("/v1/audio/voices")
    @routes.get("/audio/voices", include_in_schema=False)
    async def list_voices(
        model: Annotated[str | None, Query(description="Only voices of this model.")] = None, caller: Caller = viewer
    ) -> VoiceList:
        """The voices that the caller may use."""
        return VoiceList(voices=[_voice(listed) for listed in await gateway.voices(model, caller)])

    return routes


def _speaks(group: Sequence[BoundDeployment]) -> bool:
    return any(bound.deployment.mode == Mode.SPEECH for bound in group)


def _voice(listed: ListedVoice) -> CatalogVoice:
    voice = listed.voice
    return CatalogVoice(
        id=voice.id,
        name=voice.name or voice.id,
        vendor=listed.vendor,
        language=voice.language,
        gender=voice.gender,
    )
