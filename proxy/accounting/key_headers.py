"""The key that a request presents, from the headers in which clients send it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping

from proxy.errors import Unauthorized

#: A request's headers, their names in lower case.
Headers = Mapping[bytes, bytes]

_AUTHORIZATION = b"authorization"
#: The first one that holds a key counts, valid or not: a request has one identity. LiteLLM's own header comes first, as
#: in LiteLLM: it is for clients whose ``Authorization`` is meant for a gateway in front. ``api-key`` is Azure's.
_NAMES = (b"x-litellm-api-key", _AUTHORIZATION, b"api-key", b"x-api-key")


def key_of(headers: Headers) -> bytes | None:
    """None if the request presents no key. ``Authorization: Basic`` is none: it is for a gateway in front.

    Raises Unauthorized if ``Authorization`` holds something else, and no other header a key.
    """
    for name in _NAMES:
        if name in headers and (key := _key(name, headers[name])):
            return key
    scheme = headers.get(_AUTHORIZATION, b"").strip().partition(b" ")[0].lower()
    if scheme not in (b"", b"bearer", b"basic"):
        raise Unauthorized("The Authorization header must have the form Bearer KEY.")
    return None


def basic_password(headers: Headers) -> bytes | None:
    """The password of ``Authorization: Basic``, which browsers send; None if there is no such header."""
    scheme, _, credentials = headers.get(_AUTHORIZATION, b"").partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        return b64decode(credentials.strip(), validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _key(name: bytes, value: bytes) -> bytes:
    """``Bearer`` may stand before the key in every header, and must in ``Authorization``."""
    scheme, _, token = value.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return token.strip()
    return b"" if name == _AUTHORIZATION else value.strip()
