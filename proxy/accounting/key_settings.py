"""The settings of a virtual key, under LiteLLM's names. A limit that is enforced there and not here is refused.

Source: the request classes of LiteLLM's key management (``KeyRequestBase`` and its subclasses).
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from proxy.accounting.key_secrets import is_reference
from proxy.domain.caller import MASTER_KEY_ID
from proxy.errors import BadRequest, invalid_value
from proxy.parse import MAX_GUARDRAILS, MAX_TAG_LENGTH, MAX_TAGS

MAX_NAME_LENGTH = 256
MAX_MODELS = 1000
MAX_METADATA_BYTES = 16_384
NEVER = "-1"

#: They limit what a LiteLLM key may do, or change where its calls go.
LIMITS = frozenset({
    "access_group_ids", "aliases", "allowed_cache_controls", "allowed_passthrough_routes", "allowed_routes",
    "allowed_vector_store_indexes", "auto_rotate", "budget_duration", "budget_fallbacks", "budget_id", "budget_limits",
    "config", "denied_passthrough_routes", "end_user_budget_id", "enforced_params", "max_budget",
    "max_parallel_requests", "mcp_rpm_limit", "model_max_budget", "model_rpm_limit", "model_tpm_limit",
    "object_permission", "object_permission_id", "organization_id", "permissions", "policies", "project_id",
    "rotation_interval", "router_settings", "rpm_limit", "rpm_limit_type", "soft_budget", "tag_rpm_limit",
    "temp_budget_expiry", "temp_budget_increase", "throttle_on_budget_exceeded", "tpd_limit", "tpm_limit",
    "tpm_limit_type",
})  # fmt: skip
#: They have no effect here, and their effect is not essential.
IGNORED = frozenset({
    "agent_id", "created_at", "created_by", "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model", "disable_global_guardrails", "enable_prompt_caching", "grace_period",
    "key_name", "key_type", "prompts", "send_invite_email", "spend", "updated_at", "updated_by",
})  # fmt: skip
_IGNORED_KEY_TYPES = (None, "default", "llm_api")
_EVERY_MODEL = frozenset({"*", "all-proxy-models"})
#: LiteLLM's names for sets of models that only LiteLLM knows.
_UNKNOWN_MODELS = frozenset({"all-team-models", "no-default-models"})
_DURATION = re.compile(r"(\d{1,9})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "mo": 2_592_000}
_MAX_SECONDS = 100 * 366 * 86_400


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must be one line of printable text")
    return text


def _alias(text: str) -> str:
    if is_reference(text) or text == MASTER_KEY_ID:
        raise ValueError("must not look like a key or the id of a key")
    return text


def _models(names: list[str]) -> list[str]:
    """Without repetitions; the empty list stands for every model."""
    if _EVERY_MODEL & set(names):
        return []
    if unknown := sorted(_UNKNOWN_MODELS & set(names)):
        raise ValueError(f"'{unknown[0]}' has no meaning here; name the models")
    if any("*" in name for name in names):
        raise ValueError("patterns are not supported; name each model")
    if len(names) > MAX_MODELS:
        raise ValueError(f"must have at most {MAX_MODELS} models")
    return list(dict.fromkeys(names))


def _tags(names: list[str]) -> list[str]:
    if len(names) > MAX_TAGS or any(not name or len(name) > MAX_TAG_LENGTH or "," in name for name in names):
        raise ValueError(f"must be at most {MAX_TAGS} tags of 1 to {MAX_TAG_LENGTH} characters, without commas")
    return list(dict.fromkeys(names))


def _guardrails(names: list[str]) -> list[str]:
    """Each call checks that they exist, since the configuration may change."""
    if len(names) > MAX_GUARDRAILS or any(not name or "," in name for name in names):
        raise ValueError(f"must be at most {MAX_GUARDRAILS} names, without commas")
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


class KeySettings(BaseModel):
    """A field that is null or missing is left as it is; an empty name is removed."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    key_alias: Annotated[_Text, AfterValidator(_alias)] | None = Field(
        default=None, description="A name, unique among the keys.", examples=["night batch"]
    )
    user_id: _Text | None = Field(default=None, description="The user under whom the key's calls are recorded.")
    team_id: _Text | None = Field(default=None, description="The team under which the key's calls are recorded.")
    models: Annotated[list[_Text], AfterValidator(_models)] | None = Field(
        default=None,
        description="Model groups or aliases that the key may use. Empty: all of them.",
        examples=[["tts", "whisper"]],
    )
    tags: Annotated[list[_Text], AfterValidator(_tags)] | None = Field(
        default=None, description="Tags of all the key's calls.", examples=[["batch", "eu"]]
    )
    guardrails: Annotated[list[_Text], AfterValidator(_guardrails)] | None = Field(
        default=None, description="Guardrails that check all the key's calls.", examples=[["no-cards"]]
    )
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] | None = Field(
        default=None, description=f"Any JSON object of at most {MAX_METADATA_BYTES} bytes.", examples=[{"owner": "ops"}]
    )
    blocked: bool | None = Field(default=None, description="Whether calls with the key are refused.")
    duration: Annotated[str, AfterValidator(_duration)] | None = Field(
        default=None,
        description="How long the key is valid from now on: a number with s, m, h, d, w or mo. -1: forever.",
        examples=["30d"],
    )

    @model_validator(mode="before")
    @classmethod
    def _check_unknown_fields(cls, document: Any) -> Any:
        """Raises BadRequest, which pydantic lets pass."""
        if isinstance(document, Mapping):
            for name, value in document.items():
                if name not in cls.model_fields:
                    _check_unknown_field(name, value, cls.model_fields)
        return document

    @property
    def ignored(self) -> list[str]:
        """LiteLLM's fields that the document had and that have no effect here."""
        return [name for name, value in (self.model_extra or {}).items() if _is_significant(value)]

    def columns(self, clock: Callable[[], float] = time.time) -> dict[str, Any]:
        """The columns of the table that are to be set."""
        columns = {name: value for name, value in self if name in FIELDS and value is not None}
        for name in ("key_alias", "user_id", "team_id"):
            if columns.get(name) == "":
                columns[name] = None
        if (duration := columns.pop("duration", None)) is not None:
            columns["expires"] = _expiry(duration, clock)
        return columns


