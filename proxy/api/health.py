"""Whether the server lives, whether it takes new calls, and what it serves. None of these asks a vendor."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from proxy.api.access import operator
from proxy.gateway import Gateway
from proxy.telemetry import Telemetry


def router(gateway: Gateway, telemetry: Telemetry) -> APIRouter:
    routes = APIRouter(tags=["health"])

    @routes.get("/health/liveliness")
    @routes.get("/health/liveness", include_in_schema=False)
    async def liveliness() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/health/readiness")
    async def readiness(request: Request, response: Response) -> dict[str, str]:
        """503 from the moment that the server was told to stop, so that load balancers look elsewhere."""
        if request.app.state.draining:
            response.status_code = 503
            return {"status": "draining"}
        return {"status": "ready"}

    @routes.get("/health", dependencies=[Depends(operator)])
    async def health() -> dict[str, Any]:
        """The deployments that are served."""
        return {
            "deployments": [
                {
                    "id": line.deployment.id,
                    "model_name": name,
                    "model": f"{line.deployment.vendor}/{line.deployment.model}",
                    "mode": line.deployment.mode,
                    "shutdown_date": line.adapter.capabilities.shutdown_date,
                }
                for name, lines in gateway.groups.items()
                for line in lines
            ]
        }

    @routes.get("/metrics", dependencies=[Depends(operator)])
    async def metrics() -> Response:
        return Response(telemetry.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
