"""Answers of servers that are not OpenAI: the caller gets OpenAI's shape, in the format that was requested."""

from __future__ import annotations

import json
from typing import Any

import pysubs2
import pytest
from openai.types.audio import TranscriptionVerbose

from proxy.attempts.transcription import document
from proxy.domain.requests import TranscriptionRequest
from proxy.domain.results import RawDocument, TranscriptionResult
from proxy.errors import UpstreamInvalid
from proxy.providers.wire.transcripts import read
from proxy.render.transcription import render_transcription
from tests.providers.attempts import Held

SRT = "1\n00:00:00,000 --> 00:00:01,500\nHello there.\n\n2\n00:00:02,000 --> 00:00:03,000\nBye.\n\n"
VTT = "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nHello there.\n\n00:00:02.000 --> 00:00:03.000\nBye.\n\n"
OTHER = {"srt": VTT, "vtt": SRT}
SAME = {"srt": SRT, "vtt": VTT}
SEGMENT = {
    "id": 3, "seek": 0, "start": 0.5, "end": 1.5, "text": " Hi.", "tokens": [1], "temperature": 0.2,
    "avg_logprob": -0.3, "compression_ratio": 0.9, "no_speech_prob": 0.1,
}  # fmt: skip
WHOLE = {
    "task": "transcribe",
    "language": "en",
    "duration": 2,
    "text": "Hi.",
    "segments": [SEGMENT],
    "usage": {"type": "duration", "seconds": 2},
}


def answered(
    wanted: str, body: bytes | str | Any, content_type: str = "application/json", **fields: Any
) -> tuple[str, str]:
    """The body and content type that the caller gets."""
    if not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    request = TranscriptionRequest("m", Held(b"RIFF"), response_format=wanted, **fields)
    content, _ = document(request, body.encode() if isinstance(body, str) else body, content_type)
    rendered = render_transcription(TranscriptionResult(content), request)
    return rendered.first.decode(), rendered.content_type


def verbose(body: Any, content_type: str = "application/json", **fields: Any) -> dict[str, Any]:
    """A verbose document, as a typed client accepts it."""
    text, kind = answered("verbose_json", body, content_type, **fields)
    found: dict[str, Any] = json.loads(text, parse_constant=pytest.fail)
    assert kind == "application/json"
    TranscriptionVerbose.model_validate(found, strict=True)
    return found


# -- text and subtitles ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON; charset=utf-8", "text/plain", ""])
def test_subtitles_in_json_leave_as_text(wanted: str, kind: str) -> None:
    for other in (SAME, OTHER):
        plain = SAME[wanted], "text/plain; charset=utf-8"
        assert answered(wanted, {"text": other[wanted], "usage": None}, kind) == plain
        if "json" in kind.lower():
            assert answered(wanted, json.dumps(other[wanted]), kind) == plain
        assert answered(wanted, other[wanted], kind) == plain
        assert answered(wanted, json.dumps("\ufeff" + other[wanted]), "text/plain") == plain
        assert answered(wanted, other[wanted].replace("\n", "\r\n").encode("utf-16"), kind)[0].splitlines() == (
            SAME[wanted].splitlines()
        )


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
@pytest.mark.parametrize("name", ["text", "srt", "vtt", "content", "subtitles", "output"])
def test_subtitles_stand_under_any_name(wanted: str, kind: str, name: str) -> None:
    assert [cue.start for cue in read(json.dumps({name: SRT}).encode())[0].segments] == [0, 2]
    for sent in (SRT, VTT):
        for text in (sent, "\ufeff" + sent):
            body = {"language": "en", "duration": 3, name: text}
            assert answered(wanted, body, kind) == (SAME[wanted], "text/plain; charset=utf-8")


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
@pytest.mark.parametrize(
    "body",
    [
        {"segments": [{"start": 0, "end": 1.5, "text": "Hi."}, {"start": 2, "end": 63.25, "text": "Bye."}]},
        [{"start": 0, "end": 1.5, "text": "Hi."}, {"start": 2, "end": 63.25, "text": "Bye."}],
        {"text": "x", "chunks": [{"text": "Hi.", "timestamp": [0, 1.5]}, {"text": "Bye.", "timestamp": [2, 63.25]}]},
        {"transcription": [
            {"text": " Hi.", "offsets": {"from": 0, "to": 1500}},
            {"text": " Bye.", "timestamps": {"from": "00:00:02,000", "to": "00:01:03,250"}},
        ]},
        {"text": "x", "segments": {"0": {"start": 0, "end": 1.5, "text": "Hi."},
                                   "1": {"start": 2, "end": 63.25, "text": "Bye."}}},
        {"text": "x", "segments": [{"start": "00:00:00.000", "end": "1.5s", "text": "Hi."},
                                   {"start_time": "0:02", "end_time": "01:03.250", "text": "Bye."}]},
    ],
)  # fmt: skip
def test_subtitles_from_whatever_has_times(body: Any, wanted: str) -> None:
    content, _ = answered(wanted, body)
    cues = pysubs2.SSAFile.from_string(content, format_=wanted)
    assert [(cue.start, cue.end, cue.text.strip()) for cue in cues] == [(0, 1500, "Hi."), (2000, 63250, "Bye.")]
    assert content.startswith("WEBVTT" if wanted == "vtt" else "1\n")


