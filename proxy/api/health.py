"""Whether the server lives, whether it takes new calls, and how its deployments do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Depends, Response

from proxy.api.access import master, operator
from proxy.attempts import HealthTracker
from proxy.gateway import Gateway
from proxy.routing.probes import Outcome, Probes
from proxy.telemetry import Telemetry


def router(
    gateway: Gateway, health: HealthTracker, telemetry: Telemetry, probes: Probes, draining: Callable[[], bool]
) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/health/liveliness")
    @routes.get("/health/liveness", include_in_schema=False)
    async def liveliness() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/health/readiness")
    async def readiness(response: Response) -> dict[str, str]:
        """503 from the moment that the server was told to stop, so that load balancers look elsewhere."""
        if draining():
            response.status_code = 503
            return {"status": "draining"}
        return {"status": "ready"}

    @routes.get("/health", dependencies=[Depends(operator)])
    async def report() -> dict[str, Any]:
        """The deployments that are served, and whether they rest. Asks no vendor."""
        return {
            "deployments": [
                {
                    "id": line.deployment.id,
                    "model_name": name,
                    "model": f"{line.deployment.vendor}/{line.deployment.model}",
                    "mode": line.deployment.mode,
                    "shutdown_date": line.adapter.capabilities.shutdown_date,
                    "in_flight": health[line.deployment.id].in_flight,
                    "resting": health[line.deployment.id].reason
                    if health.is_cooling_down(line.deployment.id)
                    else None,
                }
                for name, lines in gateway.groups.deployments.items()
                for line in lines
            ]
        }

    @routes.post("/health/probe", dependencies=[Depends(master)])
    async def probe() -> dict[str, Any]:
        """Asks every deployment a real, tiny question, which its vendor may bill."""
        outcomes = await probes.run()
        return {
            "healthy": all(outcome.error is None for outcome in outcomes),
            "deployments": list(map(_told, outcomes)),
        }

    @routes.get("/metrics", dependencies=[Depends(operator)])
    async def metrics() -> Response:
        return Response(await telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes


def _told(outcome: Outcome) -> dict[str, Any]:
    return {
        "id": outcome.deployment,
        "model_name": outcome.group,
        "healthy": outcome.error is None,
        "ms": round(outcome.seconds * 1000, 1),
        "error": None if outcome.error is None else outcome.error.body()["error"],
    }
