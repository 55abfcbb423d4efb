"""Error messages that may be stored: what happened is still there, and what the caller said is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.domain.blotting import BLOT, MAX_LENGTH, blotted

SAID = "Dear Anna, your appointment on Monday is confirmed. Bring the blue folder."


@pytest.mark.parametrize(
    "message",
    [
        "The model `gpt-9` does not exist.",
        "voice 'bob' is not one of the voices of 'tts': alloy, ash, ballad.",
        "The Content-Type must be multipart/form-data, not 'text/plain'.",
        "You didn't provide a voice; it's required.",
        "Maximum content size limit (26214400) exceeded (26214599 bytes read)",
        "upstream status 500, type server_error, code None",
        "[Errno 13] Permission denied: '/var/lib/audio-proxy/x.part'",
        "canopylabs/orpheus-v1-english_2026-12-01T06:00:00Z failed",
        "Größe und Länge passen nicht",
    ],
)
def test_what_happened_stays(message: str) -> None:
    assert blotted(message, (SAID, "", "a")) == message


@pytest.mark.parametrize(
    ("message", "gone"),
    [
        ("Invalid input: Dear Anna, your appointment on Monday is confirmed.", "Anna"),
        ("Invalid input:\n  Dear   Anna,\n your appointment", "Anna"),
        ("...the blue folder. is not speakable", "folder"),
        ("voice 'Anna from next door' is unknown", "next door"),
        ("The model `sk-proj-0123456789` does not exist", "0123456789"),
        ("Incorrect API key provided: sk-abc****wxyz.", "wxyz"),
        ("key 0123456789abcdef0123456789abcdef is wrong", "0123456789abcdef"),
        ("Authorization: Bearer abcdefghijkl is wrong", "abcdefghijkl"),
        ("card 4929 3813 3266 4295 found", "3813"),
        ("call +49 151 2345678 now", "2345678"),
        ("write to anna.k@example.com", "anna.k"),
    ],
)
def test_what_was_said_and_secrets_are_gone(message: str, gone: str) -> None:
    assert gone in message
    text = blotted(message, (SAID,))
    assert gone not in text
    assert BLOT in text


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("文本 「你好世界今天天气」 无效", "你好世界今天天气很好"),
        ("bad text 'Hello'", "Hello"),
        ("неверный текст: привет, мир!", "привет, мир!"),
    ],
)
def test_other_scripts_and_short_texts_too(message: str, said: str) -> None:
    assert said[:5] not in blotted(message, (said,))


def test_a_part_of_a_key_at_the_end_of_a_long_message_is_dropped() -> None:
    for length in range(560, 620):
        assert "sk-pro" not in blotted("x " * (length // 2) + "sk-proj-0123456789abcdef")


@settings(deadline=None)
@given(st.text(max_size=2000), st.text(max_size=200))
def test_any_text_becomes_one_short_line(message: str, said: str) -> None:
    text = blotted(message, (said,))
    assert len(text) <= MAX_LENGTH
    assert text.isprintable()
    text.encode()
