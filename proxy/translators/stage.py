"""The stage of a call that translates its transcript into English."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Protocol

from proxy.domain.call import Call
from proxy.domain.requests import CallOptions
from proxy.domain.results import TranscriptionResult, TranslatedTexts
from proxy.domain.transcript import Transcript
from proxy.errors import UpstreamTimeout
from proxy.matching import BoundDeployment, TextTranslationPlan
from proxy.translators.english import in_english


class RunTexts(Protocol):
    """Runs a request on one of the deployments that have a plan for it."""

    def __call__(
        self, candidates: Mapping[str, Sequence[TextTranslationPlan]], call: Call, options: CallOptions, /
    ) -> AbstractAsyncContextManager[TranslatedTexts]: ...


async def translated(
    result: TranscriptionResult,
    translators: Mapping[str, Sequence[BoundDeployment]],
    run: RunTexts,
    hint: str | None,
    call: Call,
    options: CallOptions,
) -> TranscriptionResult:
    """The result with its transcript in English. The timeout in ``options`` is what is left for the call."""
    # The translator's attempts are recorded with the call, but its deployment is not the one that served the call.
    inner = Call(call.request_id, call.endpoint, call.started, attempts=call.attempts)

    async def translate(texts: Sequence[str]) -> Sequence[str]:
        if options.timeout is not None and options.timeout <= 0:
            raise UpstreamTimeout("There was no time left to translate the transcript.")
        plans = {
            name: [TextTranslationPlan(bound, texts, hint) for bound in deployments]
            for name, deployments in translators.items()
        }
        async with run(plans, inner, options) as answer:
            return answer.texts

    if not isinstance(result.content, Transcript):
        raise TypeError("only a transcript that was read is translated")
    return replace(result, content=await in_english(result.content, translate))
