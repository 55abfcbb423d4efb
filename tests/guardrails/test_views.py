"""However a text is disguised, guardrails see what a person sees, and change the right characters."""

# ruff: noqa: RUF001  (the letters are ambiguous on purpose)

from __future__ import annotations

import asyncio
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.domain.guardrails import Stage
from proxy.guardrails.base import Context, Span
from proxy.guardrails.blocked_words import BlockedWords, BlockedWordsSettings
from proxy.guardrails.pii import Pii, PiiSettings
from proxy.guardrails.redaction import JoinedText
from proxy.guardrails.scanner import PIECE, SHORT
from proxy.guardrails.views import addressed, plain, spoken, unseparated

CONTEXT = Context("views", Stage.PRE_CALL, "r", "speech", "tts")
PII = Pii(PiiSettings(name="pii", mode=("pre_call",), regions=("US",)))
WORDS = BlockedWords(
    BlockedWordsSettings(
        name="words",
        mode=("pre_call",),
        words=("secret", "project x", "пароль", "νίκη"),
        patterns=(r"\b\d{16}\b", r"(?i)px-[0-9]+"),
    )
)


def masked(text: str, guard: Pii | BlockedWords) -> str:
    spans = asyncio.run(guard.check(text, CONTEXT)).spans
    return JoinedText([text]).without(spans)[0].replace("[BLOCKED_WORD]", "#")


@pytest.mark.parametrize(
    "card",
    [
        "④①①① ①①①① ①①①① ①①①①",
        "⁴¹¹¹ ¹¹¹¹ ¹¹¹¹ ¹¹¹¹",
        "₄₁₁₁ ₁₁₁₁ ₁₁₁₁ ₁₁₁₁",
        "4️⃣1️⃣1️⃣1️⃣ 1111 1111 1111",
        "❹❶❶❶ 1111 1111 1111",
        "४१११ ११११ ११११ ११११",
        "𝟒𝟏𝟏𝟏 1111 1111 1111",
        "４１１１ １１１１ １１１１ １１１１",
        "4\u034f1\ufe0f1\U000e00411 1\u202e111\u2066 1111 1111",
        "4111\u00a01111\u20031111\n\t 1111",
        "forty one eleven eleven eleven eleven eleven eleven eleven",
        "forty-one, eleven, eleven, eleven, eleven, eleven, eleven, eleven",
        "四" + "一" * 15,
    ],
)
def test_a_card_number(card: str) -> None:
    assert masked(f"It is {card}, thanks", PII) == "It is [CREDIT_CARD], thanks"


@pytest.mark.parametrize(
    "address",
    [
        "jane (at) example (dot) com",
        "jane[at]example[dot]com",
        "jane @ example . com",
        "j a n e at e x a m p l e dot com",
        "J-A-N-E at example dot com",
        "jane arroba ejemplo punto com",
        "jane ät beispiel punkt de",
        "jane underscore doe at example dot com",
        "jаne@exаmple.com",
        "ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ",
    ],
)
def test_an_address(address: str) -> None:
    assert masked(f"write {address}!", PII) == "write [EMAIL]!"


@pytest.mark.parametrize("space", [" ", "\n", "\t", "  ", "\u00a0", "\u2003 ", "\r\n", "\u200b "])
def test_any_white_space(space: str) -> None:
    assert masked("DE89 3704 0044 0532 0130 00".replace(" ", space), PII) == "[IBAN]"
    assert masked("536 90 4399".replace(" ", space), PII) == "[US_SSN]"


@pytest.mark.parametrize(
    "word",
    [
        "sеcret", "ѕесrеt", "S\u200bE\u00adC\u034fRET", "ｓｅｃｒｅｔ", "𝓈𝑒𝒸𝓇𝑒𝓉", "s̲e̲c̲r̲e̲t", "Ⓢecret", "🅢🅔🅒🅡🅔🅣",
        "🇸🇪🇨🇷🇪🇹", "ЅЕСRЕТ", "ПАРОЛЬ", "Пароль", "пapoль", "рroject   х", "PROJECT\nX", "ΝΊΚΗ", "νίκη",
        "4111 1111 1111 1111", "4111-1111-1111-1111", "four " + "one " * 14 + "one", "рх-１２", "px-⑫", "pⓧ-7",
    ],
)  # fmt: skip
def test_a_blocked_word(word: str) -> None:
    assert masked(f"a {word} b", WORDS) == "a # b"


