"""The models as LiteLLM describes them: its deployments with their prices, and its groups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from proxy.accounting.billing import Billing
from proxy.api.access import caller
from proxy.domain.caller import Caller
from proxy.domain.requests import Mode
from proxy.errors import BadRequest
from proxy.matching import BoundDeployment
from proxy.routing.groups import ModelGroups

ANY_KEY = Depends(caller)
#: What LiteLLM calls the parameters of OpenAI's API.
_SPEECH = ("voice", "instructions", "response_format", "speed", "stream_format")
_TRANSCRIPTION = (
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities",
    "include",
    "stream",
)


class PricesOfModel(BaseModel):
    """In USD; null if it is not known, or not what the vendor bills."""

    input_cost_per_token: float | None = None
    input_cost_per_audio_token: float | None = None
    cache_read_input_token_cost: float | None = None
    cache_read_input_audio_token_cost: float | None = None
    output_cost_per_token: float | None = None
    output_cost_per_audio_token: float | None = None
    input_cost_per_character: float | None = None
    input_cost_per_second: float | None = None
    output_cost_per_second: float | None = None
    input_cost_per_request: float | None = None


class LiteLLMParams(BaseModel):
    model: str = Field(description="Vendor and model.", examples=["openai/tts-1"])


class ModelInfo(PricesOfModel):
    id: str = Field(description="The deployment.")
    db_model: Literal[False] = False
    mode: Mode
    base_model: str | None
    litellm_provider: str = Field(description="The vendor.", examples=["openai"])
    supported_openai_params: list[str]


class DeploymentInfo(BaseModel):
    model_name: str = Field(description="The model group.", examples=["tts"])
    litellm_params: LiteLLMParams
    model_info: ModelInfo


class DeploymentInfos(BaseModel):
    data: list[DeploymentInfo]


class GroupInfo(PricesOfModel):
    """Of prices that differ, the highest."""

    model_group: str = Field(examples=["tts"])
    providers: list[str] = Field(description="The vendors.", examples=[["openai"]])
    mode: Mode
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    tpm: int | None = None
    rpm: int | None = Field(description="Of all deployments; null if one has no limit.")
    supports_function_calling: Literal[False] = False
    supports_parallel_function_calling: Literal[False] = False
    supports_vision: Literal[False] = False
    supported_openai_params: list[str]


class GroupInfos(BaseModel):
    data: list[GroupInfo]


def router(groups: ModelGroups, billing: Billing) -> APIRouter:
    routes = APIRouter(tags=["catalog"])

    @routes.get("/v1/model/info")
    @routes.get("/model/info", include_in_schema=False)
    async def model_info(
        litellm_model_id: Annotated[str | None, Query(description="Only this deployment.")] = None,
        caller: Caller = ANY_KEY,
    ) -> DeploymentInfos:
        """The deployments that the caller may use, as LiteLLM describes them."""
        visible = groups.visible(caller).values()
        rows = [_deployment(bound, billing) for group in visible for bound in group]
        if litellm_model_id is not None:
            rows = [row for row in rows if row.model_info.id == litellm_model_id]
            if not rows:
                raise BadRequest(f"The deployment '{litellm_model_id[:100]}' was not found.", param="litellm_model_id")
        return DeploymentInfos(data=rows)

    @routes.get("/model_group/info")
    async def model_group_info(
        model_group: Annotated[str | None, Query(description="Only this group.")] = None,
        caller: Caller = ANY_KEY,
    ) -> GroupInfos:
        """The model groups that the caller may use, as LiteLLM describes them."""
        chosen = groups.one_or_all(model_group, caller)
        return GroupInfos(data=[_group(group, billing) for group in chosen])

    return routes


def _deployment(bound: BoundDeployment, billing: Billing) -> DeploymentInfo:
    deployment = bound.deployment
    info = {
        "id": deployment.id,
        "mode": deployment.mode,
        "base_model": deployment.base_model,
        "litellm_provider": deployment.vendor,
        "supported_openai_params": _parameters([bound]),
        **_prices(bound, billing),
    }
    return DeploymentInfo(
        model_name=deployment.group,
        litellm_params=LiteLLMParams(model=f"{deployment.vendor}/{deployment.model}"),
        model_info=ModelInfo.model_validate(info),
    )


def _group(group: Sequence[BoundDeployment], billing: Billing) -> GroupInfo:
    deployments = [bound.deployment for bound in group]
    limits = [deployment.rpm for deployment in deployments if deployment.rpm is not None]
    info: dict[str, Any] = {
        "model_group": deployments[0].group,
        "providers": list(dict.fromkeys(deployment.vendor for deployment in deployments)),
        "mode": deployments[0].mode,
        "rpm": sum(limits) if len(limits) == len(deployments) else None,
        "supported_openai_params": _parameters(group),
    }
    return GroupInfo.model_validate({**info, **_highest(_prices(bound, billing) for bound in group)})


def _prices(bound: BoundDeployment, billing: Billing) -> Mapping[str, Decimal]:
    price = billing.price(bound.deployment.id)
    return {} if price is None else price.prices


def _highest(prices: Iterable[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    highest: dict[str, Decimal] = {}
    for each in prices:
        for name, price in each.items():
            highest[name] = max(price, highest.get(name, price))
    return highest


def _parameters(group: Sequence[BoundDeployment]) -> list[str]:
    """OpenAI's parameters that have an effect with at least one of the deployments."""
    return list(
        dict.fromkeys(
            name
            for bound in group
            for name in (_SPEECH if bound.deployment.mode == Mode.SPEECH else _TRANSCRIPTION)
            if name not in bound.adapter.capabilities.ignores
        )
    )