@pytest.mark.parametrize("wanted", ["srt", "vtt"])
def test_subtitles_are_made_of_segments_words_or_not_at_all(wanted: str) -> None:
    rows = [{"start": 0, "end": 1.5, "text": "Hello there."}, {"start": 2, "end": 3, "text": "Bye."}]
    assert answered(wanted, {"segments": rows})[0] == SAME[wanted]
    for body, kind in (({"text": "Hello."}, "application/json"), ("Hello.", "text/plain"), ('"Hi"', "text/json")):
        with pytest.raises(UpstreamInvalid):
            answered(wanted, body, kind)
    assert answered(wanted, "", "text/plain")[0] == ""
    assert "00:00:02" in answered(wanted, {"text": "Hello.", "duration": 2})[0]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"text": "Grüße"}, "Application/JSON"),
        ({"text": "Grüße"}, "text/plain"),
        (json.dumps("Grüße"), "application/json"),
        ({"text": "Grüße", "duration": float("nan")}, "application/json"),
        (json.dumps({"text": "Grüße"}).encode("utf-8-sig"), "application/json"),
        (json.dumps({"text": "Grüße"}, ensure_ascii=False).encode("latin-1"), "application/json"),
        (json.dumps({"text": "Grüße"}, ensure_ascii=False).encode("utf-16"), "application/json"),
        ("Grüße".encode("utf-8-sig"), "text/plain"),
        ("Grüße".encode("latin-1"), "text/plain"),
        ("Grüße".encode("utf-16"), "text/plain"),
        ("Grüße".encode("utf-16-le"), "text/plain; charset=utf-16"),
        ("Grüße".encode("cp437"), 'text/plain; charset="cp437"'),
        ("Grüße", "text/plain; charset=nonsense"),
        ("Grüße".encode("latin-1"), "text/plain; charset=undefined"),
        ({"text": ["Grüße"]}, "application/json"),
        ({"text": {"text": "\ufeffGrüße"}}, "application/json"),
        ({"text": "\ufeffGrüße"}, "application/json"),
        ({"segments": [{"start": 0, "end": 1, "text": "Grüße"}]}, "application/json"),
        ("1\n00:00:00,000 --> 00:00:01,000\nGrüße\n", "text/plain"),
    ],
)
def test_text_is_text_whatever_it_came_in(body: Any, kind: str) -> None:
    text, content_type = answered("text", body, kind)
    assert (text.strip(), content_type) == ("Grüße", "text/plain; charset=utf-8")
    assert json.loads(answered("json", body, kind)[0])["text"] == "Grüße"


@pytest.mark.parametrize("text", ["<|en|> Hello", "<unk> Hi", '"Hello," she said.', "[Music]", "{laughs}", "5", "null"])
def test_a_text_that_begins_like_a_document_is_text(text: str) -> None:
    assert answered("text", text, "text/plain")[0] == text
    assert json.loads(answered("json", text, "text/plain")[0]) == {"text": text}


@pytest.mark.parametrize("wanted", ["json", "verbose_json", "text", "srt"])
@pytest.mark.parametrize(
    "body",
    [
        "<html>Sign in</html>", " <!DOCTYPE html><p>", '{"text": "cut', '{"error": {"message": "no"}}', "[1]", "null",
        '{"detail": "x"}', '{"error": "no", "text": ""}', "{}", "[]", "3", "true", '{"text": 5}', '{"text": true}',
    ],
)  # fmt: skip
def test_pages_errors_and_cut_documents_are_failures(wanted: str, body: str) -> None:
    with pytest.raises(UpstreamInvalid):
        answered(wanted, body)


@pytest.mark.parametrize("body", ['{"text": "cut', "<html>Sign in</html>", '{"error": {"message": "no"}}'])
def test_a_label_does_not_make_a_text_of_a_document(body: str) -> None:
    for wanted in ("json", "text", "vtt"):
        with pytest.raises(UpstreamInvalid):
            answered(wanted, body, "text/plain")


