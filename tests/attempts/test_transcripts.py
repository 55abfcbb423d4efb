"""What a caller gets who asks for subtitles, and the vendor's answer is none."""

from __future__ import annotations

import pytest

from proxy.attempts.transcription import check_times, document
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.results import RawDocument
from proxy.domain.transcript import Segment, Transcript
from proxy.errors import UpstreamInvalid
from tests.providers.attempts import Held

SRT = b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n\n"


def wish(response_format: str) -> TranscriptionRequest:
    return TranscriptionRequest("m", Held(b"RIFF"), response_format=response_format)


@pytest.mark.parametrize("wanted", ["srt", "vtt", "text"])
@pytest.mark.parametrize("body", [b'{"text":"a","segments":[[[', b'{"text":3,"duration":NaN}', b'{"error"'])
def test_a_broken_document_is_no_transcript(wanted: str, body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        document(wish(wanted), body, "application/json")


@pytest.mark.parametrize("stated", ["text/plain", "application/json", ""])
def test_subtitles_pass_under_any_name(stated: str) -> None:
    assert document(wish("srt"), SRT, stated)[0] == RawDocument(SRT, "text/plain; charset=utf-8")


def test_a_text_may_begin_like_a_document() -> None:
    content, _ = document(wish("text"), b'{"Quoted", she said', "text/plain")
    assert isinstance(content, RawDocument)
    assert content.content.startswith(b"{")


def test_subtitles_without_any_time_are_none() -> None:
    with pytest.raises(UpstreamInvalid):
        check_times(Transcript(text="Hello."))


@pytest.mark.parametrize(
    "found",
    [
        Transcript(text=""),
        Transcript(text="Hi.", duration=2.0),
        Transcript(text="Hi.", segments=(Segment(0, 0, 1, "Hi."),)),
    ],
)
def test_subtitles_of_what_has_times_or_no_words(found: Transcript) -> None:
    check_times(found)
