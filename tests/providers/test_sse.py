"""Server-sent events of every kind that the standard, and servers without it, allow: one form reaches the client."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.errors import ProxyError, UpstreamInvalid, UpstreamUnavailable
from proxy.providers.wire import errors
from proxy.providers.wire.relay import SpeechRelay, TranscriptParser, TranscriptRelay
from proxy.providers.wire.sse import DONE, Reader, begins
from proxy.providers.wire.streams import SpeechEvents

AUDIO = {"type": "speech.audio.delta", "audio": "AAEC"}
USAGE = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
FINISH = {"type": "speech.audio.done", "usage": USAGE}
ZEROS = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def frame(document: Any) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


CANONICAL = frame(AUDIO) + frame(FINISH) + DONE


def failure(event: bytes) -> ProxyError:
    return errors.to_error(errors.of_event(event))


def relayed(*chunks: bytes) -> bytes:
    relay = SpeechRelay(failure)
    frames = [frame for chunk in chunks for frame in relay.feed(chunk)]
    return b"".join([*frames, *relay.end()])


def heard(*chunks: bytes) -> bytes:
    """As `relayed`, of a transcript."""
    relay = TranscriptRelay(failure)
    frames = [frame for chunk in chunks for frame in relay.feed(chunk)]
    return b"".join([*frames, *relay.end()])


def events_of(data: bytes) -> list[Any]:
    """As a client reads them that knows OpenAI's form and nothing else."""
    assert data.endswith(DONE)
    blocks = data.removesuffix(DONE).split(b"\n\n")
    assert blocks.pop() == b""
    assert all(block.startswith(b"data: {") and b"\n" not in block and b"\r" not in block for block in blocks)
    return [json.loads(block[6:]) for block in blocks]


def pieces(data: bytes, size: int) -> Sequence[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def test_openais_own_events_pass_byte_for_byte_without_a_copy_of_each() -> None:
    blocks = [frame(AUDIO), frame(FINISH), DONE]
    relay = SpeechRelay(failure)
    assert [*relay.feed(b"".join(blocks)), *relay.end()] == blocks


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "ends", [(b"\n", b"\n"), (b"\r\n", b"\r\n"), (b"\r", b"\r"), (b"\r\n", b"\n"), (b"\n", b"\r"), (b"\r", b"\r\n")]
)
def test_lines_end_in_three_ways_and_streams_are_cut_anywhere(ends: tuple[bytes, bytes], size: int) -> None:
    if ends == (b"\r", b"\r\n"):
        ends = (b"\r", b"\r")
    data = b"".join(b"data: " + block[6:-2] + ends[0] + ends[1] for block in (frame(AUDIO), frame(FINISH), DONE))
    assert events_of(relayed(*pieces(data, size))) == [AUDIO, FINISH]


def test_each_event_leaves_as_soon_as_it_is_complete() -> None:
    for end in (b"\n\n", b"\r\n\r\n", b"\r\r"):
        relay = SpeechRelay(failure)
        data = frame(AUDIO)[:-2] + end
        frames = [list(relay.feed(data[place : place + 1])) for place in range(len(data))]
        first = next(number for number, some in enumerate(frames) if some)
        assert first >= len(data) - (2 if end == b"\r\n\r\n" else 1)


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + CANONICAL,
        CANONICAL.replace(b"data: ", b"data:"),
        CANONICAL.replace(b"data: ", b"data:    "),
        CANONICAL.replace(b"}\n\n", b"}   \n\n"),
        CANONICAL.replace(b"data: ", b": a comment\nid: 1\nretry: 10\ndata: "),
        b": ping\n\n" + CANONICAL.replace(b"\n\n", b"\n\n: ping\n\n"),
        b"retry: 3000\n\n" + CANONICAL,
        b"id: 1\n\n" + CANONICAL,
        b"data\n\ndata:\n\ndata: \n\n" + CANONICAL,
        b"\n\n\n" + CANONICAL,
        b"event: ping\ndata: {}\n\n" + CANONICAL,
        b'data: {"type":"ping"}\n\n' + CANONICAL,
        b"event: message\n" + CANONICAL,
        CANONICAL.replace(b',"', b',\ndata: "'),
        CANONICAL.replace(b'data: {"type":"speech.audio.delta",', b"event: speech.audio.delta\ndata: {"),
        CANONICAL.replace(b'data: {"type":"speech.audio.delta"', b'event: speech.audio.delta\ndata: {"type":null'),
        CANONICAL.replace(b'data: {"type":"speech.audio.done",', b"data: {\nevent:speech.audio.done\ndata: "),
        CANONICAL.replace(b"data: [DONE]", b"data:[DONE] "),
        CANONICAL.replace(b"data: [DONE]", b'data: "[DONE]"'),
        CANONICAL.replace(b"data: [DONE]", b"event: done\ndata: [DONE]"),
        CANONICAL.removesuffix(b"\n"),
        CANONICAL.removesuffix(b"\n\n"),
        CANONICAL.removesuffix(DONE),
        CANONICAL.removesuffix(DONE).removesuffix(b"\n\n"),
        CANONICAL + DONE,
        CANONICAL + b"data: [DO",
        CANONICAL.replace(b"data: ", b"data: data: "),
        CANONICAL.replace(b"[DONE]", b"[done]"),
        CANONICAL.replace(b"data: [DONE]", b"data:\ndata: [DONE]"),
        CANONICAL.replace(b"}\n\n", b"}\n"),
        CANONICAL.replace(b'{"type":"speech.audio.done"', b'{"type":"done"'),
        CANONICAL.replace(b'data: {"type":"speech.audio.done"', b'event: speech.audio.done\ndata: {"type":"end"'),
    ],
)
@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_every_spelling_of_a_stream_becomes_openais(data: bytes, size: int) -> None:
    assert events_of(relayed(*pieces(data, size))) == [AUDIO, FINISH]
    decoder = SpeechEvents(failure)
    audio = [audio for chunk in pieces(data, size) for audio in decoder.feed(chunk)] + list(decoder.end())
    assert b"".join(audio) == b"\x00\x01\x02"


