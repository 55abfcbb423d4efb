"""JSON requests to the servers of guardrails."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json, to_json

from proxy.errors import ProxyError
from proxy.guardrails.base import Undecided
from proxy.http.transport import Transport
from proxy.upstream.fetch import fetch

MAX_ANSWER_LENGTH = 8 * 1024 * 1024


async def ask(
    transport: Transport, url: str, headers: Mapping[str, str], document: Any, seconds: float
) -> dict[str, Any]:
    """POST a JSON document. Returns the JSON object of a 2xx response, and raises Undecided for anything else."""
    headers = {**headers, "content-type": "application/json", "accept": "application/json"}
    content = _encoded(document)
    try:
        async with asyncio.timeout(seconds):
            status, body = await fetch(
                transport, "POST", url, headers, content, seconds=seconds, max_length=MAX_ANSWER_LENGTH
            )
    except TimeoutError:
        raise Undecided(f"no answer in {seconds:g} seconds") from None
    except ProxyError as error:
        raise Undecided(error.detail or error.message) from error
    if not 200 <= status < 300:
        raise Undecided(f"status {status}")
    try:
        answer = from_json(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise Undecided("the answer is not a JSON object")
    return answer


def _encoded(document: Any) -> bytes:
    try:
        return to_json(document)
    except ValueError:  # a lone surrogate, which UTF-8 cannot encode
        return to_json(_without_surrogates(document))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        return {name: _without_surrogates(inner) for name, inner in value.items()}
    return [_without_surrogates(inner) for inner in value] if isinstance(value, list) else value
