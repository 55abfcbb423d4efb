"""Where a long text is cut."""

# ruff: noqa: RUF001

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.matching.sentences import pieces


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("Then he came. Dr. Smith left. All good.", 20, ["Then he came.", "Dr. Smith left.", "All good."]),
        ("short", 10, ["short"]),
        ("One two. Three four. Five six.", 20, ["One two. Three four.", "Five six."]),
        ("One two.\n\nthree four five", 20, ["One two.", "three four five"]),
        ('He said "Go." She went away.', 15, ['He said "Go."', "She went away."]),
        ("It costs 3.14 dollars, they say, or 2.71", 25, ["It costs 3.14 dollars,", "they say, or 2.71"]),
        ("one two three four five", 10, ["one two", "three four", "five"]),
        ("eins zwei z. B. drei vier fünf", 16, ["eins zwei z. B.", "drei vier fünf"]),
        ("abcdefghijklmnop", 6, ["abcdef", "ghijkl", "mnop"]),
        ("今天天气很好。我们去公园吧！好不好？", 10, ["今天天气很好。", "我们去公园吧！", "好不好？"]),
        ("今天天气很好，我们去公园吧", 10, ["今天天气很好，", "我们去公园吧"]),
        ("नमस्ते दुनिया। यह एक परीक्षा है।", 18, ["नमस्ते दुनिया।", "यह एक परीक्षा है।"]),
    ],
)
def test_it_is_cut_where_a_reader_breathes(text: str, most: int, expected: list[str]) -> None:
    assert pieces(text, most) == expected


def test_an_early_end_of_a_sentence_is_no_place_to_cut() -> None:
    text = "Hm. " + "word " * 30
    assert len(pieces(text, 80)[0]) > 40


@pytest.mark.parametrize("letter", ["e\u0301", "👍🏽", "👩\u200d👩\u200d👧", "❤\ufe0f", "क्\u200dष"])
def test_no_letter_is_torn(letter: str) -> None:
    for most in range(len(letter), 3 * len(letter)):
        assert all(len(piece) % len(letter) == 0 for piece in pieces(letter * 20, most))


@given(st.text(alphabet="ab. ,!\n\u0301。、\u200d1", max_size=200), st.integers(1, 40))
def test_nothing_is_lost_and_no_piece_is_too_long(text: str, most: int) -> None:
    found = pieces(text, most)
    assert all(0 < len(piece) <= most for piece in found)
    assert "".join("".join(found).split()) == "".join(text.split())
