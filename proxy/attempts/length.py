"""The length of an upload, if its transcription is billed by the second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from proxy.domain.call import Attempt
from proxy.domain.requests import TranscriptionRequest, Upload
from proxy.domain.usage import Usage
from proxy.errors import ProxyError
from proxy.matching import BoundDeployment

#: OpenAI's formats that hold neither a usage nor a duration.
FORMATS_WITHOUT_LENGTH = frozenset({"text", "srt", "vtt"})
UNKNOWN_LENGTH = "the length of the audio could not be measured, so the cost of this call is not known"


class UploadLength:
    """The length of one attempt's upload: the vendor's report, else the transcript's duration, else a measurement.

    If the vendor is not expected to report it, the upload is measured while the vendor works, so a call waits for a
    measurement only when a vendor stops reporting. A measurement that turns out to be unnecessary runs to its end.
    """

    def __init__(
        self,
        bound: BoundDeployment,
        request: TranscriptionRequest,
        attempt: Attempt,
        measure: Callable[[Upload], Awaitable[float | None]],
    ) -> None:
        self._bound = bound
        self._attempt = attempt
        self._request = request
        self._measure = measure
        self._measuring: asyncio.Future[float | None] | None = None
        if bound.bills_seconds_in and request.seconds is None and not self._is_report_expected:
            self._measuring = asyncio.ensure_future(self._measured())

    @property
    def _kind(self) -> tuple[str, bool]:
        return self._request.response_format, self._request.stream

    @property
    def _is_report_expected(self) -> bool:
        """What the vendor did last time; at first, what OpenAI does."""
        has_length = self._request.response_format not in FORMATS_WITHOUT_LENGTH
        return self._bound.reports_seconds.get(self._kind, has_length)

    async def settle(self, usage: Usage | None, duration: float | None = None) -> None:
        """Call it when the answer is complete. Notes the seconds in the attempt if they are needed."""
        if not self._bound.bills_seconds_in:
            return
        is_reported = duration is not None or _has_input(usage)
        self._bound.reports_seconds[self._kind] = is_reported
        if is_reported:
            self._attempt.seconds_in = duration
        elif self._request.seconds is not None:
            self._attempt.seconds_in = self._request.seconds
        else:
            self._measuring = self._measuring or asyncio.ensure_future(self._measured())
            self._attempt.seconds_in = await asyncio.shield(self._measuring)
        if not is_reported and self._attempt.seconds_in is None:
            self._attempt.note([UNKNOWN_LENGTH])

    async def _measured(self) -> float | None:
        """None if the audio cannot be read, or no worker is free to read it."""
        try:
            return await self._measure(self._request.file)
        except ProxyError:
            return None


def _has_input(usage: Usage | None) -> bool:
    """Whether it includes what vendors bill for an upload."""
    return usage is not None and not (
        usage.seconds_in is None and usage.input_audio_tokens is None and usage.cost is None
    )