# -- JSON --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"transcription": "Hi."},
        {"transcript": "Hi.", "text": None},
        {"result": {"text": "Hi."}},
        {"result": "Hi."},
        {"data": {"result": {"transcript": "Hi."}}},
        {"results": [{"text": "Hi."}]},
        [{"text": "Hi."}],
        ["Hi."],
        "Hi.",
        {"segments": [{"start": 0, "end": 1, "text": " Hi."}]},
        {"segments": {"0": {"start": "0", "end": "1", "text": "Hi."}}},
        {"text": None, "chunks": [{"timestamp": [0.0, None], "text": " Hi."}]},
    ],
)
def test_the_text_is_found_where_known_servers_put_it(body: Any) -> None:
    assert json.loads(answered("json", json.dumps(body))[0])["text"] == "Hi."
    assert verbose(json.dumps(body))["text"] == "Hi."


def test_what_is_openais_passes_byte_for_byte() -> None:
    for wanted, body in (("json", b'{"text": "Hi.",  "usage": {"a": 1}, "more": 1}'), ("verbose_json", WHOLE)):
        raw = body if isinstance(body, bytes) else json.dumps(body, indent=1).encode()
        request = TranscriptionRequest("m", Held(b"RIFF"), response_format=wanted)
        assert document(request, raw, "application/json")[0] == RawDocument(raw, "application/json")


@pytest.mark.parametrize("missing", sorted((WHOLE | SEGMENT).keys() - {"text", "usage", "start", "end"}))
def test_a_verbose_document_is_completed(missing: str) -> None:
    body = {name: value for name, value in WHOLE.items() if name != missing}
    if missing in SEGMENT:
        body["segments"] = [{name: value for name, value in SEGMENT.items() if name != missing}]
    for changed in (body, body | ({missing: None} if missing in WHOLE else {})):
        found = verbose(changed)
        assert found.keys() == WHOLE.keys()
        assert found["segments"][0].keys() == SEGMENT.keys()
        kept = {name for name in WHOLE if name not in (missing, "segments")}
        assert {name: found[name] for name in kept} == {name: WHOLE[name] for name in kept}


def test_what_openai_does_not_have_stays() -> None:
    body = {"text": "Hi.", "model": "x", "segments": [{"start": 0, "end": 1, "text": "Hi.", "speaker": "S1", "y": [1]}]}
    found = verbose(body)
    assert found["model"] == "x"
    assert (found["segments"][0]["speaker"], found["segments"][0]["y"]) == ("S1", [1])


def test_whisper_cpp() -> None:
    words = [{"word": " Hi", "start": 0.1, "end": 0.4, "t_dtw": -1, "probability": 0.9}]
    segment = {"id": 0, "text": " Hi.\n", "start": 0.0, "end": 1.0, "tokens": [1], "words": words, "avg_logprob": None}
    body = {"task": "transcribe", "duration": 1.0, "text": " Hi.\n", "segments": [segment], "detected_language": "de"}
    found = verbose(body, timestamp_granularities=("word", "segment"))
    assert found["words"] == [{"word": " Hi", "start": 0.1, "end": 0.4, "t_dtw": -1, "probability": 0.9}]
    assert found["language"] in ("de", "german")
    assert found["segments"][0]["words"] == words


@pytest.mark.parametrize(
    ("rows", "more"),
    [
        ([{"start": "00:00:01.000", "end": "00:00:02.500", "text": "Hi."}], {}),
        ([{"start": "1", "end": "2.5s", "text": "Hi."}], {"duration": "3.0"}),
        ([{"start": 1_000_000_000, "end": 2_500_000_000, "text": "Hi."}], {}),
        ([{"start": 1000, "end": 2500, "text": "Hi."}], {"duration": 3}),
        ([{"start_ms": 1000, "end_ms": 2500, "text": "Hi."}], {}),
        ([{"start_time": 1.0, "end_time": 2.5, "text": "Hi."}], {}),
        ([{"offsets": {"from": 1000, "to": 2500}, "text": "Hi."}], {}),
        ([{"timestamp": [1.0, 2.5], "text": "Hi."}], {}),
        ([{"start": 1, "end": 2.5, "segment": "Hi."}], {}),
    ],
)
def test_times_are_seconds(rows: Any, more: dict[str, Any]) -> None:
    segment = verbose({"text": "Hi.", "segments": rows, **more})["segments"][0]
    assert (segment["start"], segment["end"], segment["text"]) == (1, 2.5, "Hi.")


