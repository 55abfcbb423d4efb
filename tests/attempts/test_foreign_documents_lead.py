"""Documents of servers that are not OpenAI, in every format that a caller may request."""

from __future__ import annotations

import json
from typing import Any

import pysubs2
import pytest
from openai.types.audio import TranscriptionVerbose

from proxy.attempts.transcription import document
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.results import TranscriptionResult
from proxy.errors import UpstreamInvalid
from proxy.render.transcription import render_transcription
from tests.providers.attempts import Held

JSON = "application/json"
SRT = "1\n00:00:00,000 --> 00:00:01,500\nHello.\n\n2\n00:00:02,000 --> 00:01:03,250\nBye.\n\n"
VTT = "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello.\n\n00:00:02.000 --> 00:01:03.250\nBye.\n\n"
SEGMENTS = [{"start": 0, "end": 1.5, "text": "Hello."}, {"start": 2, "end": 63.25, "text": "Bye."}]
OPENAI_SEGMENT = {
    "id": 0, "seek": 0, "start": 0.0, "end": 1.5, "text": "Hello.", "tokens": [1], "temperature": 0.0,
    "avg_logprob": -0.1, "compression_ratio": 1.0, "no_speech_prob": 0.0,
}  # fmt: skip
OPENAI = {"task": "transcribe", "language": "english", "duration": 1.5, "text": "Hello.", "segments": [OPENAI_SEGMENT]}


