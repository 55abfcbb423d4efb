"""A transcript on its way, sentence by sentence: what has not been looked at has not left.

A sentence is held back until its end has come; where it ends in a number, the next word is waited for too, since a
number may go on. Where no sentence ends, `MAX_LENGTH` characters are held, no more.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final

from pydantic_core import from_json

from proxy.domain.transcript import Segment, Transcript
from proxy.errors import UpstreamInvalid
from proxy.guardrails.spoken import DIGIT_WORDS
from proxy.providers.wire import sse

MAX_LENGTH: Final = 1_000
_SENTENCE_END: Final = re.compile(r"[.?!\u2026]+[\"'\u201d\u2019\u00bb)\]]*(?=\s)|[\u3002\uff1f\uff01\n]+")
_SPACE: Final = re.compile(r"\s+")
_LAST_WORD: Final = re.compile(r"(\w+)\W*$")
_FIRST_WORD: Final = re.compile(r"\W*(\w+)(?=\W)")
_DELTA, _SEGMENT, _DONE = "transcript.text.delta", "transcript.text.segment", "transcript.text.done"

Look = Callable[[Transcript], Awaitable[Transcript]]
Event = dict[str, Any]


async def held(
    first: bytes, rest: AsyncIterator[bytes] | None, look: Look | None, note: Callable[[str], None]
) -> AsyncGenerator[bytes]:
    """OpenAI's events as `look` lets them pass; as they came where that is None. ``note`` gets the text at the end.

    Of the events only the fields that OpenAI's API has pass, and only its kinds of events.
    """
    reader, sentences = sse.Reader(), Sentences(look)
    async for chunk in _chunks(first, rest):
        if look is None:
            yield chunk
        for data in reader.feed(chunk):
            async for event in sentences.take(data):
                if look is not None:
                    yield event
    reader.end()
    note(sentences.heard)


async def _chunks(first: bytes, rest: AsyncIterator[bytes] | None) -> AsyncIterator[bytes]:
    if first:
        yield first
    if rest is not None:
        async for chunk in rest:
            yield chunk


class Sentences:
    """What has come and has not been let through yet."""

    def __init__(self, look: Look | None) -> None:
        self._look = look
        self._text = ""
        self._deltas: list[Event] = []
        self._segments: list[Event] = []
        self._heard: list[str] = []
        self._said: list[str] = []
        self._changed = False

    @property
    def heard(self) -> str:
        """The text as the vendor wrote it."""
        return "".join(self._heard).strip()

    async def take(self, data: bytes) -> AsyncIterator[bytes]:
        if data == b"[DONE]":
            yield sse.DONE
            return
        event = _event(data)
        kind = event.get("type")
        if kind == _DELTA:
            self._heard.append(_text(event, "delta"))
            if self._look is None:
                return
            self._text += _text(event, "delta")
            self._deltas.append(event)
            async for passed in self._deltas_to(cut_of(self._text)):
                yield passed
        elif kind == _SEGMENT and self._look is not None:
            self._segments.append(event)
            spoken = " ".join(_text(segment, "text").strip() for segment in self._segments)
            cut = cut_of(f"{spoken} ")
            if cut and (cut >= len(spoken) or len(spoken) > MAX_LENGTH):
                async for passed in self._all_segments():
                    yield passed
        elif kind == _DONE:
            async for passed in self._end(event):
                yield passed

    async def _end(self, event: Event) -> AsyncIterator[bytes]:
        text = _text(event, "text")
        if not self._heard:
            self._heard.append(text)
        if self._look is None:
            return
        async for passed in self._deltas_to(len(self._text)):
            yield passed
        async for passed in self._all_segments():
            yield passed
        said = "".join(self._said).strip()
        if not self._changed and said != text.strip():
            said = (await self._look(Transcript(text))).text
        is_same = not self._changed and said.strip() == text.strip()
        names = ("type", "text", "languages", "usage", *(("logprobs",) if is_same else ()))
        yield sse.event(_only(event, *names) | {"text": text if is_same else said})

    async def _deltas_to(self, cut: int) -> AsyncIterator[bytes]:
        """Let through what is before the cut, as the deltas that came where nothing is changed."""
        if not cut or self._look is None:
            return
        head, self._text = self._text[:cut], self._text[cut:]
        going, self._deltas = _split(self._deltas, cut)
        passed = (await self._look(Transcript(head))).text
        self._said.append(passed)
        if passed != head:
            self._changed = True
            going = [{name: going[0][name] for name in ("type", "segment_id") if name in going[0]} | {"delta": passed}]
        for event in going:
            yield sse.event(_only(event, "type", "delta", "logprobs", "segment_id"))

    async def _all_segments(self) -> AsyncIterator[bytes]:
        events, self._segments = self._segments, []
        if not events or self._look is None:
            return
        spoken = tuple(Segment(number, 0.0, 0.0, _text(event, "text")) for number, event in enumerate(events))
        for segment in (await self._look(Transcript("", segments=spoken))).segments:
            event = _only(events[segment.id], "type", "text", "speaker", "start", "end", "id")
            yield sse.event(event | {"text": segment.text})


def cut_of(text: str) -> int:
    """Up to where a text may be looked at and let through; 0: nothing of it yet."""
    for end in reversed([match.end() for match in _SENTENCE_END.finditer(text)]):
        if _may_cut(text, end):
            return end
    if len(text) <= MAX_LENGTH:
        return 0
    gaps = [match.end() for match in _SPACE.finditer(text)]
    apart = (gap for gap in reversed(gaps) if _may_cut(text, gap))
    return next(apart, 0) or (0 if len(text) <= 2 * MAX_LENGTH else (gaps[-1] if gaps else len(text)))


def _may_cut(text: str, at: int) -> bool:
    """No number may go on behind the cut."""
    last = _LAST_WORD.search(text, max(0, at - 40), at)
    if last is None or not _is_number(last[1]):
        return True
    following = _FIRST_WORD.match(text, at)
    return following is not None and not _is_number(following[1])


def _is_number(word: str) -> bool:
    return word.lower() in DIGIT_WORDS or any(char.isdecimal() for char in word)


def _split(deltas: list[Event], cut: int) -> tuple[list[Event], list[Event]]:
    """The deltas before the cut and those behind it; one that is cut in two loses its logprobs."""
    going: list[Event] = []
    position = 0
    for index, event in enumerate(deltas):
        text = event["delta"]
        if position + len(text) <= cut:
            going.append(event)
            position += len(text)
            continue
        if position < cut:
            bare = {name: value for name, value in event.items() if name != "logprobs"}
            going.append(bare | {"delta": text[: cut - position]})
            return going, [bare | {"delta": text[cut - position :]}, *deltas[index + 1 :]]
        return going, deltas[index:]
    return going, []


def _event(data: bytes) -> Event:
    try:
        event = from_json(data)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise UpstreamInvalid("The upstream vendor sent an event that is no JSON object.")
    return event


def _text(event: Mapping[str, Any], name: str) -> str:
    """Raises UpstreamInvalid where it is none."""
    text = event.get(name, "")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor sent an event without its text.")
    return text


def _only(event: Event, *names: str) -> Event:
    return {name: value for name, value in event.items() if name in names}
