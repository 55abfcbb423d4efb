"""What the headers of requests and responses say: secrets, and the vendor's id of a request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from proxy.http.head import RawHeaders
from proxy.http.messages import BODY_HEADERS, Headers, Response

#: Where vendors state their id of a request.
ID_HEADERS = frozenset({
    b"x-request-id", b"request-id", b"x-requestid", b"apim-request-id", b"x-ms-request-id", b"dg-request-id",
    b"x-goog-request-id", b"x-deepinfra-request-id", b"x-generation-id",
})  # fmt: skip
MAX_ID_LENGTH = 200
#: Headers of a request that hold no secret; any other one is a key, or confidential to the operator.
PUBLIC_HEADERS = BODY_HEADERS | {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection"}
MIN_SECRET_LENGTH = 8
#: In the extensions of a request: the secrets of its headers, where they are known in advance.
SECRETS: Final = "secrets"


def header(response: Response, name: bytes) -> str:
    """The first header of a (lower-case) name; empty if there is none."""
    return response.headers.first.get(name, b"").decode("latin-1")


def upstream_id(response: Response) -> str:
    """The vendor's id of the request, which its support asks for; empty if the response has none."""
    for name, value in response.headers.first.items():
        if name in ID_HEADERS:
            return "" if holds(value, secrets_of(response)) else value.decode("latin-1")[:MAX_ID_LENGTH]
    return ""


def secrets_of(response: Response) -> tuple[bytes, ...]:
    """The keys that its request carried. A header of the response that `holds` one of them must not be shown."""
    request = response.request
    if request is None:
        return ()
    known: tuple[bytes, ...] | None = request.extensions.get(SECRETS)
    return secrets_in(request.headers.raw) if known is None else known


def secrets_in(headers: RawHeaders) -> tuple[bytes, ...]:
    values = (value.rpartition(b" ")[2] for name, value in headers if name.lower() not in PUBLIC_HEADERS)
    return tuple(secret for secret in values if len(secret) >= MIN_SECRET_LENGTH)


def secrets_extension(headers: Headers) -> Mapping[str, Any]:
    """For requests with these headers."""
    return {SECRETS: secrets_in(headers.raw)}


def holds(value: bytes, secrets: Iterable[bytes]) -> bool:
    for secret in secrets:  # noqa: SIM110 - any() is slower, and this runs for every response
        if secret in value:
            return True
    return False
