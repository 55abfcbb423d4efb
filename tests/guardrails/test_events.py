"""Transcripts on their way: nothing leaves before it was looked at, and nothing is held that need not be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.guardrails import Stage
from proxy.domain.results import TranscriptEvents
from proxy.domain.transcript import Transcript
from proxy.domain.usage import NO_TOKENS
from proxy.errors import UpstreamInvalid
from proxy.guardrails.base import Context
from proxy.guardrails.events import MAX_LENGTH, checked_events, cut_of
from proxy.guardrails.pii import Pii, PiiSettings
from proxy.guardrails.redaction import readings, redacted
from proxy.providers.wire.relay import TranscriptParser
from proxy.render import sse

CARD = "4111 1111 1111 1111"
CONTEXT = Context("pii", Stage.POST_CALL, "r", "transcriptions", "whisper")
PII = Pii(PiiSettings(name="pii", mode=("post_call",), action="redact"))


async def look(transcript: Transcript) -> Transcript:
    found = {name: (await PII.check(reading.text, CONTEXT)).spans for name, reading in readings(transcript).items()}
    return redacted(transcript, found)


def passed(events: Sequence[dict[str, Any]], size: int = 10**6, heard: list[str] | None = None) -> list[dict[str, Any]]:
    whole = b"".join(map(sse.event, events)) + sse.DONE

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(whole), size):
            yield whole[start : start + size]

    async def run() -> list[dict[str, Any]]:
        note = heard.append if heard is not None else lambda _: None
        events = TranscriptEvents((), parsed(chunks()))
        return [dict(event) async for event in checked_events(events, look, note)]

    return asyncio.run(run())


async def parsed(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    parser = TranscriptParser(lambda event: UpstreamInvalid("an error event"))
    async for chunk in chunks:
        for event in parser.feed(chunk):
            yield event
    for event in parser.end():
        yield event


def delta(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "transcript.text.delta", "delta": text, **more}


def done(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "transcript.text.done", "text": text, "usage": NO_TOKENS, **more}


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=40), st.integers(1, 200), st.booleans())
def test_a_number_never_leaves_however_the_stream_is_cut(lengths: list[int], size: int, spaced: bool) -> None:
    text = f"Well. So my card is {CARD}. Or was it {CARD.replace(' ', '. ')}? No."
    pieces, at = [], 0
    while at < len(text):
        length = lengths[len(pieces) % len(lengths)]
        pieces.append(text[at : at + length])
        at += length
    *deltas, end = passed([*map(delta, pieces), done(text if spaced else text.replace(" ", "  "))], size)
    said = "".join(event["delta"] for event in deltas)
    assert said == end["text"] == "Well. So my card is [CREDIT_CARD]. Or was it [CREDIT_CARD]? No."


def test_spoken_digits_are_waited_for_too() -> None:
    text = "It is four one one one. " + "One one one one. " * 3 + "Bye."
    *_, end = passed([delta(piece) for piece in text.split(" ") for piece in (piece + " ",)] + [done(text)])
    assert end["text"] == "It is [CREDIT_CARD]. Bye."


def test_what_is_fine_passes_as_it_came() -> None:
    events = [
        delta("Hello", logprobs=[1]),
        delta(" there. And", logprobs=[2]),
        delta(" so on"),
        done("Hello there. And so on"),
    ]
    *deltas, end = passed(events)
    assert deltas == [events[0], delta(" there."), delta(" And"), events[2]]
    assert end == events[3]


def test_logprobs_go_where_something_is_redacted() -> None:
    events = [delta("It is " + CARD, logprobs=[{"token": "4111"}]), done("It is " + CARD, logprobs=[1], usage={"a": 1})]
    assert passed(events) == [delta("It is [CREDIT_CARD]"), done("It is [CREDIT_CARD]", usage={"a": 1})]


def test_segments_that_end_in_a_number_are_held_to_the_end() -> None:
    segments = [
        {
            "type": "transcript.text.segment",
            "id": "seg_0",
            "start": 0,
            "end": 1,
            "text": "It is 4111 1111",
            "speaker": "A",
        },
        {"type": "transcript.text.segment", "id": "seg_1", "start": 1, "end": 2, "text": "1111 1111", "speaker": "A"},
    ]
    passed_on = passed([*segments, done(f"It is {CARD}")])
    assert passed_on == [segments[0] | {"text": "It is [CREDIT_CARD]"}, done("It is [CREDIT_CARD]")]


def test_a_stream_without_deltas_is_looked_at_in_its_end() -> None:
    assert passed([done(f"It is {CARD}", logprobs=[1])]) == [done("It is [CREDIT_CARD]")]


def test_an_end_that_says_more_than_the_deltas_is_looked_at() -> None:
    assert passed([delta("It is"), done(f"It is {CARD}")])[-1] == done("It is [CREDIT_CARD]")


def test_fields_and_events_that_openai_does_not_know_do_not_pass() -> None:
    events = [delta("Hi", raw=CARD), {"type": "transcript.words", "words": [CARD]}, done("Hi", segments=[CARD])]
    assert passed(events) == [delta("Hi"), done("Hi")]


def test_what_was_heard_is_noted_as_the_vendor_wrote_it() -> None:
    heard: list[str] = []
    passed([delta("It is "), delta(CARD), done(f"It is {CARD}")], heard=heard)
    assert heard == [f"It is {CARD}"]


@pytest.mark.parametrize(
    "data", [b"data: x\n\n", b"data: 5\n\n", b'data: {"type":"transcript.text.delta","delta":5}\n\n']
)
def test_what_is_no_event_is_the_vendors_fault(data: bytes) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    async def run() -> None:
        async for _ in checked_events(TranscriptEvents((), parsed(chunks())), look, lambda _: None):
            pass

    with pytest.raises(UpstreamInvalid):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("Hello there", 0),
        ("Hello there.", 0),
        ("Hello there. ", 12),
        ("Hello there. And", 12),
        ("One. Two. Th", 0),
        ("It costs 3.50", 0),
        ('He said "no." Then', 13),
        ("\u4f60\u597d\u3002\u518d", 3),
        ("It is 5. ", 0),
        ("It is 5. And", 0),
        ("It is 5. And so", 8),
        ("It is 5. 6 more", 0),
        ("It is five. six more", 0),
        ("word " * 250, 1250),
        ("1 " * 600, 0),
        ("1 " * 1001, 2002),
        ("x" * MAX_LENGTH, 0),
        ("x" * (2 * MAX_LENGTH + 1), 2 * MAX_LENGTH + 1),
    ],
)
def test_where_a_text_may_be_cut(text: str, cut: int) -> None:
    assert cut_of(text) == cut


@given(st.text("ab1. \u3002?\n", max_size=60))
def test_a_cut_is_never_between_two_numbers(text: str) -> None:
    cut = cut_of(text)
    before, after = text[:cut].split(), text[cut:].split()
    if cut and before and after:
        assert not (before[-1].rstrip(".?\u3002")[-1:].isdigit() and after[0][:1].isdigit())
