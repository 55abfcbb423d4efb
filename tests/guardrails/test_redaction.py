"""What is taken out of a transcript is in none of its renderings."""

from __future__ import annotations

import asyncio
import json
import string
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.domain.guardrails import Stage
from proxy.domain.transcript import FORMATS, Segment, Transcript, Word
from proxy.guardrails.base import Context, Span
from proxy.guardrails.pii import Pii, PiiSettings
from proxy.guardrails.redaction import MAX_COMPARED, JoinedText, changes, readings, redacted, union
from proxy.render.transcripts import render, sse_events

CARDS = ("4111111111111111", "5555555555554444", "378282246310005", "6011111111111117", "30569309025904")
DIGITS = frozenset(string.digits)
CONTEXT = Context("pii", Stage.POST_CALL, "r", "transcriptions", "whisper")
PII = Pii(PiiSettings(name="pii", mode=("post_call",), action="redact", entities=("CREDIT_CARD",)))

plain = st.text("abc ,.!?éß\u4e2d'", max_size=12)


def guarded(transcript: Transcript) -> Transcript:
    """As the engine does it."""
    found = {
        name: asyncio.run(PII.check(reading.text, CONTEXT)).spans for name, reading in readings(transcript).items()
    }
    return redacted(transcript, found)


def said(transcript: Transcript) -> str:
    """All the words of all the renderings, without their times."""
    spoken: list[str] = []
    for wanted in FORMATS:
        body = render(transcript, wanted, ("word", "segment"))[0].decode()
        if wanted.endswith("json"):
            spoken += texts(json.loads(body))
        elif wanted == "text":
            spoken.append(body)
        else:
            lines = [line for line in body.splitlines() if "-->" not in line and not line.isdecimal()]
            spoken += lines
    for diarized in (False, True):
        for event in sse_events(transcript, diarized=diarized)[:-1]:
            spoken += texts(json.loads(event.decode().removeprefix("data: ")))
    return "\n".join(spoken)


def texts(value: Any, name: str = "") -> list[str]:
    if isinstance(value, dict):
        return [text for key, inner in value.items() for text in texts(inner, key)]
    if isinstance(value, list):
        return [text for inner in value for text in texts(inner, name)]
    if name == "tokens":
        return [str(value)]
    return [value] if isinstance(value, str) and name in ("text", "word", "delta", "token") else []


@st.composite
def transcripts(draw: st.DrawFn) -> Transcript:
    """A number, written in groups, over words and segments that are cut anywhere, each as a vendor may write it."""
    card = draw(st.sampled_from(CARDS))
    cuts = sorted(draw(st.sets(st.integers(1, len(card) - 1), max_size=6)))
    groups = [card[start:end] for start, end in zip([0, *cuts], [*cuts, len(card)], strict=True)]
    gap = draw(st.sampled_from([" ", "-", ", ", "  ", " - ", "\u00a0", "\u2011"]))
    before = draw(plain).split()
    after = draw(plain).split()
    text = " ".join([*before, gap.join(groups), *after])
    spaced = draw(st.booleans())
    words = [Word(f" {word}" if spaced else word, i, i + 1) for i, word in enumerate([*before, *groups, *after])]
    pieces = [word.word.strip() for word in words]
    bounds = sorted(draw(st.sets(st.integers(1, max(1, len(pieces) - 1)), max_size=3)))
    segments = []
    for number, (start, end) in enumerate(zip([0, *bounds], [*bounds, len(pieces)], strict=True)):
        spoken = " ".join(pieces[start:end])
        inner = tuple(words[start:end]) if draw(st.booleans()) else ()
        segments.append(Segment(number, start, end, spoken, words=inner, tokens=(4111, 1111), speaker="A"))
    return Transcript(
        draw(st.sampled_from([text, " ".join(pieces), text.replace(gap, "")])),
        segments=tuple(segments) if draw(st.booleans()) else (),
        words=tuple(words) if draw(st.booleans()) else (),
        logprobs=({"token": card, "logprob": -1.0, "bytes": []},),
        duration=float(len(words)),
    )


@settings(max_examples=300, deadline=None)
@given(transcripts())
def test_no_digit_of_a_number_is_left_anywhere(transcript: Transcript) -> None:
    assert DIGITS & set(said(transcript))
    clean = guarded(transcript)
    assert not DIGITS & set(said(clean))
    assert clean.text.count("[CREDIT_CARD]") == 1


@settings(max_examples=100, deadline=None)
@given(transcripts(), st.sampled_from(["text", "segments", "words"]))
def test_one_reading_that_shows_it_is_enough(transcript: Transcript, name: str) -> None:
    """The finder sees it in one reading only, as a webhook does that is asked about the text alone."""
    reading = readings(transcript).get(name)
    if reading is None:
        return
    clean = redacted(transcript, {name: asyncio.run(PII.check(reading.text, CONTEXT)).spans})
    assert not DIGITS & set(said(clean))


@settings(max_examples=100, deadline=None)
@given(st.lists(plain, max_size=6), plain)
def test_what_is_fine_stays_the_same_object(pieces: list[str], text: str) -> None:
    segments = tuple(Segment(number, number, number + 1, piece) for number, piece in enumerate(pieces))
    transcript = Transcript(text, segments=segments, logprobs=())
    assert guarded(transcript) is transcript


