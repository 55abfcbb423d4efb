"""Reads virtual keys from an export of LiteLLM's table ``LiteLLM_VerificationToken``: CSV, JSON or JSON lines.

LiteLLM stores the SHA-256 of a key in hexadecimal, as this proxy does, so clients keep their keys. Source: LiteLLM's
``schema.prisma`` and its ``hash_token``.
"""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.accounting import key_settings
from proxy.accounting.key_secrets import is_reference, key_id_of
from proxy.errors import BadRequest
from proxy.storage.keys import VirtualKey

#: How CSV exports write missing and empty values.
_EMPTY = ("", "{}", "[]", "null", "NULL", "\\N", "f", "false", "False")
_TRUE = (True, "t", "true", "True", "1", 1)
#: The team of the keys that LiteLLM's dashboard creates for its sessions.
_DASHBOARD = "litellm-dashboard"
_NAMES = ("key_alias", "user_id", "team_id")


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be imported."""

    name: str
    reason: str


def read(text: str, *, own: Collection[str], without_limits: bool) -> tuple[list[VirtualKey], list[RejectedRow]]:
    """``own``: ids of keys to reject. ``without_limits``: drop limits that are not supported here.

    Raises BadRequest if the text is not such an export.
    """
    keys: list[VirtualKey] = []
    rejected: list[RejectedRow] = []
    for number, row in enumerate(_rows(text), start=1):
        name = str(row.get("key_alias") or row.get("key_name") or f"row {number}")
        try:
            keys.append(_key(row, own=own, without_limits=without_limits))
        except (BadRequest, ValueError, TypeError) as error:
            reason = error.message if isinstance(error, BadRequest) else f"cannot be read: {error}"
            rejected.append(RejectedRow(name, reason))
    return keys, rejected


def _rows(text: str) -> Iterator[Mapping[str, Any]]:
    text = text.lstrip("\ufeff \t\r\n")
    rows: Any
    if text.startswith(("[", "{")):
        try:
            rows = json.loads(text)
        except ValueError:
            rows = [_object(line) for line in text.splitlines() if line.strip()]
        if isinstance(rows, dict):
            rows = rows.get("keys", [rows])
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
    for row in rows:
        if not isinstance(row, dict) or "token" not in row:
            raise BadRequest("not an export of LiteLLM_VerificationToken: a row has no 'token'")
        yield {name: _value(value) for name, value in row.items() if name}


def _object(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise BadRequest(f"a line is not JSON: {error}") from None


def _value(value: Any) -> Any:
    return None if isinstance(value, str) and value in _EMPTY else value


def _key(row: Mapping[str, Any], *, own: Collection[str], without_limits: bool) -> VirtualKey:
    token = row["token"]
    if not isinstance(token, str) or not is_reference(token):
        raise BadRequest("its token is neither a key nor a SHA-256")
    if key_id_of(token) in own:
        raise BadRequest("it is a key in this configuration")
    if row.get("team_id") == _DASHBOARD:
        raise BadRequest("a session of LiteLLM's dashboard, which is not needed here")
    metadata = dict(_json(row.get("metadata")) or {})
    limits = [*key_settings.unsupported_limits(row), *key_settings.unsupported_limits(metadata)]
    if limits and not without_limits:
        raise BadRequest(f"it has limits that are not supported here: {', '.join(limits)}")
    expires = _moment(row.get("expires"))
    if expires is not None and expires <= time.time() * 1000:
        raise BadRequest("it has expired")
    settings = {
        **{name: row[name] for name in _NAMES if row.get(name) is not None},
        "models": _list(row.get("models")),
        "tags": _list(metadata.pop("tags", None) or row.get("tags")),
        "guardrails": _list(metadata.pop("guardrails", None)),
        "metadata": metadata,
        "blocked": row.get("blocked") in _TRUE,
    }
    created = _moment(row.get("created_at")) or int(time.time() * 1000)
    columns = key_settings.read(settings).columns()
    name = row.get("key_name")
    display_name = name if isinstance(name, str) and len(name) <= 16 and "..." in name else "sk-..."
    return VirtualKey(key_id_of(token), display_name, created, **{**columns, "expires": expires})


def _json(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _list(value: Any) -> Sequence[Any]:
    """From a JSON list, or from an array in PostgreSQL's notation: ``{tts,"a b"}``."""
    if not isinstance(value, str):
        return value or []
    if value.startswith("["):
        return list(json.loads(value))
    inner = value.removeprefix("{").removesuffix("}")
    return next(csv.reader([inner], escapechar="\\", doublequote=False), [])


def _moment(value: Any) -> int | None:
    """Milliseconds since 1970; LiteLLM writes UTC without an offset."""
    if value is None:
        return None
    moment = datetime.fromisoformat(str(value))
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
