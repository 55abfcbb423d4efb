"""The types of settings.

A validator raises ValueError. Its message says what is expected and never repeats the value, which may be secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, SecretStr

_K = TypeVar("_K")
_V = TypeVar("_V")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_IDENTIFIER = re.compile(r"[!-~]{1,128}")
#: How shells, Compose files and Python refer to variables.
_VARIABLE = re.compile(
    r"\$[A-Z][A-Z0-9_]*|\$\{.*\}|\$\(.*\)|\{\{.*\}\}|%\w+%|(?i:os\.(environ|getenv)).*|(?i:env)[/:.]\w+"
)
#: Headers that belong to one connection or are computed by the HTTP client. Responses are passed on without decoding,
#: so no content encoding may be requested.
_REFUSED_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "expect", "host", "keep-alive"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)
_ENDPOINTS = ("/audio/speech", "/audio/transcriptions", "/audio/translations")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text


def _key(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value().strip()
    if not text.isascii() or not text.isprintable():
        raise ValueError("contains characters that an HTTP header cannot carry (use printable ASCII)")
    if _VARIABLE.fullmatch(text):
        raise ValueError("looks like a variable; use os.environ/NAME to read an environment variable")
    return SecretStr(text)


def _url(text: str) -> str:
    """The base URL of an HTTP API, without user name, query and fragment. Trailing slashes are removed."""
    if not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("must be a URL of printable ASCII characters")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError("must be a URL such as https://host:port/v1") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not parts.hostname or port == 0:
        raise ValueError("must name a host, such as https://host:port/v1")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password; use api_key or headers")
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or a fragment")
    for endpoint in _ENDPOINTS:
        if parts.path.rstrip("/").endswith(endpoint):
            raise ValueError(f"must be the base URL (https://host/v1), without {endpoint}")
    return text.rstrip("/")


def _database_url(secret: SecretStr) -> SecretStr:
    """A URL for SQLAlchemy. It may contain a password."""
    text = secret.get_secret_value()
    if not text.isprintable() or not re.match(r"(sqlite(\+aiosqlite)?:///|postgres(ql(\+\w+)?)?://)", text):
        raise ValueError("must begin with sqlite:/// or postgresql://")
    return secret


def _headers(headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
    names: set[str] = set()
    for name, value in headers.items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("has an invalid header name (use letters, digits and dashes)")
        if name.lower() in _REFUSED_HEADERS:
            raise ValueError(f"must not set '{name.lower()}': the HTTP client sets it")
        if name.lower() in names:
            raise ValueError(f"sets '{name.lower()}' twice")
        names.add(name.lower())
        text = value.get_secret_value()
        if not text.isascii() or not text.replace("\t", " ").isprintable():
            raise ValueError("has a value with characters that an HTTP header cannot carry (use printable ASCII)")
    return headers


def _identifier(text: str) -> str:
    if not _IDENTIFIER.fullmatch(text):
        raise ValueError("must be 1 to 128 printable ASCII characters without spaces")
    return text


def _frozen(mapping: Mapping[_K, _V]) -> Mapping[_K, _V]:
    return MappingProxyType(dict(mapping))


def empty_mapping() -> Mapping[Any, Any]:
    """The default of a field that is a `FrozenMapping`."""
    return MappingProxyType({})


FrozenMapping = Annotated[Mapping[_K, _V], AfterValidator(_frozen), PlainSerializer(dict)]

#: Marks a setting that a reload does not apply: `Annotated[type, AT_START]`.
AT_START = "applied at start"

Text = Annotated[str, Field(min_length=1, max_length=4096), AfterValidator(_printable)]
Key = Annotated[SecretStr, Field(min_length=1), AfterValidator(_key)]
DatabaseUrl = Annotated[SecretStr, Field(min_length=1), AfterValidator(_database_url)]
Url = Annotated[str, AfterValidator(_url)]
Headers = Annotated[Mapping[str, SecretStr], AfterValidator(_headers), AfterValidator(_frozen), PlainSerializer(dict)]
Identifier = Annotated[str, AfterValidator(_identifier)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
SecondsOrZero = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Megabytes = Annotated[float, Field(gt=0, le=1_048_576, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
CountOrZero = Annotated[int, Field(ge=0, le=1_000_000_000)]
Price = Annotated[Decimal, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Names = tuple[Text, ...]


class Frozen(BaseModel):
    """Base of all settings: immutable, without unknown keys, and with values hidden in error messages."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)
