"""Error handlers of the routes that are not on the hot path. Errors have OpenAI's shape, never FastAPI's."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from proxy.api.exchange import error_headers
from proxy.domain.blotting import blotted
from proxy.errors import BadRequest, MethodNotAllowed, NotFound, ProxyError, Unauthorized
from proxy.telemetry import Telemetry

_KEY = re.compile(r"sk-[^/]+")


def install(app: FastAPI, telemetry: Telemetry) -> None:
    paths = sorted({route.path for route in app.routes if isinstance(route, Route)})

    async def proxy_error(request: Request, error: Exception) -> Response:
        response = _document(cast(ProxyError, error), request)
        if isinstance(error, Unauthorized) and request.url.path.endswith(("/docs", "/openapi.json")):
            # Browsers prompt for a password, which is the key here, only if Basic is offered.
            response.headers.append("www-authenticate", 'Basic realm="audio-proxy"')
        return response

    async def http_exception(request: Request, error: Exception) -> Response:
        raised = cast(HTTPException, error)
        if raised.status_code == 405:
            response = _document(MethodNotAllowed(f"{request.method} is not allowed here."), request)
            allowed = (raised.headers or {}).get("Allow", "")
            response.headers["allow"] = "GET, HEAD" if allowed == "GET" else allowed
            return response
        if raised.status_code == 404:
            return _document(NotFound(_unknown_path(request, paths)), request)
        return _document(BadRequest(str(raised.detail), status=raised.status_code), request)

    async def invalid_parameter(request: Request, error: Exception) -> Response:
        first = cast(RequestValidationError, error).errors()[0]
        return _document(BadRequest(str(first["msg"]), param=".".join(map(str, first["loc"][1:])) or None), request)

    async def unexpected(request: Request, _: Exception) -> Response:
        telemetry.log.exception("unexpected error", request_id=request.scope["request_id"])
        return _document(ProxyError("The server had an error while processing your request."), request)

    app.add_exception_handler(ProxyError, proxy_error)
    app.add_exception_handler(HTTPException, http_exception)
    app.add_exception_handler(RequestValidationError, invalid_parameter)
    app.add_exception_handler(Exception, unexpected)


def _document(error: ProxyError, request: Request) -> Response:
    request_id = request.scope["request_id"]
    structlog.get_logger().info(
        "refused",
        request_id=request_id,
        method=request.method,
        path=_path(request),
        status=error.status,
        error=error.kind,
        message=blotted(error.message),
    )
    body = error.json(request_id)
    response = Response(body, status_code=error.status)
    response.raw_headers = error_headers(error, len(body))
    return response


def _unknown_path(request: Request, paths: list[str]) -> str:
    nearest = get_close_matches(request.url.path, paths, n=1, cutoff=0.6)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return f"Unknown request URL: {request.method} {_path(request)}.{hint}"


def _path(request: Request) -> str:
    """Without the key that LiteLLM's paths may contain."""
    return _KEY.sub("sk-...", request.url.path[:200])
