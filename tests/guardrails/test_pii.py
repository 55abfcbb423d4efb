"""Personal data is found as it is written and as it is said, and in a time that grows with the text only."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from proxy.domain.guardrails import Stage
from proxy.guardrails.base import ALLOW, Context
from proxy.guardrails.entities import passes_luhn
from proxy.guardrails.pii import OVERLAP, Pii, PiiSettings
from proxy.guardrails.redaction import JoinedText
from proxy.guardrails.scanner import PIECE
from proxy.guardrails.views import addressed, plain, spoken, unseparated

CONTEXT = Context("pii", Stage.PRE_CALL, "r", "speech", "tts")
PII = Pii(PiiSettings(name="pii", mode=("pre_call",), regions=("US", "DE")))


def masked(text: str, pii: Pii = PII) -> str:
    spans = asyncio.run(pii.check(text, CONTEXT)).spans
    return JoinedText([text]).without(spans)[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("my card 4111 1111 1111 1111 ok", "my card [CREDIT_CARD] ok"),
        ("4111-1111-1111-1111", "[CREDIT_CARD]"),
        ("4111. 1111. 1111. 1111.", "[CREDIT_CARD]."),
        ("3782 822463 10005", "[CREDIT_CARD]"),
        ("5 4111 1111 1111 1111", "5 [CREDIT_CARD]"),
        ("card4111111111111111abc", "card[CREDIT_CARD]abc"),
        ("4\u200b111\u00a01111 1111\u20111111", "[CREDIT_CARD]"),
        ("\uff14\uff11\uff11\uff11 1111 1111 1111", "[CREDIT_CARD]"),
        ("\u0664\u0661\u0661\u0661 1111 1111 1111", "[CREDIT_CARD]"),
        ("four " + "one " * 15 + "thanks", "[CREDIT_CARD] thanks"),
        ("room five four " + "one " * 15 + "thanks", "room five [CREDIT_CARD] thanks"),
        ("four triple one, one one one one, double one one one, one one one one", "[CREDIT_CARD]"),
        ("vier eins eins eins 1111 eins eins eins eins 1111.", "[CREDIT_CARD]."),
        ("mail John.Doe+x@example.co.uk!", "mail [EMAIL]!"),
        ("j\u00fcrgen@m\u00fcller.de", "[EMAIL]"),
        ("jane dot doe at example dot com please", "[EMAIL] please"),
        ("DE89 3704 0044 0532 0130 00 is it", "[IBAN] is it"),
        ("iban: gb82west12345698765432.", "iban: [IBAN]."),
        ("192.168.1.1, fe80::1 and ::ffff:1.2.3.4", "[IP], [IP] and [IP]"),
        ("one two seven dot zero dot zero dot one", "[IP]"),
        ("127 dot 0 dot 0 dot 1", "[IP]"),
        ("call (202) 555-0143 or +49 30 901820", "call [PHONE] or [PHONE]"),
        ("two zero two five five five zero one four three", "[PHONE]"),
        ("in Berlin 030 901820", "in Berlin [PHONE]"),
        ("536-90-4399", "[US_SSN]"),
    ],
)
def test_what_is_found(text: str, expected: str) -> None:
    assert masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # fails Luhn
        "order 4111111111111111222 x",  # a part of a longer number
        "9999 9999 9999 9995",  # of no brand
        "DE88 3704 0044 0532 0130 00",  # fails mod 97
        "XX89 3704 0044 0532 0130 00",  # no such country
        "999.1.1.1 and 1.2.3 and 1.2.3.4.5",
        "std::vector and 12:30:45 and ::",
        "a@b and @home and me@ and a@b.c",
        "I have two dogs, one cat and 3 fish. One. Two. Three.",
        "on 2024-05-05 at 12:30 I paid 1234567.89",
        "000-12-3456 and 666-12-3456 and 912-12-3456",
        "",
    ],
)
def test_what_is_not(text: str) -> None:
    assert masked(text) == text


def test_only_what_is_asked_for_is_looked_for() -> None:
    pii = Pii(PiiSettings(name="pii", mode=("pre_call",), entities=("EMAIL",)))
    assert masked("a@example.com 4111 1111 1111 1111", pii) == "[EMAIL] 4111 1111 1111 1111"
    abroad = Pii(PiiSettings(name="pii", mode=("pre_call",), regions=("GB",)))
    assert masked("030 901820, +49 30 901820", abroad) == "030 901820, [PHONE]"


def test_the_verdict_names_the_kinds_and_never_the_text() -> None:
    verdict = asyncio.run(PII.check("a@example.com and 4111 1111 1111 1111 and b@example.com", CONTEXT))
    assert sorted(verdict.found) == ["CREDIT_CARD", "EMAIL"]
    assert asyncio.run(PII.check("Hello", CONTEXT)) is ALLOW


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 10**14 - 1), st.lists(st.sampled_from(["", " ", "-", ". ", ", ", "\n"]), min_size=15, max_size=15)
)
def test_every_number_that_passes_luhn_is_found_however_it_is_grouped(number: int, gaps: list[str]) -> None:
    head = f"4{number:014d}"
    card = next(head + digit for digit in "0123456789" if passes_luhn(head + digit))
    written = "".join(digit + gap for digit, gap in zip(card, [*gaps, ""], strict=True))
    assert masked(f"It is {written} then") == "It is [CREDIT_CARD] then"


@settings(max_examples=200, deadline=None)
@given(st.text("0123456789 .-@:abcdefDE+()\u200b\uff11", max_size=80) | st.text(max_size=40))
@example("::")
@example("\u200b")
@example("one two")
def test_any_text_can_be_looked_at(text: str) -> None:
    for start, end, put in asyncio.run(PII.check(text, CONTEXT)).spans:
        assert 0 <= start < end <= len(text)
        assert put.startswith("[")


words = st.lists(
    st.sampled_from(["one", "zwei", "double", "dot", "dash", "4", "1234", "and", "the", ",", ".", "\u200b", "\uff11"]),
    max_size=12,
).map(" ".join)


@given(words)
def test_what_is_read_as_figures_can_be_found_again_in_the_text(text: str) -> None:
    from proxy.guardrails.base import Span

    written = plain(text)
    for view in (
        written,
        spoken(written, joined=True),
        spoken(written, joined=False),
        addressed(written),
        unseparated(written),
    ):
        for at in range(len(view.text)):
            (span,) = view.original([Span(at, at + 1, "#")])
            assert 0 <= span.start < span.end <= len(text)


def test_a_number_on_the_edge_of_two_pieces_is_found_once() -> None:
    number = "4111 1111 1111 1111"
    for shift in range(-len(number) - 1, 2):
        text = "x" * (PIECE + shift) + " " + number + " y"
        assert masked(text) == "x" * (PIECE + shift) + " [CREDIT_CARD] y"
    assert len(number) * 5 < OVERLAP


@pytest.mark.parametrize(
    "block",
    [
        "1",
        "1 ",
        "4111111111111112 ",
        "@",
        "a@",
        "one ",
        "DE89 ",
        ":",
        "ab:",
        "1.",
        "a dot ",
        "a at ",
        "(1 ",
        "12-",
        "+",
    ],
)
def test_a_long_text_takes_no_longer_than_its_length(block: str) -> None:
    """Four times the text, about four times the time; sixteen times where it would be squared."""

    def seconds(length: int) -> float:
        text = (block * length)[:length]
        began = time.process_time()
        PII.find(text)
        return time.process_time() - began

    seconds(500)
    short, long = (min(seconds(length) for _ in range(3)) for length in (4_000, 16_000))
    assert long < 10 * short


def test_the_check_digit() -> None:
    numbers = random.Random(1)
    assert sum(passes_luhn(str(numbers.randrange(10**15, 10**16))) for _ in range(2000)) in range(120, 280)
