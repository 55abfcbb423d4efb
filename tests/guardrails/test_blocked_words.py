"""Words, phrases and expressions."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from proxy.domain.guardrails import Stage
from proxy.guardrails.base import Context
from proxy.guardrails.blocked_words import BlockedWords, BlockedWordsSettings
from proxy.guardrails.redaction import JoinedText

CONTEXT = Context("words", Stage.PRE_CALL, "r", "speech", "tts")


def settings_of(words: tuple[str, ...] = (), patterns: tuple[str, ...] = ()) -> BlockedWordsSettings:
    return BlockedWordsSettings(name="words", mode=("pre_call",), words=words, patterns=patterns)


def masked(text: str, *words: str, patterns: tuple[str, ...] = ()) -> str:
    spans = asyncio.run(BlockedWords(settings_of(words, patterns)).check(text, CONTEXT)).spans
    return JoinedText([text]).without(spans)[0].replace("[BLOCKED_WORD]", "#")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What an ASS!", "What an #!"),
        ("classy assassin", "classy assassin"),
        ("ass,ass", "#,#"),
        ("forbidden  \nFruit here", "# here"),
        ("forbidden, fruit", "#"),
        ("forbidden (not) fruit", "forbidden (not) fruit"),
        ("forbidden", "forbidden"),
        ("in der STRASSE", "in der #"),
        ("in der Straße", "in der #"),
        ("cafe\u0301 cr\u00e8me", "# crème"),
        ("a\u200bs\u00ads", "#"),
        ("it's o'clock", "it's o'clock"),
        ("He don't know", "He # know"),
        ("\u6211\u7231\u88ab\u7981\u6b62\u7684\u8bcd\u5417", "\u6211\u7231#\u5417"),
    ],
)
def test_words(text: str, expected: str) -> None:
    blocked = ("ass", "forbidden fruit", "Straße", "café", "don't", "\u88ab\u7981\u6b62\u7684\u8bcd")
    assert masked(text, *blocked) == expected


def test_patterns() -> None:
    assert masked("about Project-77 and é project-5", patterns=("(?i)project-[0-9]+",)) == "about # and é #"


def test_overlapping_findings_are_one() -> None:
    assert masked("a b c", "a b", "b c") == "#"


def test_an_expression_takes_time_in_proportion_to_the_text() -> None:
    """These would take years where they are tried out step by step."""
    assert masked("a" * 50_000 + "!", patterns=(r"(a+)+$", r"(a|aa)+b", r"(.*)(.*)(.*)(.*)x")) == "a" * 50_000 + "!"


def test_a_long_list_takes_no_longer_than_a_short_one() -> None:
    words = tuple(f"word{number}" for number in range(20_000))
    many, few = BlockedWords(settings_of(words)), BlockedWords(settings_of(words[:1]))
    text = "nothing of that in here " * 2000

    def seconds(guard: BlockedWords) -> float:
        began = time.process_time()
        asyncio.run(guard.check(text, CONTEXT))
        return time.process_time() - began

    assert min(seconds(many) for _ in range(3)) < 5 * min(seconds(few) for _ in range(3))


@pytest.mark.parametrize(
    ("words", "patterns", "problem"),
    [
        (("c++",), (), "use patterns for anything else"),
        (("'-",), (), "use patterns for anything else"),
        ((), ("(",), "must be regular expressions in RE2's syntax: number 1 is not valid"),
        ((), ("a", r"(a)\1"), "number 2 is not valid"),
        ((), ("(?=a)",), "number 1 is not valid"),
        ((), ("a*",), "number 1 matches the empty text"),
    ],
)
def test_what_cannot_be_looked_for(words: tuple[str, ...], patterns: tuple[str, ...], problem: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(problem)):
        settings_of(words, patterns)


@given(st.text(max_size=60), st.text("ab \u00df\u4e2d\u0301", min_size=1, max_size=5))
def test_any_text_can_be_looked_at(text: str, word: str) -> None:
    unchecked = BlockedWordsSettings.model_construct(words=(word,), patterns=())
    for start, end, _ in asyncio.run(BlockedWords(unchecked).check(text, CONTEXT)).spans:
        assert 0 <= start < end <= len(text)
