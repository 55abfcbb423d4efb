"""How long an upload is, where its transcription is billed by that."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy.calls.line import BoundDeployment
from proxy.domain.call import Attempt
from proxy.domain.requests import TranscriptionRequest, Upload
from proxy.domain.usage import Usage
from proxy.errors import ProxyError

#: OpenAI's formats that hold neither a usage nor a duration.
SILENT = frozenset({"text", "srt", "vtt"})


class Length:
    """Of one attempt's upload: what the vendor says, else what the transcript says, else measured.

    Where the vendor is not expected to say it, the upload is measured while the vendor is at work; so nobody waits, but
    where a vendor falls silent for the first time. A measurement that turns out to be for nothing is let go to its end.
    """

    def __init__(
        self,
        line: BoundDeployment,
        request: TranscriptionRequest,
        attempt: Attempt,
        measure: Callable[[Upload], Awaitable[float | None]],
    ) -> None:
        self._line = line
        self._attempt = attempt
        self._request = request
        self._measure = measure
        self._measuring: asyncio.Future[float | None] | None = None
        if line.bills_seconds_in and request.seconds is None and not self._is_told:
            self._measuring = asyncio.ensure_future(self._measured())

    @property
    def _kind(self) -> tuple[str, bool]:
        return self._request.response_format, self._request.stream

    @property
    def _is_told(self) -> bool:
        """Whether the vendor is expected to tell: as the last time, else as OpenAI does."""
        return self._line.told.get(self._kind, self._request.response_format not in SILENT)

    async def settle(self, used: Usage | None, duration: float | None = None) -> None:
        """The answer is here, with whatever it says. Notes the seconds in the attempt where they are needed."""
        if not self._line.bills_seconds_in:
            return
        told = duration is not None or _tells_input(used)
        self._line.told[self._kind] = told
        if told:
            self._attempt.seconds_in = duration
        elif self._request.seconds is not None:
            self._attempt.seconds_in = self._request.seconds
        else:
            self._measuring = self._measuring or asyncio.ensure_future(self._measured())
            self._attempt.seconds_in = await asyncio.shield(self._measuring)

    async def _measured(self) -> float | None:
        """None where the audio cannot be read, or there is nobody to read it."""
        try:
            return await self._measure(self._request.file)
        except ProxyError:
            return None


def _tells_input(usage: Usage | None) -> bool:
    """Whether it says what a vendor bills of an upload."""
    return usage is not None and not (
        usage.seconds_in is None and usage.input_audio_tokens is None and usage.cost is None
    )
