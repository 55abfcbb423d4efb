"""The error document of all routes, in OpenAI's shape."""

from __future__ import annotations

from pydantic import BaseModel, Field


class ErrorObject(BaseModel):
    message: str
    type: str = Field(examples=["invalid_request_error"])
    param: str | None = Field(description="The field that the error is about.", examples=["model"])
    code: str | int | None = Field(examples=["model_not_found"])


class ErrorDocument(BaseModel):
    error: ErrorObject
