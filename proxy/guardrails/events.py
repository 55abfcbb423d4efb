"""A transcript that arrives bit by bit, sentence by sentence: what has not been checked does not leave.

A sentence is held back until its end has arrived; if it ends in a number, the next word is waited for too, since the
number may go on. If no sentence ends, at most `MAX_LENGTH` characters are held.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from proxy.domain.results import Event, TranscriptEvents
from proxy.domain.transcript import Segment, Transcript
from proxy.errors import UpstreamInvalid
from proxy.guardrails.views import DIGIT_WORDS

MAX_LENGTH: Final = 1_000
_SENTENCE_END: Final = re.compile(r"[.?!\u2026]+[\"'\u201d\u2019\u00bb)\]]*(?=\s)|[\u3002\uff1f\uff01\n]+")
_SPACE: Final = re.compile(r"\s+")
_LAST_WORD: Final = re.compile(r"(\w+)\W*$")
_FIRST_WORD: Final = re.compile(r"\W*(\w+)(?=\W)")
_DELTA, _SEGMENT, _DONE = "transcript.text.delta", "transcript.text.segment", "transcript.text.done"

Check = Callable[[Transcript], Awaitable[Transcript]]


async def checked_events(
    events: TranscriptEvents, check: Check | None, note: Callable[[str], None]
) -> AsyncGenerator[Event]:
    """The events as `check` lets them pass; unchanged if that is None. ``note`` gets the whole text at the end.

    If there is a `check`, only OpenAI's kinds of events pass, with the fields that OpenAI's API has.
    """
    sentences = Sentences(check)
    async for event in _all(events):
        if check is None:
            yield event
        async for passed in sentences.feed(event):
            yield passed
    note(sentences.original)


async def _all(events: TranscriptEvents) -> AsyncIterator[Event]:
    for event in events.first:
        yield event
    async for event in events.rest:
        yield event


class Sentences:
    """Holds events back until their words have been checked."""

    def __init__(self, check: Check | None) -> None:
        self._check = check
        self._text = ""
        self._deltas: list[Event] = []
        self._segments: list[Event] = []
        self._original: list[str] = []
        self._passed: list[str] = []
        self._is_changed = False

    @property
    def original(self) -> str:
        """The text as the vendor wrote it."""
        return "".join(self._original).strip()

    async def feed(self, event: Event) -> AsyncIterator[Event]:
        kind = event.get("type")
        if kind == _DELTA:
            self._original.append(_text(event, "delta"))
            if self._check is None:
                return
            self._text += _text(event, "delta")
            self._deltas.append(event)
            async for passed in self._deltas_to(cut_of(self._text)):
                yield passed
        elif kind == _SEGMENT and self._check is not None:
            self._segments.append(event)
            text = " ".join(_text(segment, "text").strip() for segment in self._segments)
            cut = cut_of(f"{text} ")
            if cut and (cut >= len(text) or len(text) > MAX_LENGTH):
                async for passed in self._all_segments():
                    yield passed
        elif kind == _DONE:
            async for passed in self._end(event):
                yield passed

    async def _end(self, event: Event) -> AsyncIterator[Event]:
        text = _text(event, "text")
        if not self._original:
            self._original.append(text)
        if self._check is None:
            return
        async for passed in self._deltas_to(len(self._text)):
            yield passed
        async for passed in self._all_segments():
            yield passed
        checked = "".join(self._passed).strip()
        if not self._is_changed and checked != text.strip():
            checked = (await self._check(Transcript(text))).text
        is_same = not self._is_changed and checked.strip() == text.strip()
        names = ("type", "text", "languages", "usage", *(("logprobs",) if is_same else ()))
        yield _only(event, *names) | {"text": text if is_same else checked}

    async def _deltas_to(self, cut: int) -> AsyncIterator[Event]:
        """Check and release what is before the cut: the original deltas if nothing is changed."""
        if not cut or self._check is None:
            return
        head, self._text = self._text[:cut], self._text[cut:]
        leaving, self._deltas = _split(self._deltas, cut)
        passed = (await self._check(Transcript(head))).text
        self._passed.append(passed)
        if passed != head:
            self._is_changed = True
            first = leaving[0]
            leaving = [{name: first[name] for name in ("type", "segment_id") if name in first} | {"delta": passed}]
        for event in leaving:
            yield _only(event, "type", "delta", "logprobs", "segment_id")

    async def _all_segments(self) -> AsyncIterator[Event]:
        events, self._segments = self._segments, []
        if not events or self._check is None:
            return
        segments = tuple(Segment(number, 0.0, 0.0, _text(event, "text")) for number, event in enumerate(events))
        for segment in (await self._check(Transcript("", segments=segments))).segments:
            event = _only(events[segment.id], "type", "text", "speaker", "start", "end", "id")
            yield event | {"text": segment.text}


def cut_of(text: str) -> int:
    """The position up to which a text can be checked and released; 0: none of it yet."""
    for end in reversed([match.end() for match in _SENTENCE_END.finditer(text)]):
        if _may_cut(text, end):
            return end
    if len(text) <= MAX_LENGTH:
        return 0
    gaps = [match.end() for match in _SPACE.finditer(text)]
    apart = (gap for gap in reversed(gaps) if _may_cut(text, gap))
    return next(apart, 0) or (0 if len(text) <= 2 * MAX_LENGTH else (gaps[-1] if gaps else len(text)))


def _may_cut(text: str, at: int) -> bool:
    """Whether no number continues after the cut."""
    last = _LAST_WORD.search(text, max(0, at - 40), at)
    if last is None or not _is_number(last[1]):
        return True
    following = _FIRST_WORD.match(text, at)
    return following is not None and not _is_number(following[1])


def _is_number(word: str) -> bool:
    return word.lower() in DIGIT_WORDS or any(char.isdecimal() for char in word)


def _split(deltas: list[Event], cut: int) -> tuple[list[Event], list[Event]]:
    """The deltas before and after the cut. One that is cut in two loses its logprobs."""
    leaving: list[Event] = []
    position = 0
    for index, event in enumerate(deltas):
        text = event["delta"]
        if position + len(text) <= cut:
            leaving.append(event)
            position += len(text)
            continue
        if position < cut:
            bare = {name: value for name, value in event.items() if name != "logprobs"}
            leaving.append(bare | {"delta": text[: cut - position]})
            return leaving, [bare | {"delta": text[cut - position :]}, *deltas[index + 1 :]]
        return leaving, deltas[index:]
    return leaving, []


def _text(event: Mapping[str, Any], name: str) -> str:
    """Raises UpstreamInvalid if it is not text."""
    text = event.get(name, "")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor sent an event without its text.")
    return text


def _only(event: Event, *names: str) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name in names}
