"""Who may use the routes that are not on the hot path, as FastAPI dependencies.

A master key that can be guessed makes calls and lists models, but passes none of the others (`check_strength`). Who is
trusted is never inferred from the network: behind a reverse proxy, every request comes from this machine.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from proxy.accounting.authenticator import Authenticator
from proxy.domain.caller import Caller
from proxy.errors import Forbidden


async def caller(request: Request) -> Caller:
    """Any valid key."""
    return await authenticator(request).caller(_headers(request))


async def visitor(request: Request) -> Caller:
    """Any valid key, or none at all."""
    return await authenticator(request).visitor(_headers(request))


async def master(request: Request) -> None:
    """The master key, if there is one."""
    if not (identity := await caller(request)).is_master and identity.key_id is not None:
        raise Forbidden("Only the master key may do this.")
    authenticator(request).check_strength(identity)


async def operator(request: Request) -> None:
    """The master key, or the metrics token; browsers may send the master key as a Basic password."""
    authenticator(request).check_operator(_headers(request))


async def administrator(request: Request) -> Caller:
    """The master key."""
    identity = await caller(request)
    if authenticator(request).allows_everybody:
        raise Forbidden("This needs a master key, and none is configured. Use the command 'audio-proxy keys'.")
    if not identity.is_master:
        raise Forbidden("Only the master key may do this.")
    authenticator(request).check_strength(identity)
    return identity


async def reader(request: Request) -> Caller:
    """A key that reads records: the master key reads all, a virtual key its own."""
    identity = await caller(request)
    if identity.key_id is None:
        raise Forbidden("This needs a master key, and none is configured. Use the command 'audio-proxy usage'.")
    authenticator(request).check_strength(identity)
    return identity


Admin = Annotated[Caller, Depends(administrator)]
Reader = Annotated[Caller, Depends(reader)]


def authenticator(request: Request) -> Authenticator:
    keys: Authenticator = request.app.state.keys
    return keys


def _headers(request: Request) -> dict[bytes, bytes]:
    return dict(request.scope["headers"])
