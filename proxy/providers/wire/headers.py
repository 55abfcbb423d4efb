"""Headers of vendors' responses, and the keys that the requests carried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.http.messages import BODY_HEADERS, Headers, Response

#: Headers that hold a vendor's id of the request.
ID_HEADERS = frozenset({
    b"x-request-id", b"request-id", b"x-requestid", b"apim-request-id", b"x-ms-request-id", b"dg-request-id",
    b"x-goog-request-id", b"x-deepinfra-request-id", b"x-generation-id",
})  # fmt: skip
MAX_ID_LENGTH = 200
#: Request headers that are never secret; any other may hold a key or a header that the operator configured.
NO_SECRETS = BODY_HEADERS | {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
MIN_SECRET_LENGTH = 8
_EXTENSION: Final = "secrets"


def header(response: Response, name: bytes) -> str:
    """The first response header of a (lower-case) name, empty if it is missing."""
    return response.headers.first.get(name, b"").decode("latin-1")


def upstream_id(response: Response) -> str:
    """The vendor's id of the request, for its support; empty if there is none, or if it contains a key."""
    for name, value in response.headers.first.items():
        if name in ID_HEADERS:
            return "" if holds(value, secrets_of(response)) else value.decode("latin-1")[:MAX_ID_LENGTH]
    return ""


def secrets_of(response: Response) -> tuple[bytes, ...]:
    """The keys that the request carried; a response header that `holds` one of them is never passed on."""
    request = response.request
    if request is None:
        return ()
    known: tuple[bytes, ...] | None = request.extensions.get(_EXTENSION)
    return _secrets(request.headers) if known is None else known


def secrets_extension(headers: Headers) -> Mapping[str, Any]:
    """The extensions of requests with these headers, so that `secrets_of` finds their keys ready."""
    return {_EXTENSION: _secrets(headers)}


def _secrets(headers: Headers) -> tuple[bytes, ...]:
    values = (value.rpartition(b" ")[2] for name, value in headers.raw if name.lower() not in NO_SECRETS)
    return tuple(secret for secret in values if len(secret) >= MIN_SECRET_LENGTH)


def holds(value: bytes, secrets: Iterable[bytes]) -> bool:
    for secret in secrets:  # noqa: SIM110 - any() costs more, and this runs for every response
        if secret in value:
            return True
    return False
