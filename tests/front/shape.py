"""The one shape that every refusal has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Response(Protocol):
    """What httpx answers and what a raw ``Reply`` have in common."""

    @property
    def status_code(self) -> int: ...

    @property
    def headers(self) -> Mapping[str, str]: ...

    @property
    def text(self) -> str: ...

    def json(self) -> Any: ...


def error_of(response: Response, status: int | None = None, code: Any = ...) -> dict[str, Any]:
    """The error object of a refusal, after checking that it is OpenAI's: all four keys, JSON, a request id."""
    assert response.status_code >= 400, f"{response.status_code} {dict(response.headers)}"
    if status is not None:
        assert response.status_code == status, f"{response.status_code}: {response.text}"
    assert response.status_code != 422
    assert response.headers["content-type"].startswith("application/json")
    assert response.headers.get("x-request-id"), "no x-request-id"
    document = response.json()
    assert list(document) == ["error"], document
    error: dict[str, Any] = document["error"]
    assert list(error) == ["message", "type", "param", "code"], error
    assert isinstance(error["message"], str)
    assert error["message"]
    assert "Traceback" not in error["message"]
    assert isinstance(error["type"], str)
    assert error["param"] is None or isinstance(error["param"], str)
    if code is not ...:
        assert error["code"] == code, error
    return error


def asked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What went upstream, but for OpenAI's own default format, which the proxy may spell out."""
    default = fields.get("response_format") in ("mp3", ["json"])
    return {name: value for name, value in fields.items() if name != "response_format" or not default}
