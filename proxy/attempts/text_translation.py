"""Translation of texts by a chat model."""

from __future__ import annotations

from time import perf_counter

from proxy.attempts.attempt import RunningAttempt
from proxy.domain.results import StaticMetadata, TranslatedTexts
from proxy.matching import TextTranslationPlan
from proxy.providers.vendors.chat import ChatAdapter


class TextTranslationAttempt(RunningAttempt[TranslatedTexts]):
    __slots__ = ()

    plan: TextTranslationPlan

    async def _execute(self) -> TranslatedTexts:
        bound = self.plan.bound
        if not isinstance(bound.adapter, ChatAdapter):
            raise TypeError("only a chat deployment translates")
        flow = bound.adapter.translation(self.plan.texts, self.plan.hint)
        translation, response = await self._services.upstream.run(
            bound.adapter, flow, bound.deadlines(self._seconds_left)
        )
        self._answered_by(response)
        self.record.is_billed, self.record.first_byte = True, perf_counter()
        self._report(StaticMetadata(translation.usage))
        return TranslatedTexts(translation.texts)
