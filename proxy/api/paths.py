"""Paths as clients spell them: doubled and trailing slashes, a doubled ``/v1``, Azure's addresses.

Each becomes the path of a route before anything looks at it, so that every rule for a route holds for all spellings.
The request is not redirected: many clients do not repeat a POST, or repeat it as a GET. Encoded slashes (``%2F``) are
part of a name and stay.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.types import Scope

#: Where a scope holds the model that the path names.
MODEL = "audio_proxy.model"

_SLASHES = re.compile(rb"/{2,}")
#: A base URL may end in either, and a client may add them once more.
_PREFIX = r"(?:/v1|/openai)+"
#: The deployment in the path is the model.
_DEPLOYMENT = re.compile(rf"(?:{_PREFIX})?/deployments/(.+)(/audio/(?:speech|transcriptions|translations))", re.DOTALL)
#: Only what OpenAI's API has: no other spelling leads to the routes that manage the proxy.
_OPENAI = re.compile(rf"{_PREFIX}(/(?:audio|models)(?:/.*)?)", re.DOTALL)


def normalize(scope: Scope) -> None:
    """Rewrite the path of a request whose path is not, or not exactly, that of a route."""
    _collapse_slashes(scope)
    root: str = scope.get("root_path", "")
    if root:
        _drop_doubled_root(scope, root)
    path = route_path(scope)
    if deployment := _DEPLOYMENT.fullmatch(path):
        scope[MODEL] = deployment[1]
        scope["path"] = f"{root}/v1{deployment[2]}"
    elif openai := _OPENAI.fullmatch(path):
        scope["path"] = f"{root}/v1{openai[1]}"


def route_path(scope: Scope) -> str:
    """The path without ``root_path``: that of a route."""
    root: str = scope.get("root_path", "")
    path: str = scope["path"]
    return path[len(root) :] if root and f"{path}/".startswith(f"{root}/") else path


def _collapse_slashes(scope: Scope) -> None:
    raw: bytes = scope.get("raw_path") or b""
    if b"//" in raw or raw.endswith(b"/"):
        raw = _SLASHES.sub(b"/", raw).rstrip(b"/") or b"/"
        scope["raw_path"], scope["path"] = raw, unquote(raw.decode("latin-1"))


def _drop_doubled_root(scope: Scope, root: str) -> None:
    """The server prepends ``root_path`` to the path. If the reverse proxy has not removed it, it is there twice."""
    path: str = scope["path"]
    if f"{path}/".startswith(f"{root}{root}/"):
        path = path.removeprefix(root)
    scope["path"] = f"{root}/" if path == root else path