def test_words_that_cannot_be_told_from_the_text_are_given_up() -> None:
    transcript = Transcript(
        "Call 4111 1111 1111 1111 now",
        segments=(Segment(0, 0, 1, "Call forty-one eleven"), Segment(1, 1, 2, "and so on now")),
        words=(Word("Call", 0, 1), Word("forty-one", 1, 2), Word("eleven", 2, 3)),
    )
    clean = guarded(transcript)
    assert (clean.text, clean.segments, clean.words) == ("Call [CREDIT_CARD] now", (), ())
    assert b"forty" not in render(clean, "srt")[0]


def test_a_text_that_cannot_be_told_from_the_segments_says_what_they_say() -> None:
    transcript = Transcript("Call forty-one eleven", segments=(Segment(0, 0, 1, " Call 4111 1111 1111 1111"),))
    assert guarded(transcript).text == "Call [CREDIT_CARD]"


def test_readings_that_contradict_each_other_leave_nothing() -> None:
    transcript = Transcript("Call 4111 1111 1111 1111", segments=(Segment(0, 0, 1, "Call 5555 5555 5555 4444"),))
    assert guarded(transcript) == Transcript("[REDACTED]")


def test_words_that_only_some_segments_have_are_left_out() -> None:
    number = "4111 1111 1111 1111"
    segments = (Segment(0, 0, 1, f"A {number}", words=(Word("4111", 0, 1),)), Segment(1, 1, 2, "B"))
    clean = guarded(Transcript(f"A {number} B", segments=segments))
    assert [(segment.text, segment.words) for segment in clean.segments] == [("A [CREDIT_CARD]", ()), ("B", ())]


def test_the_words_of_a_number_become_one() -> None:
    words = tuple(Word(word, i, i + 1) for i, word in enumerate(["is", "4111", "1111", "1111", "1111.", "Bye."]))
    clean = guarded(Transcript("is 4111 1111 1111 1111. Bye.", words=words))
    assert clean.words == (Word("is", 0, 1), Word("[CREDIT_CARD].", 1, 5), Word("Bye.", 5, 6))
    assert clean.text == "is [CREDIT_CARD]. Bye."


def test_a_segment_of_which_nothing_is_left_goes() -> None:
    segments = (Segment(0, 0, 1, "4111 1111"), Segment(1, 1, 2, "1111 1111"), Segment(2, 2, 3, "Bye."))
    clean = guarded(Transcript("4111 1111 1111 1111 Bye.", segments=segments))
    assert [(segment.id, segment.text) for segment in clean.segments] == [(0, "[CREDIT_CARD]"), (2, "Bye.")]


def test_the_ratio_of_a_changed_segment_is_computed_anew() -> None:
    segments = (
        Segment(0, 0, 1, "4111 1111 1111 1111", compression_ratio=1.5),
        Segment(1, 1, 2, "x", compression_ratio=2.0),
    )
    clean = guarded(Transcript("4111 1111 1111 1111 x", segments=segments))
    assert [segment.compression_ratio for segment in clean.segments] == [None, 2.0]


# -- spans -------------------------------------------------------------------------------------------------------------

spans = st.lists(st.builds(lambda a, b: Span(min(a, b), max(a, b) + 1, "#"), st.integers(0, 39), st.integers(0, 39)))


@given(spans)
def test_a_union_covers_the_same_and_has_no_overlap(found: list[Span]) -> None:
    merged = union(found)
    assert covered(merged) == covered(found)
    assert all(one.end <= other.start for one, other in pairwise(merged))


def covered(found: Sequence[Span]) -> set[int]:
    return {place for span in found for place in range(span.start, span.end)}


@given(st.lists(st.text("ab ", max_size=6), min_size=1, max_size=8), st.data())
def test_pieces_lose_what_is_covered_and_nothing_else(pieces: list[str], data: st.DataObject) -> None:
    reading = JoinedText(pieces)
    at = data.draw(st.integers(0, len(reading.text)))
    end = data.draw(st.integers(at, len(reading.text)))
    if at == end:
        return
    left = reading.without([Span(at, end, "#")])
    assert "".join(left).count("#") == 1
    kept = reading.text[:at] + reading.text[end:]
    assert "".join(left).replace("#", "").replace(" ", "") == kept.replace(" ", "")


# -- texts that somebody else has changed ------------------------------------------------------------------------------

sentences = st.lists(st.sampled_from(["my", "card", "is", "4111", "***", "no", "a.", "\n"]), max_size=30).map(" ".join)


@given(sentences, sentences)
@example("a b", "")
@example("", "a b")
def test_changes_turn_one_text_into_the_other(before: str, after: str) -> None:
    text = before
    for start, end, put in reversed(changes(before, after)):
        text = text[:start] + put + text[end:]
    assert text == after


def test_changes_of_long_texts_are_coarse() -> None:
    before = " ".join(str(number) for number in range(MAX_COMPARED))
    after = before.replace(" 5", " x").replace("1 ", "y ")
    assert len(changes(before, after)) == 1