def test_words_without_times_lie_between_their_neighbours() -> None:
    words = [{"word": "In", "start": 0.0, "end": 0.2}, {"word": "1984"}, {"word": "we", "start": 0.9, "end": 1.0}]
    found = verbose({"text": "In 1984 we", "word_segments": words}, timestamp_granularities=("word",))
    assert found["words"][1] == {"word": "1984", "start": 0.2, "end": 0.9}


@pytest.mark.parametrize(
    "body",
    [
        b'{"text":"Hi.","segments":[{"start":0,"end":1,"text":"Hi.","avg_logprob":NaN,"z":-Infinity}]}',
        b'\xef\xbb\xbf{"text":"Hi.","x":Infinity}',
        b'{"text":"Hi.","x":"\\ud83d"}',
        b'{"text":"Hi.","x":"\xe9"}',
        b'{"text":"Hi.","x":"two\nlines\tand \x01"}',
        b'{"text":"Hi.","usage":null,"segments":null,"words":null,"duration":null,"language":null,"task":null}',
        b'{"text":"Hi.","segments":[],"language":"<|en|>"}',
    ],
)
def test_every_client_can_read_the_document(body: bytes) -> None:
    assert verbose(body)["text"] == "Hi."
    text, _ = answered("json", body)
    assert json.loads(text, parse_constant=pytest.fail)["text"] == "Hi."
    text.encode()


def test_a_lone_surrogate_in_the_text_is_replaced() -> None:
    for wanted in ("json", "verbose_json"):
        assert json.loads(answered(wanted, rb'{"text":"a\ud800b"}')[0])["text"] == "a\ufffdb"
        assert json.loads(answered(wanted, rb'{"text":"\ud83d\ude00","x":NaN}')[0])["text"] == "\U0001f600"
    assert answered("text", rb'{"text":"a\ud800b"}')[0].strip() == "a\ufffdb"


def test_control_characters_in_strings_are_read() -> None:
    for wanted in ("json", "verbose_json"):
        assert json.loads(answered(wanted, b'{"text":"two\nlines"}')[0])["text"] == "two\nlines"
    assert answered("text", b'{"text":"two\nlines"}')[0] == "two\nlines\n"


@pytest.mark.parametrize(
    "body",
    [
        {"text": "Hi."},
        {"text": "Hi.", "words": [{"word": "Hi.", "start": 0, "end": 1.5}]},
        {"text": "Hi.", "duration": "1.5", "segments": [{"start": "0", "end": "1.5", "text": "Hi."}]},
        [{"start": 0, "end": 1, "text": "Hi."}],
    ],
)
def test_a_document_that_is_completed_has_segments_even_if_only_words_were_requested(body: Any) -> None:
    found = verbose(body, timestamp_granularities=("word",))
    assert [row.keys() for row in found["segments"]] == [SEGMENT.keys()]


def test_openais_own_words_need_no_segments() -> None:
    words = {name: value for name, value in WHOLE.items() if name != "segments"}
    raw = json.dumps(words | {"words": [{"word": "Hi.", "start": 0.5, "end": 1.5}]}, indent=1)
    assert answered("verbose_json", raw, timestamp_granularities=("word",))[0] == raw


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps({"text": "Grüße"}, ensure_ascii=False).encode("cp437"), "application/json; charset=cp437"),
        ("Grüße".encode("latin-1"), "text/plain"),
        (b'{"text":"Gr\\u00fc\\u00dfe","x":NaN}', "application/json"),
        (json.dumps("Grüße").encode(), "application/json"),
        (VTT.replace("Hello there.\n", "Grüße\n").replace("Bye.", "").encode(), "application/octet-stream"),
    ],
)
def test_a_transcript_that_the_proxy_reads_is_read_as_one_that_passes(body: bytes, kind: str) -> None:
    assert read(body, kind)[0].text.strip() == "Grüße"


def test_plain_text_and_subtitles_where_json_was_requested() -> None:
    assert json.loads(answered("json", "Hello there.\n", "text/plain")[0]) == {"text": "Hello there."}
    found = verbose(SRT, "text/plain")
    assert (found["text"], [row["start"] for row in found["segments"]]) == ("Hello there. Bye.", [0, 2])


def test_deep_nesting_and_huge_numbers_are_failures_of_the_vendor() -> None:
    deep = b'{"result":' * 5000 + b'"x"' + b"}" * 5000
    huge = b'{"text":"a","segments":[{"start":0,"end":1%b,"text":"a"}]}' % (b"0" * 400)
    clock = b'{"text":"a","segments":[{"start":0,"end":"%b:00:00","text":"a"}]}' % (b"9" * 5000)
    for body in (deep, huge, clock):
        with pytest.raises(UpstreamInvalid):
            answered("verbose_json", body)