FIELDS = tuple(KeySettings.model_fields)


def read(document: Mapping[str, Any]) -> KeySettings:
    """Raises BadRequest that names the field."""
    try:
        return KeySettings.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise invalid_value(str(first["loc"][0]), first["msg"]) from None


def unsupported_limits(document: Mapping[str, Any]) -> list[str]:
    """The fields of a LiteLLM key that limit it there and have no effect here."""
    return sorted(name for name, value in document.items() if name in LIMITS and _is_significant(value))


def _check_unknown_field(name: str, value: Any, known: Collection[str]) -> None:
    """Raises BadRequest unless it is a field of LiteLLM's that may be ignored."""
    if not _is_significant(value) and name in LIMITS | IGNORED:
        return
    if name in LIMITS or (name == "key_type" and value not in _IGNORED_KEY_TYPES):
        raise BadRequest(
            f"'{name}' is not supported yet. Remove it to continue without this limit.",
            param=name,
            code="unsupported_parameter",
        )
    if name in IGNORED:
        return
    nearest = get_close_matches(name[:100], known, n=1, cutoff=0.6)
    hint = f" Did you mean '{nearest[0]}'?" if nearest else f" Known fields: {', '.join(known)}."
    raise BadRequest(f"Unknown field '{name[:100]}'.{hint}", param=name[:100], code="unknown_parameter")


def _is_significant(value: Any) -> bool:
    """Clients also send LiteLLM's defaults: null, empty values, false. A limit of 0 is a limit."""
    return value is not None and value is not False and value not in ("", [], {})


def _expiry(duration: str, clock: Callable[[], float]) -> int | None:
    """Milliseconds since 1970; None for never."""
    match = _DURATION.fullmatch(duration)
    return int((clock() + int(match[1]) * _SECONDS[match[2]]) * 1000) if match else None