def answered(
    body: Any, wanted: str, content_type: str = JSON, granularities: tuple[str, ...] = ()
) -> tuple[bytes, str]:
    """What the caller gets for a vendor's body."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = TranscriptionRequest("m", Held(b"RIFF"), response_format=wanted, timestamp_granularities=granularities)
    found, _ = document(request, content, content_type)
    rendered = render_transcription(TranscriptionResult(found), request)
    return rendered.first, rendered.content_type


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
@pytest.mark.parametrize("kind", [JSON, "Application/JSON; charset=UTF-8", "text/plain", ""])
@pytest.mark.parametrize(
    "body",
    [
        {"text": VTT},
        {"text": SRT},
        {"text": "\ufeff" + VTT},
        VTT,
        SRT,
        {"text": "Hello. Bye.", "segments": SEGMENTS},
        {"segments": SEGMENTS},
        SEGMENTS,
        {"text": "x", "chunks": [{"text": "Hello.", "timestamp": [0, 1.5]}, {"text": "Bye.", "timestamp": [2, 63.25]}]},
        {"transcription": [
            {"text": " Hello.", "offsets": {"from": 0, "to": 1500}},
            {"text": " Bye.", "timestamps": {"from": "00:00:02,000", "to": "00:01:03,250"}},
        ]},
        {"text": "x", "segments": {"0": SEGMENTS[0], "1": SEGMENTS[1]}},
        {"text": "x", "segments": [{"start": "00:00:00.000", "end": "1.5s", "text": "Hello."},
                                   {"start_time": "0:02", "end_time": "01:03.250", "text": "Bye."}]},
    ],
)  # fmt: skip
def test_subtitles_from_whatever_has_times(body: Any, kind: str, wanted: str) -> None:
    if isinstance(body, str) and kind in ("text/plain", ""):
        pytest.skip("a text in quotes is that text")
    content, content_type = answered(body, wanted, kind)
    assert content_type == "text/plain; charset=utf-8"
    cues = pysubs2.SSAFile.from_string(content.decode(), format_=wanted)
    assert [(cue.start, cue.end, cue.text.strip()) for cue in cues] == [(0, 1500, "Hello."), (2000, 63250, "Bye.")]
    assert content.startswith(b"WEBVTT" if wanted == "vtt" else b"1\n")


@pytest.mark.parametrize(("sent", "wanted"), [(SRT, "vtt"), (VTT, "srt"), (SRT.replace("\n", "\r\n"), "vtt")])
def test_the_other_kind_of_subtitles_is_converted(sent: str, wanted: str) -> None:
    expected = {"srt": SRT, "vtt": VTT}[wanted].encode()
    assert answered(sent.encode(), wanted, "text/plain")[0] == expected
    assert answered({"srt": SRT, "vtt": VTT}[wanted].encode(), wanted, "text/vtt")[0] == expected


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"text": "Hello."}, JSON),
        ({"text": "Hello."}, "Application/JSON"),
        ({"text": "Hello."}, "text/plain"),
        ("Hello.", JSON),
        ({"transcript": "Hello."}, JSON),
        ({"result": {"text": "Hello."}}, JSON),
        ({"text": None, "segments": [{"start": 0, "end": 1, "text": " Hello."}]}, JSON),
        (b"Hello.", "text/plain"),
        (b"\xef\xbb\xbfHello.", "text/plain"),
        ("Hello.".encode("utf-16"), "text/plain"),
    ],
)
def test_a_text_in_any_wrapping(body: Any, kind: str) -> None:
    content, content_type = answered(body, "text", kind)
    assert content.strip() == b"Hello."
    assert content_type == "text/plain; charset=utf-8"
    assert json.loads(answered(body, "json", kind)[0])["text"].strip() == "Hello."


@pytest.mark.parametrize("wanted", ["json", "text", "verbose_json"])
@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'\xef\xbb\xbf{"text": "Hello."}', "Hello."),
        (b'{"text": "Hello.", "score": NaN, "duration": -Infinity}', "Hello."),
        ('{"text": "Grüße"}'.encode("latin-1"), "Grüße"),
        ('{"text": "Grüße"}'.encode("utf-16"), "Grüße"),
        (b'{"text": "a\\ud83d\\ude00b"}', "a\U0001f600b"),
        (b'{"text": "a\\ud83db"}', "a\ufffdb"),
        (b'{"text": "two\nlines"}', "two\nlines"),
    ],
)
def test_what_is_hardly_json_survives(body: bytes, text: str, wanted: str) -> None:
    content, _ = answered(body, wanted)
    found = content.decode().strip() if wanted == "text" else json.loads(content, parse_constant=pytest.fail)["text"]
    assert found == text


@pytest.mark.parametrize(
    "body",
    [
        {"text": "Hello."},
        {"text": "Hello.", "segments": None, "language": None, "duration": None},
        {"text": "Hello.", "duration": "1.5", "segments": [{"start": "0", "end": "1.5", "text": "Hello."}]},
        {"text": "Hello.", "words": [{"word": "Hello.", "start": 0, "end": 1.5}]},
        {"text": "Hello.", "words": [{"text": "Hello.", "start": 0, "end": 1.5}]},
        {"text": "Hello.", "segments": [{"id": 4, "start": 0, "end": 1, "text": "Hello.", "avg_logprob": None}]},
        "Hello.",
        [{"start": 0, "end": 1, "text": "Hello."}],
    ],
)
@pytest.mark.parametrize("granularities", [(), ("word",), ("word", "segment")])
def test_a_verbose_document_is_complete(body: Any, granularities: tuple[str, ...]) -> None:
    found = json.loads(answered(body, "verbose_json", granularities=granularities)[0])
    assert isinstance(found["duration"], int | float)
    assert (found["task"], found["language"], found["text"]) == ("transcribe", "unknown", "Hello.")
    for segment in found["segments"]:
        assert segment.keys() >= OPENAI_SEGMENT.keys()
    TranscriptionVerbose.model_validate(found, strict=True)


def test_what_openai_does_not_have_is_kept() -> None:
    body = {"text": "Hello.", "model": "large", "segments": [{"start": 0, "end": 1, "text": "Hello.", "speaker": "x"}]}
    found = json.loads(answered(body, "verbose_json")[0])
    assert (found["model"], found["segments"][0]["speaker"]) == ("large", "x")


def test_openais_own_documents_pass_byte_for_byte() -> None:
    for wanted, document_sent in (("json", {"text": "Hello."}), ("verbose_json", OPENAI)):
        sent = json.dumps(document_sent, indent=1).encode()
        assert answered(sent, wanted)[0] is sent


@pytest.mark.parametrize("wanted", ["json", "text", "srt", "vtt", "verbose_json"])
@pytest.mark.parametrize("body", [{"error": "x"}, {}, [], None, 3, {"text": 5}, [1], b"<!doctype html><html></html>"])
def test_what_is_no_transcript(body: Any, wanted: str) -> None:
    with pytest.raises(UpstreamInvalid):
        answered(body, wanted)