DELTA = {"type": "transcript.text.delta", "delta": "Hi "}
NEXT = {"type": "transcript.text.delta", "delta": "you."}
TOKENS = {
    "type": "tokens", "total_tokens": 0, "input_tokens": 0, "output_tokens": 0,
    "input_token_details": {"text_tokens": 0, "audio_tokens": 0},
}  # fmt: skip
HEARD = {"type": "transcript.text.done", "text": "Hi you.", "usage": TOKENS}
SECONDS = {"type": "duration", "seconds": 3}


@pytest.mark.parametrize(
    ("data", "usage"),
    [
        (frame(DELTA) + frame(NEXT) + DONE, TOKENS),
        (frame(DELTA) + frame(NEXT) + frame({"type": "transcript.text.done"}), TOKENS),
        (frame(DELTA) + frame(NEXT) + frame({"type": "transcript.text.done", "text": None, "usage": {}}), TOKENS),
        (frame(DELTA) + frame(NEXT) + b"event: done\ndata: {}\n\n", TOKENS),
        (frame({"delta": "Hi "}) + frame({"delta": "you."}) + DONE, TOKENS),
        (frame({"text": "Hi "}) + frame({"text": "you."}) + DONE, TOKENS),
        (b"".join(frame({"choices": [{"delta": {"content": text}}]}) for text in ("", "Hi ", "you.")) + DONE, TOKENS),
        (
            frame({"choices": [{"delta": {"content": "Hi "}, "finish_reason": "stop"}, None]})
            + frame({"choices": [{"delta": {"content": "you."}}]})
            + frame({"choices": [{"delta": {"content": None}}, {"delta": None}]})
            + frame({"choices": [], "usage": {"prompt_audio_seconds": 3}})
            + DONE,
            SECONDS,
        ),
        (
            frame({"type": "transcription.language", "audio_language": "en"})
            + frame({"type": "transcription.text.delta", "text": "Hi "})
            + frame({"type": "transcription.text.delta", "text": "you."})
            + frame({"type": "transcription.segment", "text": "Hi you.", "start": 0, "end": 1})
            + frame({"type": "transcription.done", "text": "Hi you.", "usage": {"prompt_audio_seconds": 3}}),
            SECONDS,
        ),
    ],
)
def test_every_stream_of_a_transcript_becomes_openais(data: bytes, usage: Any) -> None:
    due = [DELTA, NEXT, HEARD | {"usage": usage}]
    assert events_of(heard(data)) == due
    parser = TranscriptParser(failure)
    assert [*parser.feed(data), *parser.end()] == due


