"""Who calls, by the key in a request's headers. Master keys are compared in constant time, others by their hash."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from proxy.accounting.key_cache import KeyCache
from proxy.accounting.key_headers import Headers, basic_password, key_of
from proxy.accounting.key_secrets import PREFIX
from proxy.config.models import is_weak
from proxy.domain.caller import EVERYBODY, MASTER, PREVIOUS_MASTER, Caller
from proxy.errors import Forbidden, Unauthorized


class Authenticator:
    """The keys that are accepted. Without a master key (``allow_unauthenticated``) anyone may call."""

    def __init__(
        self,
        *,
        master: str | None,
        previous: str | None = None,
        allow_weak: bool = False,
        metrics: str | None = None,
        key_cache: KeyCache | None = None,
        on_previous: Callable[[], None] = lambda: None,
    ) -> None:
        """``previous`` is accepted like ``master``; ``on_previous`` is called each time that somebody uses it.

        ``allow_weak``: a master key that can be guessed may do what others may.
        """
        masters = {MASTER: master, PREVIOUS_MASTER: previous}
        self._masters = [(caller, key.encode()) for caller, key in masters.items() if key is not None]
        self._weak = {caller for caller, key in masters.items() if key is not None and is_weak(key)}
        self._allow_weak = allow_weak
        self._metrics = metrics.encode() if metrics is not None else None
        self._key_cache = key_cache
        self._on_previous = on_previous

    @property
    def allows_everybody(self) -> bool:
        return not self._masters

    def is_weak(self, caller: Caller) -> bool:
        """Whether the caller holds a master key that can be guessed."""
        return caller in self._weak

    def check_strength(self, caller: Caller) -> None:
        """Raises Forbidden for a master key that can be guessed and only makes calls, therefore."""
        if self.is_weak(caller) and not self._allow_weak:
            raise Forbidden(
                "The master key can be guessed, so it may only make calls. Use one of 32 random characters or more. "
                "For trying out on your own machine, 'general_settings.allow_weak_master_key: true' lifts this.",
                code="weak_master_key",
            )

    def cached_caller(self, headers: Headers) -> Caller | None:
        """The caller; None for a virtual key that is not in memory, which ``look_up`` reads from the database.

        Raises Unauthorized if there is no key or an expired one, Forbidden for a blocked key.
        """
        if not self._masters:
            return EVERYBODY
        token = _required_key(headers)
        if (master := self._master(token)) is not None:
            return master
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
        return EVERYBODY if not self._masters or key_of(headers) is None else await self.caller(headers)

    def check_operator(self, headers: Headers) -> None:
        """Accepts a master key or the metrics token; a browser may send a master key as a Basic password.

        Raises Unauthorized, and Forbidden for a weak master key.
        """
        if not self._masters:
            return
        key, password = key_of(headers), basic_password(headers)
        if key is None and password is not None:
            master = self._master(password)
        else:
            token = _required_key(headers)
            if self._metrics is not None and hmac.compare_digest(token, self._metrics):
                return
            master = self._master(token)
        if master is None:
            raise _incorrect()
        self.check_strength(master)

    def _master(self, token: bytes) -> Caller | None:
        for caller, key in self._masters:
            if hmac.compare_digest(token, key):
                if caller is PREVIOUS_MASTER:
                    self._on_previous()
                return caller
        return None

    def is_configured(self, secret: str) -> bool:
        """Whether the text is one of the configuration's keys."""
        keys = [key for _, key in self._masters]
        return any(hmac.compare_digest(secret.encode(), key) for key in (*keys, self._metrics) if key is not None)

    def check_end_user(self, end_user: str | None) -> None:
        """Raises Forbidden for a blocked one."""
        if end_user is not None and self._key_cache is not None and self._key_cache.blocks(end_user):
            raise Forbidden("This end user is blocked.", param="user", code="end_user_blocked")


def _required_key(headers: Headers) -> bytes:
    key = key_of(headers)
    if key is None:
        raise Unauthorized("You didn't provide an API key. Send it in the header Authorization: Bearer KEY.")
    return key


def _incorrect() -> Unauthorized:
    return Unauthorized("Incorrect API key provided.")
