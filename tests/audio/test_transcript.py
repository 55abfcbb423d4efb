from __future__ import annotations

import json

import pysubs2
import pytest

from proxy.audio.languages import language_code, language_name
from proxy.domain.transcript import Segment, Transcript, Word, segments_of_words
from proxy.render.transcripts import render, sse_events

USAGE = {"type": "duration", "seconds": 2}
HELLO = Transcript(
    "Hello there.",
    language="en",
    duration=1.7,
    segments=(Segment(0, 0.0, 2.0, " Hello there.", tokens=(50364, 2425), avg_logprob=-0.25, no_speech_prob=0.01),),
    words=(Word("Hello", 0.0, 0.5), Word("there", 0.5, 1.0)),
    usage=USAGE,
)


def body(transcript: Transcript, response_format: str, *granularities: str) -> str:
    return render(transcript, response_format, granularities)[0].decode()


def spoken(*words: str, pace: float = 0.3, speaker: str | None = None, start: float = 0.0) -> tuple[Word, ...]:
    return tuple(
        Word(word, round(start + i * pace, 3), round(start + (i + 1) * pace, 3), speaker)
        for i, word in enumerate(words)
    )


def test_json_of_whisper() -> None:
    assert body(HELLO, "json") == '{"text":"Hello there.","usage":{"type":"duration","seconds":2}}'


def test_json_of_gpt_4o_and_gpt_transcribe() -> None:
    logprobs = ({"token": "Hi", "logprob": -0.1, "bytes": [72, 105]},)
    usage = {
        **{"type": "tokens", "total_tokens": 3, "input_tokens": 2},
        **{"input_token_details": {"text_tokens": 0, "audio_tokens": 2}, "output_tokens": 1},
    }
    assert body(Transcript("Hi", logprobs=logprobs, usage=usage), "json") == (
        '{"text":"Hi","logprobs":[{"token":"Hi","logprob":-0.1,"bytes":[72,105]}],'
        '"usage":{"type":"tokens","total_tokens":3,"input_tokens":2,'
        '"input_token_details":{"text_tokens":0,"audio_tokens":2},"output_tokens":1}}'
    )
    assert body(Transcript("Hi", languages=("en", "de"), usage=USAGE), "json") == (
        '{"text":"Hi","languages":[{"code":"en"},{"code":"de"}],"usage":{"type":"duration","seconds":2}}'
    )
    assert body(Transcript("Grüß, 你好"), "json") == '{"text":"Grüß, 你好"}'


def test_verbose_json() -> None:
    start = '{"task":"transcribe","language":"english","duration":1.7,"text":"Hello there."'
    segments = (
        ',"segments":[{"id":0,"seek":0,"start":0.0,"end":2.0,"text":" Hello there.","tokens":[50364,2425],'
        '"temperature":0.0,"avg_logprob":-0.25,"compression_ratio":0.6190476190476191,"no_speech_prob":0.01}]'
    )
    words = ',"words":[{"word":"Hello","start":0.0,"end":0.5},{"word":"there","start":0.5,"end":1.0}]'
    end = ',"usage":{"type":"duration","seconds":2}}'
    assert body(HELLO, "verbose_json") == start + segments + end
    assert body(HELLO, "verbose_json", "segment") == start + segments + end
    assert body(HELLO, "verbose_json", "word") == start + words + end
    assert body(HELLO, "verbose_json", "word", "segment") == start + segments + words + end


def test_verbose_json_of_a_text_alone() -> None:
    document = json.loads(body(Transcript("Hi", duration=3), "verbose_json"))
    assert list(document) == ["task", "language", "duration", "text", "segments"]
    assert [(s["start"], s["end"], s["text"]) for s in document["segments"]] == [(0, 3, "Hi")]
    assert json.loads(body(Transcript(""), "verbose_json"))["segments"] == []


def test_diarized_json() -> None:
    transcript = Transcript(
        "Hi. Yes.",
        duration=2.5,
        segments=(Segment(7, 0.0, 1.0, "Hi.", speaker="A"), Segment(9, 1.0, 2.5, "Yes.", speaker="B")),
        usage=USAGE,
    )
    assert body(transcript, "diarized_json") == (
        '{"text":"Hi. Yes.","task":"transcribe","duration":2.5,"segments":['
        '{"type":"transcript.text.segment","text":"Hi.","speaker":"A","start":0.0,"end":1.0,"id":"seg_0"},'
        '{"type":"transcript.text.segment","text":"Yes.","speaker":"B","start":1.0,"end":2.5,"id":"seg_1"}],'
        '"usage":{"type":"duration","seconds":2}}'
    )


def test_text_and_content_types() -> None:
    assert body(HELLO, "text") == "Hello there.\n"
    types = {name: render(HELLO, name)[1] for name in ("json", "verbose_json", "diarized_json", "text", "srt", "vtt")}
    assert set(types.values()) == {"application/json", "text/plain; charset=utf-8"}
    assert [name for name, value in types.items() if "json" in value] == ["json", "verbose_json", "diarized_json"]
    with pytest.raises(KeyError):
        render(HELLO, "xml")


def test_subtitles_to_the_byte() -> None:
    assert body(HELLO, "srt") == "1\n00:00:00,000 --> 00:00:02,000\nHello there.\n\n"
    assert body(HELLO, "vtt") == "WEBVTT\n\n00:00:00.000 --> 00:00:02.000\nHello there.\n\n"
    assert body(Transcript(""), "srt") == ""
    assert body(Transcript(""), "vtt") == "WEBVTT\n\n"


