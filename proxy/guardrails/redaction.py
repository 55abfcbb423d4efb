"""Removes words from texts and from transcripts, in every reading of a transcript.

A transcript contains the same words several times: as its text, as segments, as words. These readings may differ in
spaces, punctuation, capitals, or more. What was found in one reading is searched for in the others by its letters and
digits. A reading in which it cannot be found is dropped: words and segments are removed, and the text is replaced by
that of the segments or words.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from functools import cached_property
from itertools import accumulate, pairwise

from proxy.domain.transcript import Segment, Transcript, Word
from proxy.guardrails.base import Span

TEXT, SEGMENTS, WORDS, INNER_WORDS = "text", "segments", "words", "inner words"
#: Different texts that are searched for in a reading that differs from the one that they were found in.
MAX_SEARCHED = 200
#: Words of two texts that are compared one by one.
MAX_COMPARED = 2_000
#: The text of a transcript whose readings contradict each other.
NOTHING_LEFT = "[REDACTED]"
#: Letters, digits and symbols.
_ASCII = re.compile("[0-9A-Za-z$+<=>^`|~]")


def union(spans: Iterable[Span]) -> list[Span]:
    """The spans in order. Those that overlap are merged; the longest one provides the replacement."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            put = span.put if span.end - span.start > longest else last.put
            longest = max(longest, span.end - span.start)
            merged[-1] = Span(last.start, max(last.end, span.end), put)
        else:
            merged.append(span)
            longest = span.end - span.start
    return merged


class JoinedText:
    """Consecutive texts that are checked as one."""

    def __init__(self, pieces: Sequence[str], joint: str | None = None) -> None:
        """``joint`` separates two pieces; None: a space, unless there is one already."""
        self.pieces = pieces
        joints = [joint if joint is not None else _joint(*pair) for pair in pairwise(pieces)]
        self.text = "".join(piece + after for piece, after in zip(pieces, [*joints, ""], strict=False))
        lengths = (len(piece) + len(after) for piece, after in zip(pieces, joints, strict=False))
        self._starts = list(accumulate(lengths, initial=0)) if pieces else []

    @cached_property
    def _lettered(self) -> tuple[str, list[int]]:
        """The letters, digits and symbols in a canonical form, and their positions."""
        if self.text.isascii():
            matches = list(_ASCII.finditer(self.text))
            return "".join(match[0] for match in matches).lower(), [match.start() for match in matches]
        letters: list[str] = []
        places: list[int] = []
        for place, char in enumerate(self.text):
            if char.isalnum() or (not char.isspace() and unicodedata.category(char)[0] not in "PCZ"):
                plain = unicodedata.normalize("NFKC", char).casefold()
                letters.append(plain)
                places += [place] * len(plain)
        return "".join(letters), places

    @property
    def letters(self) -> str:
        return self._lettered[0]

    def has_letters_of(self, other: JoinedText) -> bool:
        return self.letters == other.letters

    def without(self, spans: Iterable[Span]) -> list[str]:
        """The pieces without the spans; the replacement is in the piece in which a span begins."""
        pieces = list(self.pieces)
        for start, end, put in reversed(union(spans)):
            first = bisect_right(self._starts, start) - 1
            last = bisect_right(self._starts, max(start, end - 1)) - 1
            for index in range(first, last + 1):
                begin, finish = max(0, start - self._starts[index]), max(0, end - self._starts[index])
                pieces[index] = pieces[index][:begin] + (put if index == first else "") + pieces[index][finish:]
        return pieces

    def mapped(self, spans: Iterable[Span], other: JoinedText) -> list[Span] | None:
        """The spans at their positions in ``other``; None if one of them cannot be found there."""
        letters, places = self._lettered
        searched: dict[str, str] = {}
        mapped: list[Span] = []
        same = self.has_letters_of(other)
        for start, end, put in spans:
            first, last = _index(places, start), _index(places, end)
            if first == last:
                continue  # nothing but punctuation
            if same:
                theirs = other._lettered[1]
                mapped.append(Span(theirs[first], theirs[last - 1] + 1, put))
            else:
                searched[letters[first:last]] = put
        if len(searched) > MAX_SEARCHED:
            return None
        for value, put in searched.items():
            matches = [Span(start, end, put) for start, end in other._positions_of(value)]
            if not matches:
                return None
            mapped += matches
        return mapped

    def _positions_of(self, value: str) -> Iterable[tuple[int, int]]:
        """The start and end of each occurrence of these letters that is not part of a longer word."""
        letters, places = self._lettered
        at = letters.find(value)
        while at >= 0:
            start, end = places[at], places[at + len(value) - 1] + 1
            if not self.text[start - 1 : start].isalnum() and not self.text[end : end + 1].isalnum():
                yield start, end
            at = letters.find(value, at + 1)


def _joint(before: str, after: str) -> str:
    return "" if before[-1:].isspace() or after[:1].isspace() else " "


