"""Virtual keys as text: how they are generated, hashed, displayed and referenced."""

from __future__ import annotations

import hashlib
import math
import re
import secrets
import string
from typing import Any

from proxy.config.models import is_weak
from proxy.errors import BadRequest

#: Every virtual key begins with it, as LiteLLM's keys do.
PREFIX = "sk-"
MIN_BITS = 128
_ID = re.compile(r"[0-9a-fA-F]{64}")
#: Digits of an id in a table.
SHORT_ID = 12
_SHORT_ID = re.compile(rf"[0-9a-fA-F]{{{SHORT_ID},63}}")
_SECRET = re.compile(r"sk-[!-~]{1,253}")


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def check_secret(secret: Any, field: str) -> str:
    """A key that the caller chose. Raises BadRequest if it could be guessed; the message never repeats it."""
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise BadRequest(
            f"'{field}' must be sk- followed by printable ASCII characters without spaces, at most 256 in all.",
            param=field,
        )
    if _plausible_bits(secret.removeprefix(PREFIX)) < MIN_BITS or is_weak(secret):
        raise BadRequest(
            f"'{field}' can be guessed: it needs {MIN_BITS} random bits, such as 22 random letters and digits after "
            "sk-. Leave it out to have a good one generated.",
            param=field,
            code="weak_key",
        )
    return secret


def _plausible_bits(text: str) -> float:
    """The bits of a random text of the same length and the same kinds of characters."""
    if set(text) <= set(string.hexdigits):
        return 4.0 * len(text)
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    size = sum(len(kind) for kind in kinds if set(kind) & set(text)) + (2 if set(text) - set("".join(kinds)) else 0)
    return len(text) * math.log2(size)


def hash_of(secret: str) -> str:
    """The key's id: its SHA-256 in hexadecimal, as in LiteLLM. The key itself is not stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


def display_name(secret: str) -> str:
    """How the key is displayed, as in LiteLLM."""
    return f"{PREFIX}...{secret[-4:]}"


def is_reference(text: str) -> bool:
    """Whether the text is a key or the id of one, rather than an alias."""
    return text.startswith(PREFIX) or _ID.fullmatch(text) is not None


def is_abbreviated(text: str) -> bool:
    """Whether the text may be the beginning of an id."""
    return _SHORT_ID.fullmatch(text) is not None


def key_id_of(reference: str) -> str:
    return hash_of(reference) if reference.startswith(PREFIX) else reference.lower()
