"""Who calls, by the key in a request's headers. The master key is compared in constant time, others by their hash."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_headers import Headers, basic_password, key_of
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

    def cached_caller(self, headers: Headers) -> Caller | None:
        """The caller; None for a virtual key that is not in memory, which ``look_up`` reads from the database.

        Raises Unauthorized if there is no key or an expired one, Forbidden for a blocked key.
        """
        if self._master is None:
            return EVERYBODY
        token = _required_key(headers)
        if hmac.compare_digest(token, self._master):
            return MASTER
        if self._key_cache is None or not token.startswith(PREFIX.encode()):
            raise _incorrect()
        return self._key_cache.find(hashlib.sha256(token).hexdigest())

    async def look_up(self, headers: Headers) -> Caller:
        """The caller, from the database. Raises as ``cached_caller``, and Unavailable."""
        if self._key_cache is not None:
            await self._key_cache.refresh()
        caller = self.cached_caller(headers)
        if caller is None:
            raise _incorrect()
        return caller

    async def caller(self, headers: Headers) -> Caller:
        return self.cached_caller(headers) or await self.look_up(headers)

    async def visitor(self, headers: Headers) -> Caller:
        """As ``caller``, but a request may have no key. A wrong key is refused: clients check their key this way."""
        return EVERYBODY if self._master is None or key_of(headers) is None else await self.caller(headers)

    def check_operator(self, headers: Headers) -> None:
        """Accepts the master key or the metrics token; a browser may send the master key as a Basic password."""
        if self._master is None:
            return
        key, password = key_of(headers), basic_password(headers)
        if key is None and password is not None:
            _compare(password, (self._master,))
        else:
            _compare(_required_key(headers), self._operators)

    def is_configured(self, secret: str) -> bool:
        """Whether the text is one of the configuration's keys."""
        return any(hmac.compare_digest(secret.encode(), key) for key in self._operators)

    def check_end_user(self, end_user: str | None) -> None:
        """Raises Forbidden for a blocked one."""
        if end_user is not None and self._key_cache is not None and self._key_cache.blocks(end_user):
            raise Forbidden("This end user is blocked.", param="user", code="end_user_blocked")


def _required_key(headers: Headers) -> bytes:
    key = key_of(headers)
    if key is None:
        raise Unauthorized("You didn't provide an API key. Send it in the header 'Authorization: Bearer YOUR_KEY'.")
    return key


def _compare(token: bytes, keys: Iterable[bytes]) -> None:
    matches = [hmac.compare_digest(token, key) for key in keys]
    if not any(matches):
        raise _incorrect()


def _incorrect() -> Unauthorized:
    return Unauthorized("Incorrect API key provided.")
