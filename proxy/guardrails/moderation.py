"""``guardrail: openai_moderation``: OpenAI's moderation API, or a server that is compatible with it.

Source: ``POST /moderations`` of OpenAI's openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from proxy.config import Config, Environment
from proxy.config.fields import FrozenMapping, Key, Names, Text, Url, empty_mapping
from proxy.guardrails.base import ALLOW, Context, Guard, Undecided, Verdict
from proxy.guardrails.outside import ask
from proxy.guardrails.settings import GuardrailSettings
from proxy.http.transport import Transport

BASE = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
#: Characters per input. A longer text is sent as several inputs.
PIECE = 20_000


class ModerationSettings(GuardrailSettings):
    guardrail: Literal["openai_moderation"] = "openai_moderation"
    api_base: Url | None = Field(default=None, description="Base URL of the server; OpenAI's if missing.")
    api_key: Key | None = Field(default=None, description="$OPENAI_API_KEY if missing.")
    model: Text = Field(default="omni-moderation-latest", description="The moderation model.")
    categories: Names = Field(default=(), description="The categories that count; all if missing.")
    thresholds: FrozenMapping[Text, Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]] = Field(
        default_factory=empty_mapping, description="Minimum scores of categories, instead of the model's own decision."
    )

    def build(self, config: Config, transport: Transport) -> OpenAIModeration:
        return OpenAIModeration(self, config.environment, transport)

    def problems(self, config: Config) -> Iterable[str]:
        if self.api_key is None and self.api_base is None and KEY_VARIABLE not in config.environment:
            yield f"'api_key' is missing in litellm_params, and ${KEY_VARIABLE} is not set"


class OpenAIModeration(Guard):
    is_local = False

    def __init__(self, settings: ModerationSettings, environment: Environment, transport: Transport) -> None:
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
        flagged = dict.fromkeys(category for result in results for category in self._flagged(result))
        return Verdict(tuple(flagged)) if flagged else ALLOW

    def _flagged(self, result: Any) -> list[str]:
        flags, scores = (
            (result.get("categories"), result.get("category_scores")) if isinstance(result, dict) else (None, None)
        )
        if not isinstance(flags, Mapping) or not isinstance(scores, Mapping | None):
            raise Undecided("the answer has no categories")
        thresholds, categories = self._settings.thresholds, self._settings.categories
        return [
            name
            for name in dict.fromkeys((*flags, *(scores or ())))
            if (not categories or name in categories)
            and (_score(scores, name) >= thresholds[name] if name in thresholds else flags.get(name) is True)
        ]


def _score(scores: Mapping[str, Any] | None, name: str) -> float:
    score = (scores or {}).get(name)
    if not isinstance(score, int | float):
        raise Undecided("a category has no score")
    return score
