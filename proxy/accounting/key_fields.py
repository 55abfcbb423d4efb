"""What may be said of a virtual key, under LiteLLM's names; what would protect there and does nothing here is refused.

Source: the request classes of LiteLLM's key management (``KeyRequestBase`` and what is built on it).
"""

from __future__ import annotations

import json
import math
import re
import secrets
import string
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from proxy.accounting.keys import PREFIX, is_reference
from proxy.config.models import is_weak
from proxy.domain.caller import MASTER_KEY_ID
from proxy.errors import BadRequest
from proxy.parse import MAX_GUARDRAILS, MAX_TAG_LENGTH, MAX_TAGS

MAX_NAME_LENGTH = 256
MAX_MODELS = 1000
MAX_METADATA_BYTES = 16_384
MIN_BITS = 128
NEVER = "-1"

#: They limit what a LiteLLM key can do, or change where its calls go.
PROTECTING = frozenset({
    "access_group_ids", "aliases", "allowed_cache_controls", "allowed_passthrough_routes", "allowed_routes",
    "allowed_vector_store_indexes", "auto_rotate", "budget_duration", "budget_fallbacks", "budget_id", "budget_limits",
    "config", "denied_passthrough_routes", "end_user_budget_id", "enforced_params", "max_budget",
    "max_parallel_requests", "mcp_rpm_limit", "model_max_budget", "model_rpm_limit", "model_tpm_limit",
    "object_permission", "object_permission_id", "organization_id", "permissions", "policies", "project_id",
    "rotation_interval", "router_settings", "rpm_limit", "rpm_limit_type", "soft_budget", "tag_rpm_limit",
    "temp_budget_expiry", "temp_budget_increase", "throttle_on_budget_exceeded", "tpd_limit", "tpm_limit",
    "tpm_limit_type",
})  # fmt: skip
#: They have no effect here, and nobody relies on it.
HARMLESS = frozenset({
    "agent_id", "created_at", "created_by", "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model", "disable_global_guardrails", "enable_prompt_caching", "grace_period",
    "key_name", "key_type", "prompts", "send_invite_email", "spend", "updated_at", "updated_by",
})  # fmt: skip
_HARMLESS_TYPES = (None, "default", "llm_api")
_EVERY_MODEL = frozenset({"*", "all-proxy-models"})
#: LiteLLM's names of what only LiteLLM can know.
_UNKNOWN_MODELS = frozenset({"all-team-models", "no-default-models"})
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_MAX_SECONDS = 100 * 366 * 86_400
_SECRET = re.compile(r"sk-[!-~]{1,253}")


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text


def _alias(text: str) -> str:
    if is_reference(text) or text == MASTER_KEY_ID:
        raise ValueError("must not look like a key or the id of one")
    return text


def _models(names: list[str]) -> list[str]:
    """Without repetitions; every model is the empty list."""
    if _EVERY_MODEL & set(names):
        return []
    if unknown := sorted(_UNKNOWN_MODELS & set(names)):
        raise ValueError(f"'{unknown[0]}' has no meaning here; name the models")
    if any("*" in name for name in names):
        raise ValueError("patterns are not supported; name each model")
    if len(names) > MAX_MODELS:
        raise ValueError(f"at most {MAX_MODELS} models can be named")
    return list(dict.fromkeys(names))


def _tags(names: list[str]) -> list[str]:
    if len(names) > MAX_TAGS or any(not name or len(name) > MAX_TAG_LENGTH or "," in name for name in names):
        raise ValueError(f"at most {MAX_TAGS} tags of 1 to {MAX_TAG_LENGTH} characters, without commas")
    return list(dict.fromkeys(names))


def _guardrails(names: list[str]) -> list[str]:
    """Whether they exist is asked at each call, since the configuration may change."""
    if len(names) > MAX_GUARDRAILS or any(not name or "," in name for name in names):
        raise ValueError(f"at most {MAX_GUARDRAILS} names, without commas")
    return list(dict.fromkeys(names))


def _metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(json.dumps(metadata, allow_nan=False).encode())
    except ValueError:
        raise ValueError("must be JSON") from None
    if size > MAX_METADATA_BYTES:
        raise ValueError(f"must have at most {MAX_METADATA_BYTES} bytes as JSON")
    return metadata


def _duration(text: str) -> str:
    match = _DURATION.fullmatch(text)
    if text != NEVER and (not match or not 0 < int(match[1]) * _SECONDS[match[2]] <= _MAX_SECONDS):
        raise ValueError("must be a number with s, m, h, d, w or mo, such as 30d, or -1 for never")
    return text


_Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_NAME_LENGTH), AfterValidator(_printable)]


class _Fields(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    key_alias: Annotated[_Text, AfterValidator(_alias)] | None = None
    user_id: _Text | None = None
    team_id: _Text | None = None
    models: Annotated[list[_Text], AfterValidator(_models)] | None = None
    tags: Annotated[list[_Text], AfterValidator(_tags)] | None = None
    guardrails: Annotated[list[_Text], AfterValidator(_guardrails)] | None = None
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] | None = None
    blocked: bool | None = None
    duration: Annotated[str, AfterValidator(_duration)] | None = None


FIELDS = tuple(_Fields.model_fields)


@dataclass(frozen=True, slots=True)
class KeyFields:
    """``columns``: those of the table that were given; ``ignored``: LiteLLM's fields that have no effect here."""

    columns: Mapping[str, Any]
    ignored: tuple[str, ...] = ()


def read(document: Mapping[str, Any], clock: Callable[[], float] = time.time) -> KeyFields:
    """What is null is left as it is; an empty text takes a name away. Raises BadRequest that names the field."""
    ours = {name: value for name, value in document.items() if name in FIELDS and value is not None}
    ignored = [name for name, value in document.items() if name not in FIELDS and _is_ignored(name, value)]
    try:
        given = _Fields.model_validate(ours).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        said = first["msg"].removeprefix("Value error, ")
        field = str(first["loc"][0])
        raise BadRequest(f"'{field}': {said}.", param=field, code="invalid_value") from None
    for name in ("key_alias", "user_id", "team_id"):
        if given.get(name) == "":
            given[name] = None
    if (duration := given.pop("duration", None)) is not None:
        given["expires"] = _expiry(duration, clock)
    return KeyFields(given, tuple(ignored))


def protection(document: Mapping[str, Any]) -> list[str]:
    """The fields of a LiteLLM key that limit it and that have no effect here."""
    return sorted(name for name, value in document.items() if name in PROTECTING and _says_something(value))


def _is_ignored(name: str, value: Any) -> bool:
    """Whether to name a field of LiteLLM's as ignored. Raises BadRequest where that would not do."""
    if not _says_something(value) and name in PROTECTING | HARMLESS:
        return False
    if name in PROTECTING or (name == "key_type" and value not in _HARMLESS_TYPES):
        raise BadRequest(
            f"'{name}' has no effect here yet, and a limit is not dropped in silence: leave it out to go on without.",
            param=name,
            code="unsupported_parameter",
        )
    if name in HARMLESS:
        return True
    nearest = get_close_matches(name[:100], FIELDS, n=1, cutoff=0.6)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else f" Known here: {', '.join(FIELDS)}."
    raise BadRequest(f"Unknown field '{name[:100]}'.{hint}", param=name[:100], code="unknown_parameter")


def _says_something(value: Any) -> bool:
    """Clients send LiteLLM's defaults along: null, nothing, false. A limit of 0 is a limit."""
    return value is not None and value is not False and value not in ("", [], {})


def _expiry(duration: str, clock: Callable[[], float]) -> int | None:
    """Milliseconds since 1970."""
    match = _DURATION.fullmatch(duration)
    return int((clock() + int(match[1]) * _SECONDS[match[2]]) * 1000) if match else None


def new_secret() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def check_secret(secret: Any) -> str:
    """A key that the caller chose. Raises BadRequest where it could be guessed; never repeats it."""
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise BadRequest(
            "'key' must be sk- and then printable ASCII characters without spaces, 256 at most.", param="key"
        )
    if _plausible_bits(secret.removeprefix(PREFIX)) < MIN_BITS or is_weak(secret):
        raise BadRequest(
            f"'key' can be guessed: it needs {MIN_BITS} random bits, such as 22 random letters and digits after sk-. "
            "Leave it out to get a good one.",
            param="key",
            code="weak_key",
        )
    return secret


def _plausible_bits(text: str) -> float:
    """Bits of a random text of the same length and the same kinds of characters."""
    if set(text) <= set(string.hexdigits):
        return 4.0 * len(text)
    kinds = (string.ascii_lowercase, string.ascii_uppercase, string.digits)
    size = sum(len(kind) for kind in kinds if set(kind) & set(text)) + (2 if set(text) - set("".join(kinds)) else 0)
    return len(text) * math.log2(size)
