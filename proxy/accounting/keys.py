"""Who calls: the key of a request's headers. The master key is compared in constant time, others by their hash."""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64decode
from collections.abc import Iterable

from proxy.accounting.key_cache import KeyCache
from proxy.domain.caller import EVERYBODY, MASTER, Caller
from proxy.errors import Forbidden, Unauthorized

#: What every virtual key begins with, as LiteLLM's do.
PREFIX = "sk-"
_ID = re.compile(r"[0-9a-fA-F]{64}")


class Authenticator:
    """The keys that open this proxy. Without a master key (``allow_unauthenticated``) everybody may enter."""

    def __init__(self, *, master: str | None, metrics: str | None = None, key_cache: KeyCache | None = None) -> None:
        self._master = master.encode() if master is not None else None
        self._operators = [key.encode() for key in (master, metrics) if key is not None]
        self._keyring = key_cache

    @property
    def open_to_everybody(self) -> bool:
        return self._master is None

    def known(self, authorization: bytes | None) -> Caller | None:
        """The caller, as far as memory knows; None for a key that ``look_up`` has to look for.

        Raises Unauthorized where the header holds no key or an expired one, Forbidden for a blocked key.
        """
        if self._master is None:
            return EVERYBODY
        token = _bearer(authorization)
        if hmac.compare_digest(token, self._master):
            return MASTER
        if self._keyring is None or not token.startswith(PREFIX.encode()):
            raise _incorrect()
        return self._keyring.find(hashlib.sha256(token).hexdigest())

    async def look_up(self, authorization: bytes | None) -> Caller:
        """The caller, after a look at the database. Raises as ``known``, and Unavailable where it is away."""
        if self._keyring is not None:
            await self._keyring.refresh()
        caller = self.known(authorization)
        if caller is None:
            raise _incorrect()
        return caller

    async def caller(self, authorization: bytes | None) -> Caller:
        return self.known(authorization) or await self.look_up(authorization)

    def admit_operator(self, authorization: bytes | None) -> None:
        """The master key or the metrics token; a browser may send the master key as a Basic password."""
        if self._master is None:
            return
        scheme, _, credentials = (authorization or b"").partition(b" ")
        if scheme.lower() == b"basic":
            _compare(_basic_password(credentials), (self._master,))
        else:
            _compare(_bearer(authorization), self._operators)

    def is_ours(self, secret: str) -> bool:
        """Whether the text is one of the configuration's keys."""
        return any(hmac.compare_digest(secret.encode(), key) for key in self._operators)

    def admit_end_user(self, end_user: str | None) -> None:
        """Raises Forbidden for one that was blocked."""
        if end_user is not None and self._keyring is not None and self._keyring.blocks(end_user):
            raise Forbidden("This end user is blocked.", param="user", code="end_user_blocked")


def hashed(secret: str) -> str:
    """What is stored of a key: its SHA-256, as LiteLLM does."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_reference(text: str) -> bool:
    """Whether the text is a key or the id of one, and not an alias."""
    return text.startswith(PREFIX) or _ID.fullmatch(text) is not None


def key_id_of(reference: str) -> str:
    return hashed(reference) if reference.startswith(PREFIX) else reference.lower()


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