@pytest.mark.parametrize(
    ("sent", "delta"),
    [
        (b'data: {"type":"transcript.text.delta","delta":"a\tb"}\n\n', "a\tb"),
        (b'data: {"type":"transcript.text.delta","delta":"a\ndata: b"}\n\n', "a\nb"),
        (b'data: {"type":"transcript.text.delta","delta":"\\ud83d!"}\n\n', "\ufffd!"),
        (b'data: {"type":"transcript.text.delta","delta":"Gr\xfc\xdfe"}\n\n', "Grüße"),
        (b'data: {"type":"transcript.text.delta","delta":"a","logprobs":[{"logprob":NaN}]}\n\n', "a"),
    ],
)
def test_every_client_can_read_an_event(sent: bytes, delta: str) -> None:
    first, done = events_of(heard(sent + DONE))
    assert (first["delta"], done["text"]) == (delta, delta)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"message": "Slow down", "code": 429}}, 429),
        ({"type": "error", "message": "Slow down", "code": "rate_limit_exceeded"}, 429),
        ({"message": "Slow down", "type": "rate_limit_error"}, 429),
        ({"error": {"message": "No", "code": "400"}}, 400),
        ({"object": "error", "message": "No", "type": "BadRequestError", "code": 400}, 400),
        ({"error": {"message": "No", "type": "invalid_request_error", "param": "language"}}, 400),
        ({"status": 422, "detail": "No"}, 400),
        ({"error": {"message": "The model `x` does not exist", "status": 404}}, 404),
        ({"error": {"message": "Bad key", "code": "invalid_api_key"}}, 502),
        ({"error": {"message": "Broken", "code": 503}}, 503),
        ({"error": {"message": "Broken", "code": 17}}, 500),
    ],
)
def test_an_error_event_means_what_its_code_says(error: Any, status: int) -> None:
    with pytest.raises(ProxyError) as raised:
        heard(frame(error))
    assert raised.value.status == status


@pytest.mark.parametrize("data", [b"event: error\n\n", b"event: error\ndata:\n\n", b"event:error\rdata\r\r"])
def test_an_error_without_words_is_one(data: bytes) -> None:
    with pytest.raises(UpstreamUnavailable):
        heard(frame(DELTA) + data + DONE)


@pytest.mark.parametrize(
    ("head", "found"),
    [
        (b"", None), (b"\xef", None), (b"\xef\xbb\xbf", None), (b" \r\n", None), (b"da", None), (b"data", None),
        (b"data:", True), (b"event: x", True), (b": ping", True), (b"id\n", True), (b"\xef\xbb\xbf\n\ndata:{", True),
        (b"retry: 1", True), (b"{", False), (b'"', False), (b"database", False), (b"Hello", False), (b"WEBVTT", False),
        (b" " * 100_000, False),
    ],
)  # fmt: skip
def test_bytes_show_whether_they_are_events(head: bytes, found: bool | None) -> None:
    assert begins(head) is found


def test_the_type_may_stand_anywhere_and_nested_types_mean_nothing() -> None:
    odd = {"item": {"type": "error", "error": {}}, "audio": "AAEC", "type": "speech.audio.delta", "error": None}
    done = {"usage": {"type": "x", **USAGE}, "type": "speech.audio.done"}
    relay = SpeechRelay(failure)
    assert b"".join(relay.feed(frame(odd) + frame(done))) == frame(odd) + frame(done)
    assert relay.is_complete
    assert relay.usage is not None
    assert relay.usage.output_audio_tokens == 5


