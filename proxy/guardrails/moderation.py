"""``guardrail: openai_moderation``: OpenAI's moderation, or a server that speaks its API.

Source: ``POST /moderations`` of OpenAI's openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proxy.config import Environment, Guardrail
from proxy.guardrails.base import ALLOW, Context, Undecided, Verdict
from proxy.guardrails.outside import ask
from proxy.http.transport import Transport

BASE = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
#: Characters of one input; a longer text is sent as several.
PIECE = 20_000


class OpenAIModeration:
    is_local = False

    def __init__(self, settings: Guardrail, environment: Environment, transport: Transport) -> None:
        key = settings.api_key.get_secret_value() if settings.api_key else environment.get(KEY_VARIABLE)
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._url = f"{settings.api_base or BASE}/moderations"
        self._settings = settings
        self._transport = transport

    async def check(self, text: str, context: Context) -> Verdict:
        pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
        document = {"model": self._settings.model, "input": pieces}
        answer = await ask(self._transport, self._url, self._headers, document, self._settings.timeout)
        results = answer.get("results")
        if not isinstance(results, list) or len(results) != len(pieces):
            raise Undecided("the answer has no results")
        found = dict.fromkeys(category for result in results for category in self._found(result))
        return Verdict(tuple(found)) if found else ALLOW

    def _found(self, result: Any) -> list[str]:
        flags, scores = (
            (result.get("categories"), result.get("category_scores")) if isinstance(result, dict) else (None, None)
        )
        if not isinstance(flags, Mapping) or not isinstance(scores, Mapping | None):
            raise Undecided("the answer has no categories")
        thresholds, wanted = self._settings.thresholds, self._settings.categories
        return [
            name
            for name in dict.fromkeys((*flags, *(scores or ())))
            if (not wanted or name in wanted)
            and (_score(scores, name) >= thresholds[name] if name in thresholds else flags.get(name) is True)
        ]

    async def aclose(self) -> None:
        pass


def problems(settings: Guardrail, environment: Environment) -> list[str]:
    if settings.api_key is None and settings.api_base is None and KEY_VARIABLE not in environment:
        return [f"'api_key' is missing in litellm_params, and ${KEY_VARIABLE} is not set"]
    return []


def _score(scores: Mapping[str, Any] | None, name: str) -> float:
    score = (scores or {}).get(name)
    if not isinstance(score, int | float):
        raise Undecided("a category has no score")
    return score
