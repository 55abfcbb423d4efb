"""What a caller gets who asks for subtitles, and the vendor's answer is none."""

from __future__ import annotations

import pytest

from proxy.calls.transcripts import rendered, whole_document
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.transcript import Segment, Transcript
from proxy.errors import UpstreamInvalid
from proxy.http.messages import Response
from tests.fakes import messages
from tests.providers.attempts import Held

SRT = b"1\n00:00:00,000 --> 00:00:01,000\nHello.\n\n"


def wish(response_format: str) -> TranscriptionRequest:
    return TranscriptionRequest("m", Held(b"RIFF"), response_format=response_format)


def answer(stated: str) -> Response:
    return messages.response(200, headers={"content-type": stated})


@pytest.mark.parametrize("wanted", ["srt", "vtt", "text"])
@pytest.mark.parametrize("body", [b'{"text":"a","segments":[[[', b'{"text":"a","duration":NaN}', b'{"error"'])
def test_a_broken_document_is_no_transcript(wanted: str, body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        whole_document(wish(wanted), answer("application/json"), body, None)


@pytest.mark.parametrize("stated", ["text/plain", "application/json", ""])
def test_subtitles_pass_under_any_name(stated: str) -> None:
    assert whole_document(wish("srt"), answer(stated), SRT, None).first == SRT


def test_a_text_may_begin_like_a_document() -> None:
    assert whole_document(wish("text"), answer("text/plain"), b'{"Quoted", she said', None).first.startswith(b"{")


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
def test_subtitles_without_any_time_are_none(wanted: str) -> None:
    with pytest.raises(UpstreamInvalid):
        rendered(wish(wanted), Transcript(text="Hello."), answer("application/json"), None)


@pytest.mark.parametrize(
    "found",
    [
        Transcript(text=""),
        Transcript(text="Hi.", duration=2.0),
        Transcript(text="Hi.", segments=(Segment(0, 0, 1, "Hi."),)),
    ],
)
def test_subtitles_of_what_has_times_or_no_words(found: Transcript) -> None:
    rendered(wish("srt"), found, answer("application/json"), None)
