"""The queries and answers of the usage routes."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from pydantic import BaseModel, Field

from proxy.accounting.usage_reports import FILTERS, MAX_CALLS, Selection, selection
from proxy.api.queries import ListQuery
from proxy.errors import BadRequest

# -- queries -----------------------------------------------------------------------------------------------------------


class _Query(ListQuery):
    start: str | None = Field(
        default=None, description="A date or a timestamp, by default in UTC.", examples=["2026-11-01"]
    )
    end: str | None = Field(
        default=None,
        description="A date, whose day is included, or a timestamp, which is not included.",
        examples=["2026-11-23T08:00:00+01:00"],
    )
    key: str | None = Field(
        default=None, description="Only calls of this key: its SHA-256, its alias, or the key itself."
    )
    user: str | None = Field(default=None, description="Only calls of this user's keys.")
    team: str | None = Field(default=None, description="Only calls of this team's keys.")
    end_user: str | None = Field(default=None, description="Only calls for this end user.")
    model: str | None = Field(default=None, description="Only calls that this model group served.")
    vendor: str | None = Field(default=None, description="Only calls that this vendor served.")
    deployment: str | None = Field(default=None, description="Only calls that the deployment with this id served.")
    tag: str | None = Field(default=None, description="Only calls with this tag.")
    format: Literal["json", "csv"] = "json"

    def selection(self, **further: str) -> Selection:
        """``further`` filters replace those of the query. Raises BadRequest."""
        values = dict(self)
        equal = {name: value for name in FILTERS if (value := values[name])}
        return selection(self.start, self.end, equal | further)


class SumsQuery(_Query):
    group_by: str | None = Field(
        default=None,
        description="One or more of day, key, user, team, end_user, model, vendor, deployment, tag; with commas.",
        examples=["model,end_user"],
    )


class CallsQuery(_Query):
    request_id: str | None = Field(default=None, description="Only calls with this ``x-request-id``.")
    failed: bool = Field(default=False, description="Only calls that failed.")
    limit: int = Field(default=100, ge=1, le=MAX_CALLS)
    cursor: str | None = Field(default=None, description="The ``next_cursor`` of the page before.")

    def selection(self, **further: str) -> Selection:
        if self.request_id is not None and "\x00" in self.request_id:
            raise BadRequest("'request_id' must not contain NUL.", param="request_id", code="invalid_value")
        chosen = super().selection(**further)
        refusals = self.failed or bool(self.request_id)
        return replace(chosen, request_id=self.request_id or None, failed=self.failed, refusals=refusals)


# -- answers -----------------------------------------------------------------------------------------------------------


class Numbers(BaseModel):
    calls: int
    errors: int = Field(description="Calls that failed.")
    unpriced: int = Field(description="Calls that succeeded and have no known price; they are not in ``cost``.")
    cost: str = Field(description="USD, an exact decimal number.", examples=["0.500075"])
    characters: int
    audio_seconds_in: float
    audio_seconds_out: float
    input_tokens: int = Field(description="Text and audio together.")
    output_tokens: int = Field(description="Text and audio together.")


class Group(Numbers):
    """The fields that ``group_by`` names come first, in its order; the others are missing."""

    day: str | None = Field(default=None, description="In UTC.", examples=["2026-11-23"])
    key: str | None = Field(default=None, description="SHA-256 of a virtual key, or ``master``.")
    key_alias: str | None = None
    user: str | None = None
    team: str | None = None
    end_user: str | None = None
    model: str | None = None
    vendor: str | None = None
    deployment: str | None = None
    tag: str | None = None


class Sums(BaseModel):
    object: Literal["list"]
    data: list[Group] = Field(description="The most expensive first, or with ``day`` the earliest first.")
    total: Numbers
    truncated: Literal[True] | None = Field(
        default=None, description="There are more groups than are listed; the total includes them all."
    )


class GuardrailVerdict(BaseModel):
    guardrail: str
    stage: str = Field(examples=["pre_call"])
    verdict: str = Field(examples=["redacted"])
    ms: float
    found: list[str] = Field(description="What kinds of content were found.", examples=[["CREDIT_CARD"]])


class RecordedCall(BaseModel):
    id: str
    time: str = Field(description="When the call began.", examples=["2026-11-23T12:00:00.000Z"])
    request_id: str
    endpoint: str = Field(examples=["speech"])
    key: str | None = Field(description="SHA-256 of a virtual key, ``master``, or null if there was no valid key.")
    key_alias: str | None = Field(description="As long as the key exists.")
    user: str | None
    team: str | None
    end_user: str | None
    model: str = Field(description="The model group that served the call; empty if none was chosen.")
    deployment: str | None = Field(description="The id of the deployment that answered, or else of the last one tried.")
    vendor: str | None
    vendor_model: str | None
    status: int
    error: str | None = Field(description="The kind of the error.", examples=["upstream_timeout"])
    error_message: str | None = Field(description="What the caller was told, without what the caller said.")
    error_detail: str | None = Field(description="What else is known of the error; only for the master key.")
    characters: int | None
    audio_seconds_in: float | None
    audio_seconds_out: float | None
    input_text_tokens: int | None
    input_audio_tokens: int | None
    cached_text_tokens: int | None
    cached_audio_tokens: int | None
    output_text_tokens: int | None
    output_audio_tokens: int | None
    cost: str | None = Field(description="USD, an exact decimal number; null if not known.", examples=["0.000075"])
    cost_basis: str | None = Field(description="How the cost was derived.", examples=["characters"])
    first_byte_ms: float | None
    total_ms: float
    bytes_in: int
    bytes_out: int
    attempts: int
    fallback: str | None = Field(description="The model group that was requested, if another one served the call.")
    guardrails: list[GuardrailVerdict]
    tags: list[str]


class CallPage(BaseModel):
    object: Literal["list"] = "list"
    data: list[RecordedCall] = Field(description="The newest first.")
    has_more: bool
    next_cursor: str | None


class EndUser(BaseModel):
    id: str
    blocked: bool


class EndUserNumbers(Numbers, EndUser):
    pass


class EndUserPage(BaseModel):
    object: Literal["list"] = "list"
    data: list[EndUserNumbers] = Field(description="By name.")
    has_more: bool
    next_cursor: str | None
