"""When a vendor may be asked again, from the headers of its response."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from time import time

from proxy.http.messages import Response
from proxy.providers.wire.headers import header

#: Longer waits count as missing: they are mistakes, or about quotas.
MAX_SECONDS = 86_400.0
_NUMBER = re.compile(r"\d{1,12}(?:\.\d{1,9})?")
#: Go's durations, as OpenAI writes them: ``1.2s``, ``6m0s``, ``1h2m3s``, ``20ms``.
_DURATION = re.compile(r"(?:\d{1,9}(?:\.\d{1,9})?(?:ms|s|m|h|d))+")
_PART = re.compile(r"([\d.]+)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def retry_after(response: Response) -> float | None:
    """Seconds; None if the vendor does not tell, or tells nonsense."""
    stated = header(response, b"retry-after")
    candidates = [
        _scaled(_number(header(response, b"retry-after-ms")), 0.001),
        _duration(stated),
        _until(stated, header(response, b"date")),
    ]
    if response.status_code in (429, 503):
        candidates.append(_reset(response))
    return next((seconds for seconds in candidates if seconds is not None and seconds <= MAX_SECONDS), None)


def _reset(response: Response) -> float | None:
    """When the limit that is used up is reset: of requests or of tokens."""
    resets = [
        seconds
        for kind in (b"requests", b"tokens")
        if _number(header(response, b"x-ratelimit-remaining-" + kind)) in (None, 0)
        and (seconds := _duration(header(response, b"x-ratelimit-reset-" + kind))) is not None
    ]
    return max(resets, default=None)


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if _NUMBER.fullmatch(text) else None


def _scaled(number: float | None, unit: float) -> float | None:
    return None if number is None else number * unit


def _duration(text: str) -> float | None:
    """Seconds from a number or a duration."""
    text = text.strip().lower()
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    return _number(text)


def _until(text: str, now: str) -> float | None:
    """Seconds until an HTTP date, by the vendor's own clock if it tells the time."""
    date = _date(text)
    if date is None:
        return None
    present = _date(now)
    return max(0.0, date - (time() if present is None else present))


def _date(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
