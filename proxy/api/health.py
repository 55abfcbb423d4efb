"""Whether the server is alive and accepts new calls, and the state of its deployments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from fastapi import APIRouter, Depends, Response
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, Field

from proxy.api.access import master, operator
from proxy.api.error_models import ErrorObject
from proxy.attempts import HealthTracker
from proxy.domain.requests import Mode
from proxy.gateway import Gateway
from proxy.matching import BoundDeployment
from proxy.routing.probes import Outcome, Probes
from proxy.telemetry import Telemetry


class Liveness(BaseModel):
    status: Literal["alive"] = "alive"


class Readiness(BaseModel):
    status: Literal["ready", "draining"]


class DeploymentState(BaseModel):
    id: str
    model_name: str = Field(description="The model group.", examples=["tts"])
    model: str = Field(description="Vendor and model.", examples=["openai/tts-1"])
    mode: Mode
    shutdown_date: str | None = Field(description="When the vendor retires the model.", examples=["2027-01-06"])
    in_flight: int = Field(description="Calls that the deployment is serving.")
    resting: str | None = Field(description="Why the deployment is cooling down; null if it is healthy.")


class Health(BaseModel):
    deployments: list[DeploymentState]
    restart_needed: list[str] = Field(
        description="Settings that have changed since the start, and take effect after a restart.",
        examples=[["general_settings.log_level"]],
    )


class ProbeOutcome(BaseModel):
    id: str
    model_name: str
    healthy: bool
    ms: float = Field(description="Milliseconds to the end of the answer.")
    error: ErrorObject | None


class ProbeReport(BaseModel):
    healthy: bool = Field(description="All deployments are.")
    deployments: list[ProbeOutcome]


def router(
    gateway: Gateway,
    health: HealthTracker,
    telemetry: Telemetry,
    probes: Probes,
    *,
    draining: Callable[[], bool],
    restart_needed: Callable[[], Sequence[str]],
) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/health/liveliness")
    @routes.get("/health/liveness", include_in_schema=False)
    @routes.get("/healthz", include_in_schema=False)
    @routes.get("/livez", include_in_schema=False)
    async def liveliness() -> Liveness:
        """Whether the process is alive."""
        return Liveness()

    @routes.get("/health/readiness", responses={503: {"model": Readiness}})
    @routes.get("/readyz", include_in_schema=False)
    async def readiness(response: Response) -> Readiness:
        """Whether new calls are accepted: 503 as soon as the server begins to shut down, for load balancers."""
        if draining():
            response.status_code = 503
            return Readiness(status="draining")
        return Readiness(status="ready")

    @routes.get("/health", dependencies=[Depends(operator)])
    async def health_report() -> Health:
        """The deployments and their state. Calls no vendor."""
        groups = gateway.groups.deployments.items()
        return Health(
            deployments=[_state(bound, name, health) for name, group in groups for bound in group],
            restart_needed=list(restart_needed()),
        )

    @routes.post("/health/probe", dependencies=[Depends(master)])
    async def probe_deployments() -> ProbeReport:
        """Send a tiny request to every deployment. Vendors may bill it."""
        outcomes = await probes.run()
        return ProbeReport(
            healthy=all(outcome.error is None for outcome in outcomes), deployments=list(map(_outcome, outcomes))
        )

    @routes.get("/metrics", dependencies=[Depends(operator)], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Metrics for Prometheus."""
        return Response(await telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _state(bound: BoundDeployment, group: str, health: HealthTracker) -> DeploymentState:
    deployment, state = bound.deployment, health[bound.deployment.id]
    return DeploymentState.model_validate(
        {
            "id": deployment.id,
            "model_name": group,
            "model": f"{deployment.vendor}/{deployment.model}",
            "mode": deployment.mode,
            "shutdown_date": bound.adapter.capabilities.shutdown_date,
            "in_flight": state.in_flight,
            "resting": state.reason if health.is_cooling_down(deployment.id) else None,
        }
    )


def _outcome(outcome: Outcome) -> ProbeOutcome:
    error = None if outcome.error is None else ErrorObject.model_validate(outcome.error.body()["error"])
    return ProbeOutcome(
        id=outcome.deployment,
        model_name=outcome.group,
        healthy=outcome.error is None,
        ms=round(outcome.seconds * 1000, 1),
        error=error,
    )