def test_subtitles_keep_odd_text_and_long_times() -> None:
    odd = Transcript("", segments=(Segment(0, 3599.9996, 442_859.5, "a {b} <i> \\N & c\n\n-->\r\n d", speaker="A"),))
    assert body(odd, "srt") == "1\n01:00:00,000 --> 123:00:59,500\na {b} <i> \\N & c\n->\nd\n\n"


@pytest.mark.parametrize("response_format", ["srt", "vtt"])
def test_a_subtitle_library_reads_them(response_format: str) -> None:
    segments = tuple(Segment(i, i * 1.5, i * 1.5 + 1.234, f"Line {i}\nand more, ünd mehr") for i in range(30))
    read = pysubs2.SSAFile.from_string(body(Transcript("", segments=segments), response_format), response_format)
    assert [(event.start, event.end, event.plaintext) for event in read] == [
        (round(s.start * 1000), round(s.end * 1000), s.text) for s in segments
    ]


def test_segments_end_with_sentences_and_keep_the_punctuation() -> None:
    words = spoken("hello", "there", "how", "are", "you", "fine")
    segments = segments_of_words(words, "Hello there! How are you? Fine…")
    assert [s.text for s in segments] == ["Hello there!", "How are you?", "Fine…"]
    assert [(s.start, s.end) for s in segments] == [(0, 0.6), (0.6, 1.5), (1.5, 1.8)]
    assert [len(s.words) for s in segments] == [2, 3, 1]


def test_segments_without_a_text_are_joined_of_the_words() -> None:
    assert [s.text for s in segments_of_words(spoken("One", "two.", "Three"))] == ["One two.", "Three"]
    assert [s.text for s in segments_of_words(spoken(" One", " two", "."))] == ["One two."]
    assert [s.text for s in segments_of_words(spoken("so", "not"), "something else")] == ["so not"]
    assert [s.text for s in segments_of_words(spoken("你好", "吗", "我"), "你好吗?我")] == ["你好吗?", "我"]


def test_segments_break_at_pauses_and_speakers() -> None:
    pause = spoken("one", "two") + spoken("three", start=1.5)
    assert [s.text for s in segments_of_words(pause)] == ["one two", "three"]
    speakers = spoken("one", "two", speaker="A") + spoken("three", speaker="B", start=0.6)
    assert [(s.text, s.speaker) for s in segments_of_words(speakers)] == [("one two", "A"), ("three", "B")]


def test_segments_stay_short() -> None:
    words = spoken(*["word"] * 200, pace=0.2)
    segments = segments_of_words(words)
    assert sum(len(s.words) for s in segments) == 200
    assert all(len(s.text) <= 80 for s in segments)
    slow = segments_of_words(spoken(*["slow"] * 30, pace=1.0))
    assert all(s.end - s.start <= 7 for s in slow)
    assert len(slow) == 5


def test_subtitles_of_words_alone() -> None:
    transcript = Transcript("Hi. Bye.", words=spoken("Hi", "Bye"))
    assert body(transcript, "srt") == (
        "1\n00:00:00,000 --> 00:00:00,300\nHi.\n\n2\n00:00:00,300 --> 00:00:00,600\nBye.\n\n"
    )


def test_events_of_a_whole_transcript() -> None:
    assert sse_events(HELLO) == [
        b'data: {"type":"transcript.text.delta","delta":"Hello there."}\n\n',
        b'data: {"type":"transcript.text.done","text":"Hello there.","usage":{"type":"duration","seconds":2}}\n\n',
        b"data: [DONE]\n\n",
    ]
    assert len(sse_events(Transcript(""))) == 2


def test_events_of_speakers() -> None:
    transcript = Transcript("Hi. Yes.", segments=(Segment(0, 0, 1, "Hi.", "A"), Segment(1, 1, 2, "Yes.", "B")))
    events = [json.loads(frame.removeprefix(b"data: ")) for frame in sse_events(transcript, diarized=True)[:-1]]
    assert [event["type"].rpartition(".")[2] for event in events] == ["delta", "segment", "delta", "segment", "done"]
    assert events[0]["segment_id"] == events[1]["id"] == "seg_0"
    assert list(events[3]) == ["type", "text", "speaker", "start", "end", "id"]
    assert "".join(event["delta"] for event in events if "delta" in event) == transcript.text


def test_half_a_surrogate_pair_does_not_break_the_answer() -> None:
    assert body(Transcript("a\ud83d"), "json") == '{"text":"a\ufffd"}'


@pytest.mark.parametrize(
    ("given", "code", "name"),
    [
        ("en", "en", "english"),
        ("English", "en", "english"),
        ("en-US", "en", "english"),
        ("pt_BR", "pt", "portuguese"),
        ("castilian", "es", "spanish"),
        ("haitian creole", "ht", "haitian creole"),
        ("jv", "jw", "javanese"),
        ("cmn-Hans-CN", "zh", "chinese"),
        ("yue", "yue", "cantonese"),
        ("Klingon", "klingon", "klingon"),
    ],
)
def test_languages(given: str, code: str, name: str) -> None:
    assert language_code(given) == code
    assert language_name(given) == name
