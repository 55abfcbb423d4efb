"""Who may use the routes that are not on the hot path, as FastAPI dependencies."""

from __future__ import annotations

from fastapi import Request

from proxy.accounting.keys import Keys


async def caller(request: Request) -> None:
    """Any valid key."""
    _keys(request).admit(_authorization(request))


async def operator(request: Request) -> None:
    """The master key, or the metrics token; browsers may send it as a Basic password."""
    _keys(request).admit_operator(_authorization(request))


def _keys(request: Request) -> Keys:
    keys: Keys = request.app.state.keys
    return keys


def _authorization(request: Request) -> bytes | None:
    value = request.headers.get("authorization")
    return None if value is None else value.encode("latin-1")
