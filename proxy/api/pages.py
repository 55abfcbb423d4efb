"""Pages for people: what this server is, at ``/``, and the description of its API, at ``/docs``.

Swagger UI comes from an installed package, not from a CDN: whoever can change its script can read the key that an
operator enters. For the same reason the pages allow neither other hosts' scripts nor scripts inside the page.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from proxy.api.access import operator

NAME = "audio-proxy"
SUMMARY = "One OpenAI-compatible API in front of speech and transcription vendors."

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 40rem; margin: 3rem auto; padding: 0 1rem }
"""
_STYLE_HASH = b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_NOTHING_ELSE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; default-src 'none'"
_HOME_POLICY = f"{_NOTHING_ELSE}; img-src data:; style-src 'sha256-{_STYLE_HASH}'"
#: Swagger UI sets styles, holds its icons as data, and sends requests to this server.
_DOCS_POLICY = (
    f"{_NOTHING_ELSE}; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
_SECURITY = {"x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}

#: Without `validatorUrl: null`, Swagger UI would send the address of the description to validator.swagger.io. The
#: origin leaves out a user and password in the page's own address, with which browsers refuse to fetch.
_START = """\
const page = document.getElementById("docs");
const url = location.origin + page.dataset.url;
SwaggerUIBundle({ domNode: page, url, deepLinking: true, validatorUrl: null });
"""
_SWAGGER = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}


def install(app: FastAPI, document: Callable[[FastAPI], dict[str, Any]] | None) -> None:
    """``document`` describes the API; without it there is only the page at ``/``."""

    @app.get("/", include_in_schema=False)
    async def home(request: Request) -> Response:
        root = request.scope.get("root_path", "")
        if "text/html" in request.headers.get("accept", ""):
            response: Response = _page(_home(root, has_docs=document is not None), _HOME_POLICY)
        else:
            links = {"api": f"{root}/v1"} | ({} if document is None else {"docs": f"{root}/docs"})
            response = JSONResponse({"name": NAME, "description": SUMMARY, **links})
        response.headers["vary"] = "accept"
        return response

    if document is None:
        return
    described = cache(lambda: document(app))

    @app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(operator)])
    async def schema(request: Request) -> dict[str, object]:
        return {**described(), "servers": [{"url": request.scope.get("root_path") or "/"}]}

    @app.get("/docs", include_in_schema=False, dependencies=[Depends(operator)])
    async def docs(request: Request) -> HTMLResponse:
        return _page(_docs(request.scope.get("root_path", "")), _DOCS_POLICY)

    async def start(_: Request) -> Response:
        return Response(_START, media_type="text/javascript", headers=_SECURITY)

    async def swagger(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        path = str(files("fastapi_offline") / "static" / name)
        headers = {**_SECURITY, "cache-control": "public, max-age=86400"}
        return FileResponse(path, media_type=_SWAGGER[name], headers=headers)

    app.router.routes.append(Route("/docs/start.js", start))
    app.router.routes += [Route(f"/docs/{name}", swagger) for name in _SWAGGER]


def _page(html: str, policy: str) -> HTMLResponse:
    return HTMLResponse(html, headers={**_SECURITY, "content-security-policy": policy, "cache-control": "no-cache"})


def _home(root: str, *, has_docs: bool) -> str:
    root = escape(root)
    docs = f'<li><a href="{root}/docs">API reference</a> (the password is the master key)</li>' if has_docs else ""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{NAME}</title>
<link rel="icon" href="data:,">
<style>{_STYLE}</style>
</head>
<body>
<h1>{NAME}</h1>
<p>{SUMMARY}</p>
<ul>
<li>Base URL for clients: <code>{root}/v1</code> on this host. Calls need a key.</li>
{docs}
<li><a href="{root}/health/readiness">Readiness</a></li>
</ul>
<p>The guides are in the folder <code>docs</code> of the project.</p>
</body>
</html>
"""


def _docs(root: str) -> str:
    root = escape(root)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{NAME}: API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{root}/docs/swagger-ui.css">
</head>
<body>
<div id="docs" data-url="{root}/openapi.json"></div>
<script src="{root}/docs/swagger-ui-bundle.js"></script>
<script src="{root}/docs/start.js"></script>
</body>
</html>
"""