ERRORS = [
    b'data: {"error":{"message":"Out of memory","type":"server_error"}}\n\n',
    b'data: {"error":"Out of memory"}\n\n',
    b'data: {"id":"x","choices":[],"error":{"message":"Out of memory"}}\n\n',
    b'data: {"type":"speech.audio.delta","audio":"","error":{"message":"Out of memory"}}\n\n',
    b'data: {"object":"error","message":"Out of memory","code":500}\n\n',
    b'data: {"message":"Out of memory","type":"error"}\n\n',
    b'data: {"message":"Out of memory","type":"server_error"}\n\n',
    b'data: {"message":"Out of memory","type":"model_crashed","code":null}\n\n',
    b'data: {"error_msg":"Out of memory","error_code":5}\n\n',
    b'data: {"status":"failed","detail":"Out of memory"}\n\n',
    b'data: {"type":"error","error":{"message":"Out of memory"}}\n\n',
    b'data: {"detail":"Out of memory"}\n\n',
    b'data: {"code":500,"message":"Out of memory"}\n\n',
    b'data: {"status":"error","message":"Out of memory"}\n\n',
    b'event: error\ndata: {"message":"Out of memory"}\n\n',
    b'event: error\ndata: {"error":{"message":"Out of memory"}}\n\n',
    b"event: error\ndata: Out of memory\n\n",
    b'event:error\r\ndata:{"detail":"Out of memory"}\r\n\r\n',
    b'{"error":{"message":"Out of memory"}}',
    b'{"error":{"message":"Out of memory"}}\n\n',
    b'data: {"error":\ndata: {"message":\ndata: "Out of memory"}}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("before", [b"", frame(AUDIO)])
def test_every_shape_of_an_error_is_one(error: bytes, before: bytes) -> None:
    with pytest.raises(UpstreamUnavailable, match="Out of memory"):
        relayed(before + error)
    decoder = SpeechEvents(failure)
    with pytest.raises(UpstreamUnavailable, match="Out of memory"):
        _ = [*decoder.feed(before + error), *decoder.end()]


@pytest.mark.parametrize(
    "event",
    [
        {"type": "transcript.text.delta", "delta": 'the "error" is'},
        {"type": "transcript.text.delta", "delta": "", "error": None},
        {"type": "transcript.text.segment", "text": "error", "message": "fine"},
        {"type": "status", "status": "loading", "message": "fine"},
    ],
)
def test_what_only_looks_like_an_error_passes(event: Any) -> None:
    assert list(TranscriptRelay(failure).feed(frame(event))) == [frame(event)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        frame(AUDIO),
        frame(AUDIO) + frame(FINISH)[:-20],
        frame(AUDIO) + b"data: [DO",
        frame(AUDIO) + b": bye\n\n",
        frame(AUDIO)[:-9],
    ],
)
def test_an_end_before_the_done_event_is_a_failure(data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        relayed(data)


@pytest.mark.parametrize(
    "data",
    [
        b"data: ok\n\n",
        b"data: 5\n\n",
        b"data: [1]\n\n",
        b'data: "text"\n\n',
        b'data: {"type":"speech.audio.delta"\n,"audio":"AAEC"}\n\n',
    ],
)
def test_events_that_crash_clients_are_a_failure(data: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        relayed(data + CANONICAL)


@pytest.mark.parametrize(
    ("reported", "sent"),
    [
        ({}, ZEROS),
        ({"usage": None}, ZEROS),
        ({"usage": {}}, ZEROS),
        ({"usage": []}, ZEROS),
        ({"usage": {"prompt_tokens": 3, "completion_tokens": 5}}, {"prompt_tokens": 3, "completion_tokens": 5} | USAGE),
        ({"usage": {"input_tokens": 3, "output_tokens": 5}}, USAGE),
        ({"usage": {"input_tokens": None, "characters": 9}}, {"characters": 9} | ZEROS),
        ({"usage": USAGE | {"more": 1}}, USAGE | {"more": 1}),
    ],
)
def test_the_end_of_speech_always_has_a_usage(reported: dict[str, Any], sent: dict[str, Any]) -> None:
    end = {"type": "speech.audio.done", "extra": 1} | reported
    assert events_of(relayed(frame(AUDIO), frame(end))) == [AUDIO, end | {"usage": sent}]


def test_a_stream_of_speech_that_only_says_done_gets_its_done_event() -> None:
    assert events_of(relayed(frame(AUDIO) + DONE)) == [AUDIO, {"type": "speech.audio.done", "usage": ZEROS}]


@pytest.mark.parametrize("reported", [{}, {"usage": None}, {"usage": {"type": "duration", "seconds": 2}}])
def test_the_end_of_a_transcript_always_has_a_usage(reported: dict[str, Any]) -> None:
    end = {"type": "transcript.text.done", "text": "Hi 😀"} | reported
    for event in (events_of(heard(frame(end)))[-1], *TranscriptParser(failure).feed(frame(end))):
        assert event["text"] == end["text"]
        assert event["usage"] == (reported.get("usage") or event["usage"])
        assert isinstance(event["usage"].get("total_tokens", 0), int)


def test_a_large_event_costs_as_much_as_its_length_however_it_is_cut() -> None:
    """Each chunk is searched once: twice the length takes about twice the time, not four times."""
    big = frame({"type": "speech.audio.delta", "audio": "A" * 4_000_000})
    chunks = pieces(big + CANONICAL, 1400)
    relay = SpeechRelay(failure)
    sizes = [len(frame) for chunk in chunks for frame in relay.feed(chunk)]
    assert sizes == [len(big), len(frame(AUDIO)), len(frame(FINISH)), len(DONE)]


def test_an_event_without_end_is_refused() -> None:
    reader = Reader()
    assert not [*itertools.chain(*(reader.feed(b"x" * 1_000_000) for _ in range(16)))]
    with pytest.raises(UpstreamInvalid):
        list(reader.feed(b"x" * 1_000_000))
