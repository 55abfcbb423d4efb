"""The models and voices that a caller may use, in OpenAI's shape, with what other servers' clients look for.

Open WebUI reads ``/audio/models`` and ``/audio/voices``, as Kokoro-FastAPI's clients do. Speaches' clients filter the
models by ``task`` and read the ``voices`` of a model, or the list ``/audio/speech/voices`` of its older versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from proxy.providers.voices import Voice
from proxy.routing.groups import unknown_model

#: A model's kind as Hugging Face names it.
Task = Literal["text-to-speech", "automatic-speech-recognition"]


class Model(BaseModel):
    id: str = Field(description="A model group of the configuration.", examples=["tts"])
    object: Literal["model"] = "model"
    created: int = Field(description="When the configuration was loaded, in seconds since 1970.")
    owned_by: str = Field(description="The vendor of the group's first deployment.", examples=["openai"])
    mode: Mode
    task: Task = Field(description="The mode as Hugging Face names it, and Speaches.")
    shutdown_date: str | None = Field(
        description="When the vendors have retired all models of the group; null if one has no such date.",
        examples=["2027-01-06"],
    )


class ModelVoice(BaseModel):
    id: str = Field(description="What a request names.", examples=["alloy"])
    name: str = Field(description="The same, as Speaches names it.", examples=["alloy"])
    language: str | None
    gender: str | None


# The last base's fields come first.
class ModelDetails(GroupCapabilities, Model):
    voices: list[ModelVoice] = Field(default=[], description="Missing if the group does not speak.")


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
    model: str = Field(description="The first of `models`.", examples=["tts"])
    models: list[str] = Field(description="The models that have the voice.", examples=[["tts"]])
    vendor: str
    language: str | None
    gender: str | None


class VoiceList(BaseModel):
    voices: list[CatalogVoice]


class VoiceOfModel(BaseModel):
    object: Literal["voice"] = "voice"
    model_id: str = Field(examples=["tts"])
    voice_id: str = Field(description="What a request names.", examples=["alloy"])
    name: str
    owned_by: str = Field(description="The vendor.", examples=["openai"])
    language: str | None
    gender: str | None


def _chosen_model(
    model: Annotated[str | None, Query(description="Only voices of this model.")] = None,
    model_id: Annotated[str | None, Query(description="The same, as Speaches' clients name it.")] = None,
) -> str | None:
    return model or model_id


ChosenModel = Annotated[str | None, Depends(_chosen_model)]


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
            "task": _task(group[0]),
            "shutdown_date": max(date for date in dates if date) if all(dates) else None,
        }

    @routes.get("/v1/models")
    @routes.get("/models", include_in_schema=False)
    async def list_models(
        task: Annotated[Task | None, Query(description="Only models for this task.")] = None, caller: Caller = viewer
    ) -> ModelList:
        """The models that the caller may use."""
        visible = gateway.groups.visible(caller).items()
        return ModelList(
            data=[Model(**fields(name, group)) for name, group in visible if task is None or _serves(group, task)]
        )

    @routes.get("/v1/models/{name:path}", response_model_exclude_unset=True)
    @routes.get("/models/{name:path}", include_in_schema=False, response_model_exclude_unset=True)
    async def model_details(name: str, caller: Caller = viewer) -> ModelDetails:
        """A model, and what it can do."""
        visible = gateway.groups.visible(caller)
        if name not in visible:
            raise ModelNotFound(unknown_model(name, list(visible)))
        group = visible[name]
        details = {**fields(name, group), **group_capabilities(group).model_dump(exclude_unset=True)}
        if _speaks(group):
            details["voices"] = [_voice_of_a_model(listed.voice) for listed in await gateway.voices(name, caller)]
        return ModelDetails(**details)

    @routes.get("/v1/audio/models")
    @routes.get("/audio/models", include_in_schema=False)
    async def list_speech_models(caller: Caller = viewer) -> SpeechModels:
        """The speech models, as Open WebUI reads them."""
        visible = gateway.groups.visible(caller)
        return SpeechModels(models=[SpeechModel(id=name) for name, group in visible.items() if _speaks(group)])

    @routes.get("/v1/audio/voices")
    @routes.get("/audio/voices", include_in_schema=False)
    async def list_voices(model: ChosenModel, caller: Caller = viewer) -> VoiceList:
        """The voices that the caller may use."""
        return VoiceList(voices=[_voice(listed) for listed in await gateway.voices(model, caller)])

    @routes.get("/v1/audio/speech/voices")
    @routes.get("/audio/speech/voices", include_in_schema=False)
    async def list_voices_by_model(model: ChosenModel, caller: Caller = viewer) -> list[VoiceOfModel]:
        """The voices that the caller may use, one row for each model that has it."""
        return [row for listed in await gateway.voices(model, caller) for row in _voices_by_model(listed)]

    return routes


def _speaks(group: Sequence[BoundDeployment]) -> bool:
    return any(bound.deployment.mode == Mode.SPEECH for bound in group)


def _task(bound: BoundDeployment) -> Task:
    return "text-to-speech" if bound.deployment.mode == Mode.SPEECH else "automatic-speech-recognition"


def _serves(group: Sequence[BoundDeployment], task: Task) -> bool:
    return any(_task(bound) == task for bound in group)


def _voice(listed: ListedVoice) -> CatalogVoice:
    voice = listed.voice
    return CatalogVoice(
        id=voice.id,
        name=voice.name or voice.id,
        model=listed.groups[0],
        models=list(listed.groups),
        vendor=listed.vendor,
        language=voice.language,
        gender=voice.gender,
    )


def _voice_of_a_model(voice: Voice) -> ModelVoice:
    return ModelVoice(id=voice.id, name=voice.id, language=voice.language, gender=voice.gender)


def _voices_by_model(listed: ListedVoice) -> Iterator[VoiceOfModel]:
    voice = listed.voice
    for group in listed.groups:
        yield VoiceOfModel(
            model_id=group,
            voice_id=voice.id,
            name=voice.name or voice.id,
            owned_by=listed.vendor,
            language=voice.language,
            gender=voice.gender,
        )