def _index(places: Sequence[int], position: int) -> int:
    """The index of the first letter that is not before the position."""
    return bisect_right(places, position - 1)


# -- transcripts -------------------------------------------------------------------------------------------------------


def readings(transcript: Transcript) -> dict[str, JoinedText]:
    """All readings of a transcript. There is always a text; words of segments only if all segments have them."""
    found = {TEXT: JoinedText([transcript.text])}
    if transcript.segments:
        found[SEGMENTS] = JoinedText([segment.text for segment in transcript.segments])
    if transcript.words:
        found[WORDS] = JoinedText([word.word for word in transcript.words])
    inner = [word.word for segment in transcript.segments for word in segment.words]
    if inner and all(segment.words or not segment.text.strip() for segment in transcript.segments):
        found[INNER_WORDS] = JoinedText(inner)
    return found


def redacted(transcript: Transcript, found: Mapping[str, Sequence[Span]]) -> Transcript:
    """The transcript without the spans, which are positions in its `readings`, by their names."""
    if not any(found.values()):
        return transcript
    all_readings = readings(transcript)
    left: dict[str, list[str] | None] = {}
    for name, reading in all_readings.items():
        spans: list[Span] | None = list(found.get(name, ()))
        for other, theirs in found.items():
            if other != name and theirs and spans is not None:
                mapped = all_readings[other].mapped(theirs, reading)
                spans = None if mapped is None else [*spans, *mapped]
        left[name] = None if spans is None else reading.without(spans)
    return _rebuilt(transcript, left)


def _rebuilt(transcript: Transcript, left: Mapping[str, list[str] | None]) -> Transcript:
    """The transcript with what is left of each reading; None: the reading is dropped."""
    words = _words(transcript.words, left.get(WORDS) or ())
    inner = left.get(INNER_WORDS)
    segments = _segments(transcript.segments, left.get(SEGMENTS) or (), inner)
    text = left[TEXT]
    if text is None:
        others = (left.get(name) for name in (SEGMENTS, WORDS, INNER_WORDS))
        text = [JoinedText(next((pieces for pieces in others if pieces is not None), [NOTHING_LEFT])).text.strip()]
    return replace(transcript, text=text[0], segments=segments, words=words, logprobs=None)


def _words(words: Sequence[Word], left: Sequence[str]) -> tuple[Word, ...]:
    """If nothing or only punctuation is left of a word, the one before it is extended to cover both."""
    result: list[Word] = []
    for word, spoken in zip(words, left, strict=False):
        if spoken == word.word:
            result.append(word)
        elif any(char.isalnum() for char in spoken):
            result.append(replace(word, word=spoken))
        elif result:
            last = result[-1]
            result[-1] = replace(last, word=last.word + spoken.strip(), end=max(last.end, word.end))
    return tuple(result)


def _segments(segments: Sequence[Segment], left: Sequence[str], inner: Sequence[str] | None) -> tuple[Segment, ...]:
    """Drops segments of which nothing is left. ``inner``: what is left of their words."""
    result: list[Segment] = []
    position = 0
    for segment, spoken in zip(segments, left, strict=False):
        count = len(segment.words)
        words = _words(segment.words, (inner or ())[position : position + count])
        position += count
        if spoken.strip() or not segment.text.strip():
            ratio = segment.compression_ratio if spoken == segment.text else None
            result.append(replace(segment, text=spoken, words=words, tokens=(), compression_ratio=ratio))
    return tuple(result)


# -- texts that a guardrail has rewritten ------------------------------------------------------------------------------


def changes(before: str, after: str) -> list[Span]:
    """The spans that turn ``before`` into ``after``; coarse if the texts differ a lot."""
    old, new = _split(before), _split(after)
    head = 0
    while head < min(len(old), len(new)) and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < min(len(old), len(new)) - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    starts = list(accumulate(map(len, old), initial=0))
    middle_old, middle_new = old[head : len(old) - tail], new[head : len(new) - tail]
    if len(middle_old) + len(middle_new) > MAX_COMPARED:
        return [_trimmed(before, Span(starts[head], starts[len(old) - tail], "".join(middle_new)))]
    matcher = SequenceMatcher(None, middle_old, middle_new, autojunk=False)
    return [
        _trimmed(before, Span(starts[head + first], starts[head + last], "".join(middle_new[start:end])))
        for kind, first, last, start, end in matcher.get_opcodes()
        if kind != "equal"
    ]


def _trimmed(text: str, span: Span) -> Span:
    """The span without punctuation at its ends that stays the same."""
    start, end, put = span
    while start < end and put and text[end - 1] == put[-1] and not put[-1].isalnum():
        end, put = end - 1, put[:-1]
    while start < end and put and text[start] == put[0] and not put[0].isalnum():
        start, put = start + 1, put[1:]
    return Span(start, end, put)


def _split(text: str) -> list[str]:
    """The words, and the white space between them."""
    return re.findall(r"\s+|\S+", text)
