"""Texts of clients in a spreadsheet stay texts."""

from __future__ import annotations

import csv
import io

import pytest

from proxy.api.usage import as_csv


def cell(text: str) -> str:
    rows = list(csv.reader(io.StringIO(as_csv(["end_user"], [{"end_user": text}]), newline="")))
    return rows[1][0]


@pytest.mark.parametrize("hidden", ["", "\ufeff", "\u202e", "\u200b\u2066", " ", "\u00a0\ufeff", "\u00ad"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u2212", "\ufe62"])
def test_no_cell_begins_a_formula(hidden: str, sign: str) -> None:
    text = f"{hidden}{sign}HYPERLINK(1)"
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["\tx", "\rx", "\nx"])
def test_nor_do_control_characters(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("text", ["anna", "a=b", "anna@example.com", "", "\ufeffanna", "\u00e9-1", "0"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert cell(text) == text
