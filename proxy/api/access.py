"""Who may use the routes that are not on the hot path, as FastAPI dependencies."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request

from proxy.accounting.authenticator import Authenticator
from proxy.domain.caller import Caller
from proxy.errors import Forbidden

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")


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


async def operator(request: Request) -> None:
    """The master key, or the metrics token; browsers may send the master key as a Basic password."""
    authenticator(request).check_operator(_headers(request))


async def administrator(request: Request) -> Caller:
    """The master key. If it can be guessed, only from this machine."""
    identity = await caller(request)
    if authenticator(request).allows_everybody:
        raise Forbidden("This needs a master key, and none is configured. Use the command 'audio-proxy keys'.")
    if not identity.is_master:
        raise Forbidden("Only the master key may do this.")
    if authenticator(request).is_weak(identity) and not _is_local(request):
        raise Forbidden(
            "The master key can be guessed: until it is replaced, this is only allowed from the server's own machine.",
            code="weak_master_key",
        )
    return identity


async def reader(request: Request) -> Caller:
    """A key that reads records: the master key reads all, a virtual key its own."""
    identity = await caller(request)
    if identity.key_id is None:
        raise Forbidden("This needs a master key, and none is configured. Use the command 'audio-proxy usage'.")
    return identity


Admin = Annotated[Caller, Depends(administrator)]
Reader = Annotated[Caller, Depends(reader)]


def authenticator(request: Request) -> Authenticator:
    keys: Authenticator = request.app.state.keys
    return keys


def _is_local(request: Request) -> bool:
    """Neither forwarded by a reverse proxy, nor from a browser that was led here under another host name."""
    try:
        is_loopback = request.client is not None and ip_address(request.client.host).is_loopback
    except ValueError:
        return False
    host = request.headers.get("host", "").rpartition(":")
    name = host[0] if host[1] and not host[2].endswith("]") else host[0] + host[1] + host[2]
    return is_loopback and name in _LOCAL_NAMES and not any(header in request.headers for header in _FORWARDED)


def _headers(request: Request) -> dict[bytes, bytes]:
    return dict(request.scope["headers"])