@pytest.mark.parametrize(
    "text",
    [
        "secretary of projects",
        "My password is not a пар оль.",
        "on 2024-05-05 at 12:30 I paid 1234567.89",
        "I point at you and look at it now. Come home.",
        "Он сказал, что это не так.",
        "한국어 텍스트와 日本語のテキスト。",
        "नमस्ते दुनिया",
        "مرحبا بالعالم",
        "👩‍👩‍👧‍👦 and ☕️ at ten",
    ],
)
def test_what_people_write_stays(text: str) -> None:
    assert masked(text, WORDS) == text
    assert masked(text, PII) == text


@given(st.text(max_size=60))
def test_every_position_leads_back_into_the_text(text: str) -> None:
    written = plain(text)
    others = (spoken(written, joined=True), spoken(written, joined=False), addressed(written), unseparated(written))
    for view in (written, *others):
        spans = view.original([Span(at, at + 1, "#") for at in range(len(view.text))])
        assert all(0 <= span.start < span.end <= len(text) for span in spans)
        assert [span.start for span in spans] == sorted(span.start for span in spans)


@given(st.text(st.characters(codec="ascii", exclude_characters="\t\n\r\v\f\x1c\x1d\x1e\x1f"), max_size=60))
def test_plain_text_is_its_own_view(text: str) -> None:
    if "  " not in text:
        assert plain(text).text is text


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=20))
def test_composed_and_decomposed_text_look_the_same(text: str) -> None:
    assert plain(unicodedata.normalize("NFC", text)).text == plain(unicodedata.normalize("NFD", text)).text


# -- long texts --------------------------------------------------------------------------------------------------------


def test_a_long_text_holds_up_neither_the_loop_nor_another_long_text() -> None:
    """Pieces of two texts take turns, and a short text never waits for a thread."""
    order: list[str] = []

    async def check(name: str, length: int) -> None:
        await PII.check("1.1.1.1." * (length // 8), CONTEXT)
        order.append(name)

    async def all_three() -> None:
        longest = asyncio.ensure_future(check("longest", 40 * PIECE))
        await asyncio.sleep(0)
        long = asyncio.ensure_future(check("long", 2 * PIECE))
        await asyncio.sleep(0)
        await check("short", SHORT)
        await asyncio.gather(long, longest)

    asyncio.run(all_three())
    assert order == ["short", "long", "longest"]


def test_a_check_that_is_cancelled_stops_after_its_piece() -> None:
    found: list[str] = []
    has_begun = asyncio.Event()
    pii = Pii(PiiSettings(name="pii", mode=("pre_call",)))
    find = pii.find

    def counted(text: str) -> list[Span]:
        found.append(text)
        loop.call_soon_threadsafe(has_begun.set)
        return find(text)

    pii.find = counted  # type: ignore[method-assign]

    async def leave() -> None:
        check = asyncio.ensure_future(pii.check("1.1.1.1." * PIECE, CONTEXT))
        await has_begun.wait()
        check.cancel()
        await asyncio.gather(check, return_exceptions=True)
        await pii.aclose()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(leave())
    loop.close()
    assert len(found) <= 2


@pytest.mark.parametrize("block", ["1.1.1.1.", "é", "①", "a ", "а\u0301", "s-e-", "(at) ", "\u200b", "one ", " \n"])
def test_time_grows_with_the_text_only(block: str) -> None:
    def seconds(length: int) -> float:
        text = (block * length)[:length]
        began = time.process_time()
        PII.find(text)
        WORDS._found_words(text)
        WORDS._found_patterns(text)
        return time.process_time() - began

    seconds(500)
    short, long = (min(seconds(length) for _ in range(3)) for length in (4_000, 16_000))
    assert long < 10 * short
