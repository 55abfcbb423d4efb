"""What a call costs: the worked bills of ``docs/cost.md``, bills worked out here, and what holds for all of them."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.accounting.cost import FREE, UNITS, UNKNOWN, Cost, Counting, Price, Prices, bill
from proxy.config import Deployment
from proxy.domain.requests import Mode
from proxy.domain.usage import Usage
from tests.conftest import command

ROOT = Path(__file__).resolve().parents[2]
#: Prices change; those of the worked bills are of this day.
DAY = date(2026, 11, 23)
TABLE = Prices(DAY)
SPEECH, TRANSCRIPTION = Mode.SPEECH, Mode.TRANSCRIPTION
MODES = {"speech": SPEECH, "transcription": TRANSCRIPTION, "translation": Mode.TRANSLATION}
KEYS = sorted(TABLE.rows)


def entry(name: str, *, base_model: str | None = None, **costs: str) -> Deployment:
    vendor, _, model = name.partition("/")
    return Deployment(
        id="d",
        group="g",
        vendor=vendor,
        model=model,
        base_model=base_model,
        costs={field: Decimal(price) for field, price in costs.items()},
    )


def price(name: str, **costs: str) -> Price:
    found = TABLE.of(entry(name, **costs))
    assert found is not None, name
    return found


# -- the worked bills --------------------------------------------------------------------------------------------------


def worked_bills() -> list[tuple[str, ...]]:
    section = (
        (ROOT / "docs" / "cost.md").read_text(encoding="utf-8").partition("## Worked bills")[2].partition("\n## ")[0]
    )
    rows = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if line[:1] == "|"
    ]
    return rows[2:]


BILLS = worked_bills()


def usage_of(text: str) -> Usage:
    given = dict(pair.split("=") for pair in text.split())
    kinds = {field.name: str(field.type) for field in fields(Usage)}
    make = {"int": int, "float": float, "Decimal": Decimal}
    return Usage(**{name: make[kinds[name].split(" ")[0]](value) for name, value in given.items()})  # type: ignore[arg-type]


def arithmetic(text: str) -> Decimal:
    """The value of a line such as ``10 * 0.60 / 1,000,000 + 93 * 12 / 1,000,000``."""

    def value(node: ast.expr) -> Decimal:
        if isinstance(node, ast.Constant):
            return Decimal(ast.get_source_segment(source, node) or "")
        assert isinstance(node, ast.BinOp)
        left, right = value(node.left), value(node.right)
        if isinstance(node.op, ast.Mult):
            return left * right
        if isinstance(node.op, ast.Div):
            return left / right
        assert isinstance(node.op, ast.Add)
        return left + right

    source = text.replace("\N{MULTIPLICATION SIGN}", "*").replace(",", "")
    return value(ast.parse(source, mode="eval").body)


@pytest.mark.parametrize(
    ("model", "mode", "usage", "worked", "usd", "basis"), BILLS, ids=[f"{b[0]} {b[2]}" for b in BILLS]
)
def test_a_worked_bill_of_the_documentation(
    model: str, mode: str, usage: str, worked: str, usd: str, basis: str
) -> None:
    assert round(arithmetic(worked), 12) == Decimal(usd), "the figure is not what its arithmetic gives"
    cost = bill(TABLE.of(entry(model.strip("`"))), usage_of(usage), MODES[mode])
    assert cost == Cost(Decimal(usd), basis)  # type: ignore[arg-type]


def test_the_documentation_works_out_bills_of_thirty_models_and_more() -> None:
    assert len({bill[0] for bill in BILLS}) >= 30
    assert {bill[5] for bill in BILLS} >= {"vendor", "tokens", "characters", "seconds", "estimate", "free"}


# -- bills worked out here, independent of the documentation -----------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "mode", "usage", "usd"),
    [
        # A bill that OpenAI's cost API named in November 2025: 4,095 characters, $0.061425.
        ("openai/tts-1", SPEECH, Usage(characters=4095), "0.061425"),
        # A million of everything costs what the price page says.
        ("openai/tts-1-hd", SPEECH, Usage(characters=1_000_000), "30"),
        ("elevenlabs/eleven_turbo_v2_5", SPEECH, Usage(characters=1_000_000), "40"),
        ("deepgram/aura-2-zeus-en", SPEECH, Usage(characters=1_000_000), "30"),
        ("openai/gpt-4o-mini-tts", SPEECH, Usage(input_text_tokens=1_000_000, output_audio_tokens=0), "0.6"),
        ("openai/gpt-4o-mini-tts", SPEECH, Usage(input_text_tokens=0, output_audio_tokens=1_000_000), "12"),
        ("openai/gpt-realtime-2.1-mini", SPEECH, Usage(output_text_tokens=1_000_000), "2.4"),
        # An hour costs what the vendor asks for an hour.
        ("openai/whisper-1", TRANSCRIPTION, Usage(seconds_in=3600), "0.36"),
        ("groq/whisper-large-v3", TRANSCRIPTION, Usage(seconds_in=3600), "0.111"),
        ("elevenlabs/scribe_v1", TRANSCRIPTION, Usage(seconds_in=3600), "0.22"),
        ("assemblyai/universal-2", TRANSCRIPTION, Usage(seconds_in=3600.0), "0.15"),
        # A tenth of a second is a tenth, not a binary neighbour of it.
        ("deepgram/nova-3", TRANSCRIPTION, Usage(seconds_in=0.3), "0.0000385"),
    ],
)
def test_a_bill_worked_out_by_hand(model: str, mode: Mode, usage: Usage, usd: str) -> None:
    assert price(model).cost(usage, mode).amount == Decimal(usd)


def test_cached_tokens_cost_their_own_price_and_are_counted_once() -> None:
    # 1,000 of text (400 cached), 500 of audio (200 cached): 600 * 0.60 + 400 * 0.06 + 300 * 10 + 200 * 0.30 = 3,444
    usage = Usage(
        input_text_tokens=1000,
        cached_text_tokens=400,
        input_audio_tokens=500,
        cached_audio_tokens=200,
        output_audio_tokens=0,
    )
    assert price("openai/gpt-realtime-2.1-mini").cost(usage, SPEECH) == Cost(Decimal("0.003444"), "tokens")


def test_cached_tokens_without_a_price_of_their_own_cost_what_the_others_do() -> None:
    usage = Usage(input_text_tokens=1000, cached_text_tokens=400, output_audio_tokens=0)
    assert price("openai/gpt-4o-mini-tts").cost(usage, SPEECH).amount == Decimal("0.0006")


def test_more_cached_tokens_than_tokens_make_no_negative_bill() -> None:
    usage = Usage(input_text_tokens=10, cached_text_tokens=1_000_000, output_audio_tokens=0)
    assert price("openai/gpt-realtime-2.1-mini").cost(usage, SPEECH).amount == Decimal("0.0000006")


# -- how vendors count -------------------------------------------------------------------------------------------------


def test_characters_are_code_points_with_white_space() -> None:
    assert price("openai/tts-1").characters("") == 0
    assert price("openai/tts-1").characters(" a\n\té ") == 6
    assert price("openai/tts-1").characters("e\u0301👍🏽") == 4
    assert price("openai/tts-1").characters("東京") == 2


def test_azure_speech_counts_chinese_characters_twice_and_kana_and_hangul_once() -> None:
    counted = price("azure/speech/azure-tts").characters
    assert counted("Tokyo ") == 6
    assert counted("東京") == 4
    assert counted("東京タワーです") == 9
    assert counted("大韓民國 서울") == 11
    assert counted("𠮷") == 2


@pytest.mark.parametrize(("seconds", "billed"), [(0.01, 10), (9.99, 10), (10.0, 10), (10.5, Decimal("10.5"))])
def test_groq_bills_ten_seconds_at_least(seconds: float, billed: Decimal) -> None:
    cost = price("groq/whisper-large-v3-turbo").cost(Usage(seconds_in=seconds), TRANSCRIPTION)
    assert cost.amount == round(billed * Decimal("0.04") / 3600, 12)


@pytest.mark.parametrize(("seconds", "billed"), [(0.2, 1), (1.0, 1), (1.001, 2), (59.9, 60)])
def test_openai_counts_whole_seconds_rounded_up(seconds: float, billed: int) -> None:
    """So the bill is the same whether the answer said 2 whole seconds or a duration of 1.7."""
    assert price("openai/whisper-1").cost(Usage(seconds_in=seconds), TRANSCRIPTION).amount == billed * Decimal("0.0001")


# -- which unit --------------------------------------------------------------------------------------------------------


def test_what_the_vendor_says_it_charged_is_the_cost() -> None:
    usage = Usage(characters=1000, cost=Decimal("0.00042"))
    assert price("openai/tts-1").cost(usage, SPEECH) == Cost(Decimal("0.00042"), "vendor")
    assert bill(None, usage, SPEECH) == Cost(Decimal("0.00042"), "vendor")


@pytest.mark.parametrize("nonsense", ["NaN", "Infinity", "-0.01"])
def test_what_the_vendor_says_is_not_taken_where_it_is_no_amount(nonsense: str) -> None:
    usage = Usage(characters=1000, cost=Decimal(nonsense))
    assert price("openai/tts-1").cost(usage, SPEECH) == Cost(Decimal("0.015"), "characters")


def test_tokens_are_billed_and_not_the_seconds_beside_them() -> None:
    usage = Usage(characters=40, input_text_tokens=10, output_audio_tokens=93, seconds_out=4.65)
    assert price("openai/gpt-4o-mini-tts").cost(usage, SPEECH) == Cost(Decimal("0.001122"), "tokens")


def test_a_count_of_what_went_in_is_no_bill_for_speech() -> None:
    """A call that was cut off: the vendor had not said yet what it spoke."""
    cut = Usage(input_text_tokens=10, seconds_out=60)
    assert price("openai/gpt-4o-mini-tts").cost(cut, SPEECH) == Cost(Decimal("0.015"), "estimate")
    assert price("openai/gpt-4o-mini-tts").cost(replace(cut, seconds_out=None), SPEECH) == UNKNOWN


def test_without_tokens_the_duration_stands_in_whatever_the_format_of_the_answer() -> None:
    assert price("openai/gpt-4o-transcribe").cost(Usage(seconds_in=120), TRANSCRIPTION) == Cost(
        Decimal("0.012"), "estimate"
    )


@pytest.mark.parametrize("model", ["openai/whisper-1", "groq/whisper-large-v3", "openai/gpt-4o-transcribe"])
@pytest.mark.parametrize("seconds", [None, float("nan"), float("inf"), -1.0])
def test_without_seconds_a_transcription_is_unknown_and_not_free(model: str, seconds: float | None) -> None:
    assert price(model).cost(Usage(seconds_in=seconds), TRANSCRIPTION) == UNKNOWN


def test_without_characters_speech_is_unknown_and_not_free() -> None:
    assert price("openai/tts-1").cost(Usage(seconds_out=10), SPEECH) == UNKNOWN


def test_the_seconds_of_the_other_direction_are_not_billed() -> None:
    assert price("openai/whisper-1").cost(Usage(seconds_out=10), TRANSCRIPTION) == UNKNOWN


def test_local_engines_are_free_even_where_nothing_was_counted() -> None:
    assert price("local/pocketsphinx").cost(Usage(), TRANSCRIPTION) == FREE
    assert price("local/espeak-ng").cost(Usage(characters=10), SPEECH) == FREE


def test_a_missing_price_or_usage_is_unknown() -> None:
    assert bill(None, Usage(characters=1), SPEECH) == UNKNOWN
    assert bill(None, None, SPEECH) == UNKNOWN
    assert bill(price("openai/tts-1"), None, SPEECH) == UNKNOWN
    assert bill(price("local/espeak-ng"), None, SPEECH) == FREE
    assert UNKNOWN.amount is None
    assert UNKNOWN.text is None


def test_the_text_of_an_amount_has_no_exponent() -> None:
    assert str(Decimal("0.0000006")) == "6E-7"
    assert Cost(Decimal("0.0000006"), "tokens").text == "0.0000006"
    assert Cost(Decimal("1E+2"), "tokens").text == "100"


def test_an_absurd_count_makes_a_bill_and_no_exception() -> None:
    cost = price("groq/whisper-large-v3").cost(Usage(seconds_in=1e30), TRANSCRIPTION)
    assert cost.amount is not None
    assert cost.amount > 10**24
    charged = Decimal("12345678901234567890.1234567890123456789")
    assert bill(None, Usage(cost=charged), SPEECH) == Cost(charged, "vendor")


# -- which row ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("openai/tts-1", "openai/tts-1"),
        ("openai/tts-1-1106", "openai/tts-1"),
        ("openai/tts-1-hd-1106", "openai/tts-1-hd"),
        ("openai/gpt-4o-mini-transcribe-2025-03-20", "openai/gpt-4o-mini-transcribe"),
        ("openai/gpt-realtime-2025-08-28", "openai/gpt-realtime"),
        ("deepgram/aura-2-thalia-en", "deepgram/aura-2"),
        ("deepgram/aura-asteria-en", "deepgram/aura"),
        ("deepgram/nova-2-medical", "deepgram/nova-2"),
        ("deepgram/nova-3-medical", "deepgram/nova-3-medical"),
        ("mistral/voxtral-mini-latest", "mistral/voxtral-mini-2602"),
        ("fireworks_ai/accounts/fireworks/models/whisper-v3", "fireworks_ai/whisper-v3"),
        ("local/anything", "local/espeak-ng"),
    ],
)
def test_the_row_of_a_name(name: str, key: str) -> None:
    row = TABLE.find(name)
    assert row is not None
    assert row.key == key


@pytest.mark.parametrize(
    "name",
    [
        "openai/gpt-transcribe-mini",
        "openai/whisper",
        "deepgram/flux-alexis-en",
        "deepgram/nova-4",
        "assemblyai/assemblyai-tts-1",
        "openai_compatible/tts-1",
        "openai/",
        "",
    ],
)
def test_a_model_that_is_not_in_the_table_has_no_price(name: str) -> None:
    """Above all not that of a model whose name is nearly the same."""
    assert TABLE.find(name) is None


def test_a_deployment_without_a_price_has_none() -> None:
    assert TABLE.of(entry("hosted_vllm/whisper")) is None


@pytest.mark.parametrize("base", ["gpt-4o-mini-tts", "azure/gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15"])
def test_the_base_model_goes_first(base: str) -> None:
    for model in ("azure/my-deployment", "azure/tts-1"):
        found = TABLE.of(entry(model, base_model=base))
        assert found is not None
        assert found.prices["output_cost_per_audio_token"] == Decimal("0.000012")


def test_a_base_model_of_openai_serves_other_vendors() -> None:
    found = TABLE.of(entry("openai_compatible/mine", base_model="whisper-1"))
    assert found is not None
    assert found.cost(Usage(seconds_in=60), TRANSCRIPTION).amount == Decimal("0.006")


def test_an_unknown_base_model_leaves_the_model() -> None:
    found = TABLE.of(entry("openai/tts-1", base_model="what-is-this"))
    assert found is not None
    assert found.cost(Usage(characters=1000), SPEECH).amount == Decimal("0.015")


def test_a_dated_price_holds_from_its_day() -> None:
    usage = Usage(input_text_tokens=1_000_000, output_audio_tokens=1_000_000)
    until = Prices(date(2026, 12, 31)).of(entry("gemini/gemini-3.8-flash-tts"))
    after = Prices(date(2027, 1, 1)).of(entry("gemini/gemini-3.8-flash-tts"))
    assert until is not None
    assert after is not None
    assert until.cost(usage, SPEECH).amount == Decimal("9.5")
    assert after.cost(usage, SPEECH).amount == Decimal("19")


# -- prices of an entry ------------------------------------------------------------------------------------------------

SPOKEN = Usage(characters=1000, input_text_tokens=100, output_audio_tokens=1000, seconds_out=50)
HEARD = Usage(seconds_in=60, input_audio_tokens=600, input_text_tokens=10, output_text_tokens=200)
REALTIME = Usage(input_text_tokens=1000, cached_text_tokens=500, output_text_tokens=100, output_audio_tokens=1000)


@pytest.mark.parametrize(
    ("model", "mode", "usage", "costs", "usd", "basis"),
    [
        # The same unit: the entry's price.
        ("openai/tts-1", SPEECH, SPOKEN, {"input_cost_per_character": "0.00001"}, "0.01", "characters"),
        ("openai/whisper-1", TRANSCRIPTION, HEARD, {"input_cost_per_second": "0.00005"}, "0.003", "seconds"),
        # Another unit: only that.
        ("openai/gpt-4o-mini-tts", SPEECH, SPOKEN, {"input_cost_per_character": "0.00001"}, "0.01", "characters"),
        ("openai/gpt-4o-mini-tts", SPEECH, SPOKEN, {"output_cost_per_second": "0.0002"}, "0.01", "seconds"),
        ("openai/gpt-4o-transcribe", TRANSCRIPTION, HEARD, {"input_cost_per_second": "0.0001"}, "0.006", "seconds"),
        ("openai/gpt-4o-mini-tts", SPEECH, SPOKEN, {"input_cost_per_request": "0.01"}, "0.01", "request"),
        # A request on top: 0.01 + 1,000 * 0.00001.
        (
            "openai/tts-1",
            SPEECH,
            SPOKEN,
            {"input_cost_per_character": "0.00001", "input_cost_per_request": "0.01"},
            "0.02",
            "characters",
        ),
        # One kind of token: 100 * 0.60 + 1,000 * 10 a million.
        ("openai/gpt-4o-mini-tts", SPEECH, SPOKEN, {"output_cost_per_audio_token": "0.00001"}, "0.01006", "tokens"),
        # The price of text is that of audio, too, if the entry says nothing else: 610 * 1 + 200 * 10 a million.
        ("openai/gpt-4o-transcribe", TRANSCRIPTION, HEARD, {"input_cost_per_token": "0.000001"}, "0.00261", "tokens"),
        # What goes in at 1 (cached, too), what comes out as in the table: 1,000 * 1 + 100 * 2.40 + 1,000 * 20.
        ("openai/gpt-realtime-2.1-mini", SPEECH, REALTIME, {"input_cost_per_token": "0.000001"}, "0.02124", "tokens"),
        # The cached ones at 0: 500 * 0.60 + 100 * 2.40 + 1,000 * 20.
        ("openai/gpt-realtime-2.1-mini", SPEECH, REALTIME, {"cache_read_input_token_cost": "0"}, "0.02054", "tokens"),
        # 0 is a price.
        ("openai/tts-1", SPEECH, SPOKEN, {"input_cost_per_character": "0"}, "0", "free"),
        ("openai/whisper-1", TRANSCRIPTION, Usage(), {"input_cost_per_second": "0"}, "0", "free"),
        (
            "openai/gpt-4o-mini-tts",
            SPEECH,
            Usage(seconds_out=60),
            {"input_cost_per_token": "0", "output_cost_per_token": "0"},
            "0",
            "free",
        ),
        # A model that the table does not have.
        ("hosted_vllm/mine", TRANSCRIPTION, HEARD, {"input_cost_per_second": "0.00002"}, "0.0012", "seconds"),
        # LiteLLM's own row of whisper-1, copied: one price, not two.
        (
            "openai/whisper-1",
            TRANSCRIPTION,
            HEARD,
            {"input_cost_per_second": "0.0001", "output_cost_per_second": "0.0001"},
            "0.006",
            "seconds",
        ),
        # LiteLLM's row of a transcription that only has the price of what comes out.
        (
            "soniox/stt-async-v5",
            TRANSCRIPTION,
            HEARD,
            {"input_cost_per_second": "0", "output_cost_per_second": "0.00003"},
            "0.0018",
            "seconds",
        ),
        # LiteLLM's row of gpt-4o-mini-tts, copied: tokens, not tokens and seconds: 100 * 0.60 + 1,000 * 12 a million.
        (
            "openai/gpt-4o-mini-tts",
            SPEECH,
            SPOKEN,
            {
                "input_cost_per_token": "0.0000006",
                "output_cost_per_token": "0.00001",
                "output_cost_per_audio_token": "0.000012",
                "output_cost_per_second": "0.00025",
            },
            "0.01206",
            "tokens",
        ),
        # A field that is no business of audio changes nothing.
        ("openai/tts-1", SPEECH, SPOKEN, {"input_cost_per_pixel": "1"}, "0.015", "characters"),
    ],
)
def test_the_prices_of_an_entry(
    model: str, mode: Mode, usage: Usage, costs: Mapping[str, str], usd: str, basis: str
) -> None:
    cost = price(model, **costs).cost(usage, mode)
    assert (cost.amount, cost.basis) == (Decimal(usd), basis)


def test_the_estimate_follows_the_price_of_a_token() -> None:
    spoken = Usage(seconds_out=60)
    assert price("openai/gpt-4o-mini-tts", output_cost_per_audio_token="0.000006").cost(spoken, SPEECH) == Cost(
        Decimal("0.0075"), "estimate"
    )


def test_the_estimate_is_that_of_the_entry_where_it_has_one() -> None:
    costs = {"output_cost_per_audio_token": "0.000012", "output_cost_per_second": "0.001"}
    cost = price("openai/gpt-4o-mini-tts", **costs).cost(Usage(seconds_out=60), SPEECH)
    assert cost == Cost(Decimal("0.06"), "estimate")


def test_an_entry_holds_against_what_the_vendor_says_and_the_table_does_not() -> None:
    usage = Usage(characters=1000, cost=Decimal("0.5"))
    assert price("openai/tts-1", input_cost_per_character="0").cost(usage, SPEECH) == FREE
    assert price("openai/tts-1").cost(usage, SPEECH).basis == "vendor"


def test_a_vendor_counts_as_it_does_whatever_the_price() -> None:
    groq = price("groq/whisper-large-v3", input_cost_per_second="0.001")
    assert groq.cost(Usage(seconds_in=2), TRANSCRIPTION).amount == Decimal("0.01")
    assert price("azure/speech/azure-tts", input_cost_per_character="0.00001").characters("東京") == 4


# -- what holds for every row ------------------------------------------------------------------------------------------

COUNTS = st.integers(min_value=0, max_value=10_000_000)
USAGES = st.builds(
    Usage,
    characters=COUNTS,
    seconds_in=st.floats(min_value=0, max_value=1e6),
    seconds_out=st.floats(min_value=0, max_value=1e6),
    input_text_tokens=COUNTS,
    input_audio_tokens=COUNTS,
    cached_text_tokens=COUNTS,
    cached_audio_tokens=COUNTS,
    output_text_tokens=COUNTS,
    output_audio_tokens=COUNTS,
)
#: What the vendor did not say.
GAPS = st.sets(st.sampled_from([field.name for field in fields(Usage) if field.name != "cost"]))
ANY_ROW = st.sampled_from(KEYS)
ANY_MODE = st.sampled_from(list(Mode))


@given(ANY_ROW, USAGES, GAPS, ANY_MODE)
def test_no_bill_is_negative_and_only_an_unknown_one_has_no_amount(
    key: str, usage: Usage, gaps: set[str], mode: Mode
) -> None:
    cost = price(key).cost(replace(usage, **dict.fromkeys(gaps)), mode)  # type: ignore[arg-type]
    assert (cost.amount is None) == (cost.basis == "unknown")
    assert cost.amount is None or cost.amount >= 0
    assert cost.amount is None or cost.amount.as_tuple().exponent >= -12  # type: ignore[operator]


@given(ANY_ROW, USAGES, USAGES, ANY_MODE)
def test_more_of_everything_never_costs_less(key: str, one: Usage, other: Usage, mode: Mode) -> None:
    counted = [
        field.name for field in fields(Usage) if field.name not in ("cost", "cached_text_tokens", "cached_audio_tokens")
    ]
    # Cached tokens are a discount: they are of the first call, and no more in the sum.
    total = replace(one, **{name: getattr(one, name) + getattr(other, name) for name in counted})
    less, more = price(key).cost(one, mode).amount, price(key).cost(total, mode).amount
    assert less is not None or more is None
    assert less is None or (more is not None and more >= less)


@given(ANY_ROW, COUNTS, COUNTS, ANY_MODE)
def test_two_calls_cost_as_much_as_one_of_both_where_nothing_is_rounded(
    key: str, one: int, other: int, mode: Mode
) -> None:
    def used(count: int) -> Usage:
        return Usage(
            characters=count,
            seconds_in=10.0 + count,
            seconds_out=float(count),
            input_text_tokens=count,
            input_audio_tokens=count,
            output_text_tokens=count,
            output_audio_tokens=count,
        )

    found = price(key)
    parts = [found.cost(used(count), mode).amount for count in (one, other)]
    base = found.cost(used(0), mode).amount
    whole = found.cost(used(one + other), mode).amount
    if base is None or whole is None or None in parts:
        assert parts == [None, None]
        assert base is whole is None
        return
    assert abs(sum(part for part in parts if part is not None) - whole - base) <= Decimal("4E-12")


@given(st.floats(min_value=0, max_value=10))
def test_nothing_below_the_least_billed_duration_is_cheaper(seconds: float) -> None:
    groq = price("groq/whisper-large-v3")
    least = groq.cost(Usage(seconds_in=10), TRANSCRIPTION)
    assert groq.cost(Usage(seconds_in=seconds), TRANSCRIPTION) == least


@given(st.text(), st.text())
def test_characters_add_up(one: str, other: str) -> None:
    for model in ("openai/tts-1", "azure/speech/azure-tts"):
        counted = price(model).characters
        assert counted(one + other) == counted(one) + counted(other)
        assert len(one) <= counted(one) <= 2 * len(one)


# -- the table itself --------------------------------------------------------------------------------------------------


def test_every_row_says_where_and_when_it_was_read() -> None:
    for key, row in TABLE.rows.items():
        assert len(row.source) > 10, key
        assert date(2026, 1, 1) <= date.fromisoformat(row.as_of) <= DAY, key


def test_no_row_has_a_price_that_is_a_binary_fraction_or_has_an_unknown_name() -> None:
    text = (ROOT / "proxy" / "accounting" / "prices.json").read_text(encoding="utf-8")
    rules = {field.name for field in fields(Counting)} | {"also", "from", "source", "date"}
    for key, fields_of_row in json.loads(text, parse_float=pytest.fail).items():
        assert set(fields_of_row) <= rules | set(UNITS), key
        for name in set(fields_of_row) & set(UNITS):
            assert isinstance(fields_of_row[name], str), (key, name)
            assert re.fullmatch(r"[0-9.]+(/[0-9]+)?", fields_of_row[name]), (key, name)


def test_every_row_can_be_billed_by_what_its_vendor_or_the_proxy_counts() -> None:
    usage = Usage(characters=100, seconds_in=30, seconds_out=30)
    for key in KEYS:
        known = [price(key).cost(usage, mode).amount for mode in Mode]
        assert any(amount is not None for amount in known), f"{key}: an answer without tokens would never have a bill"


def test_every_price_is_plausible() -> None:
    """A slip of the pen by a factor of ten or more would not pass."""
    for key, row in TABLE.rows.items():
        if key == "local/espeak-ng":
            continue
        shown = row.price({})
        hour = shown.prices.get("input_cost_per_second", shown.estimated_second)
        characters = shown.prices.get("input_cost_per_character")
        assert (hour is not None) != (characters is not None), key
        assert hour is None or Decimal("0.01") <= hour * 3600 <= 5, key
        assert characters is None or Decimal("0.5") <= characters * 1_000_000 <= 100, key


def test_no_alias_is_given_twice_or_hides_a_row() -> None:
    content = json.loads((ROOT / "proxy" / "accounting" / "prices.json").read_text(encoding="utf-8"))
    aliases = [alias for row in content.values() for alias in row.get("also", ())]
    assert len(aliases) == len(set(aliases))
    assert not set(aliases) & set(content)


def test_the_table_is_read_when_it_is_first_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Prices, "PATH", tmp_path / "missing.json")
    prices = Prices()
    with pytest.raises(FileNotFoundError):
        prices.find("openai/tts-1")


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_the_table(tmp_path: Path) -> None:
    done = command("prices", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if "/" in line.split(" ")[0]}
    assert set(rows) >= set(KEYS)
    assert " 0.36 " in rows["openai/whisper-1"]
    assert " 0.015 " in rows["openai/tts-1"]
    assert "audio out 12" in rows["openai/gpt-4o-mini-tts"]


def test_the_command_prints_one_model_with_source_and_date(tmp_path: Path) -> None:
    done = command("prices", "deepgram/aura-2-thalia-en", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    for said in ("deepgram/aura-2 ", "0.00003", "0.03 per 1,000 characters", "deepgram.com/pricing", "2026-08-01"):
        assert said in done.stdout


def test_the_command_finds_a_model_without_its_vendor(tmp_path: Path) -> None:
    done = command("prices", "gpt-4o-mini-tts", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "openai/gpt-4o-mini-tts\n" in done.stdout
    assert "azure/gpt-4o-mini-tts\n" in done.stdout
    assert "about 0.9 per hour of audio" in done.stdout


def test_the_command_says_that_a_model_has_no_price(tmp_path: Path) -> None:
    done = command("prices", "nobody/nothing", folder=tmp_path)
    assert done.returncode == 1
    assert "no price of 'nobody/nothing' is known" in done.stderr
