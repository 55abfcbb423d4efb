from __future__ import annotations

import pytest

from proxy.engines import voices
from proxy.errors import UnsupportedValue

OPENAI = [
    "alloy",
    "ash",
    "ballad",
    "cedar",
    "coral",
    "echo",
    "fable",
    "marin",
    "nova",
    "onyx",
    "sage",
    "shimmer",
    "verse",
]


def test_all_of_openais_voices_are_there_and_differ() -> None:
    assert sorted(voices.OPENAI) == OPENAI
    assert len(set(voices.OPENAI.values())) == len(OPENAI)


@pytest.mark.parametrize(
    ("voice", "language", "variant"),
    [
        ("de", "de", ""),
        ("en-gb+f2", "en-gb", "f2"),
        ("EN-US", "en-us", ""),
        ("en-gb-x-rp+Andrea", "en-gb-x-rp", "andrea"),
    ],
)
def test_espeaks_own_ids_are_taken_apart(voice: str, language: str, variant: str) -> None:
    assert voices.parse(voice) == voices.EspeakVoice(language, variant)


@pytest.mark.parametrize(
    "voice",
    [
        *(
            "../x",
            "mb/mb-en1",
            "/etc/passwd",
            "en/../../etc/passwd",
            "en+../../etc/passwd",
            "en+f2/../x",
            "..",
            ".",
            "en\0",
        ),
        *(
            "",
            " ",
            "en ",
            "en\n",
            "en+",
            "+f2",
            "en+f1+f2",
            "en-",
            "de%2e%2e",
            "C:\\x",
            "!v/f1",
            "énglish",
            "en-\u0661",
            "a" * 9000,
        ),
    ],
)
def test_hostile_ids_are_refused(voice: str) -> None:
    with pytest.raises(UnsupportedValue) as refusal:
        voices.parse(voice)
    assert refusal.value.param == "voice"
    assert len(refusal.value.message) < 400
