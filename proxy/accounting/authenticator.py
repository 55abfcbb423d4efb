"""Who calls, by the key in a request's headers. The master key is compared in constant time, others by their hash."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode
from collections.abc import Iterable

from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_secrets import PREFIX
from proxy.domain.caller import EVERYBODY, MASTER, Caller
from proxy.errors import Forbidden, Unauthorized


class Authenticator:
    """The keys that are accepted. Without a master key (``allow_unauthenticated``) anyone may call."""

    def __init__(self, *, master: str | None, metrics: str | None = None, key_cache: KeyCache | None = None) -> None:
        self._master = master.encode() if master is not None else None
        self._operators = [key.encode() for key in (master, metrics) if key is not None]
        self._key_cache = key_cache

    @property
    def allows_everybody(self) -> bool:
        return self._master is None

    def cached_caller(self, authorization: bytes | None) -> Caller | None:
        """The caller; None for a virtual key that is not in memory, which ``look_up`` reads from the database.

        Raises Unauthorized if the header has no key or an expired one, Forbidden for a blocked key.
        """
        if self._master is None:
            return EVERYBODY
        token = _bearer(authorization)
        if hmac.compare_digest(token, self._master):
            return MASTER
        if self._key_cache is None or not token.startswith(PREFIX.encode()):
            raise _incorrect()
        return self._key_cache.find(hashlib.sha256(token).hexdigest())

    async def look_up(self, authorization: bytes | None) -> Caller:
        """The caller, from the database. Raises as ``cached_caller``, and Unavailable."""
        if self._key_cache is not None:
            await self._key_cache.refresh()
        caller = self.cached_caller(authorization)
        if caller is None:
            raise _incorrect()
        return caller

    async def caller(self, authorization: bytes | None) -> Caller:
        return self.cached_caller(authorization) or await self.look_up(authorization)

    def check_operator(self, authorization: bytes | None) -> None:
        """Accepts the master key or the metrics token; a browser may send the master key as a Basic password."""
        if self._master is None:
            return
        scheme, _, credentials = (authorization or b"").partition(b" ")
        if scheme.lower() == b"basic":
            _compare(_basic_password(credentials), (self._master,))
        else:
            _compare(_bearer(authorization), self._operators)

    def is_configured(self, secret: str) -> bool:
        """Whether the text is one of the configuration's keys."""
        return any(hmac.compare_digest(secret.encode(), key) for key in self._operators)

    def check_end_user(self, end_user: str | None) -> None:
        """Raises Forbidden for a blocked one."""
        if end_user is not None and self._key_cache is not None and self._key_cache.blocks(end_user):
            raise Forbidden("This end user is blocked.", param="user", code="end_user_blocked")


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
        raise _incorrect()


def _incorrect() -> Unauthorized:
    return Unauthorized("Incorrect API key provided.")
