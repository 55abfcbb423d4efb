"""Who calls: the key of a request's headers, compared in constant time."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Iterable

from proxy.errors import Unauthorized


class Keys:
    """The keys that open this proxy. Without a master key (``allow_unauthenticated``) everybody may enter."""

    def __init__(self, *, master: str | None, metrics: str | None = None) -> None:
        self._master = master.encode() if master is not None else None
        self._operators = [key.encode() for key in (master, metrics) if key is not None]

    def admit(self, authorization: bytes | None) -> None:
        """Raises Unauthorized unless the header carries the master key as a bearer token."""
        if self._master is not None:
            _compare(_bearer(authorization), (self._master,))

    def admit_operator(self, authorization: bytes | None) -> None:
        """As ``admit``; the metrics token will do as well, and a browser may send the key as a Basic password."""
        if self._master is None:
            return
        scheme, _, credentials = (authorization or b"").partition(b" ")
        if scheme.lower() == b"basic":
            _compare(_basic_password(credentials), (self._master,))
        else:
            _compare(_bearer(authorization), self._operators)


def _bearer(authorization: bytes | None) -> bytes:
    if authorization is None:
        raise Unauthorized("You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'.")
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise Unauthorized("The Authorization header must have the form 'Bearer YOUR_KEY'.")
    return token.strip()


def _basic_password(credentials: bytes) -> bytes:
    try:
        return b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _compare(token: bytes, keys: Iterable[bytes]) -> None:
    matches = [hmac.compare_digest(token, key) for key in keys]
    if not any(matches):
        raise Unauthorized("Incorrect API key provided.")
