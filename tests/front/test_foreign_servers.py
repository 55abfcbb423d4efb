"""Servers that speak OpenAI's API with an accent, heard by OpenAI's own package."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from tests.fakes.answers import Answer, event
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream, stream
from tests.front.shape import error_of

WAV = ("a.wav", wav())
SPEAK = {"model": "selfhosted", "input": "Hello", "voice": "alloy", "stream_format": "sse"}
TRANSCRIPT = (
    b"\xef\xbb\xbf: hello\r\n\r\nretry: 10\r\n\r\n"
    b'id: 1\r\nevent: transcript.text.delta\r\ndata:{"delta":"Hi "}\r\n\r\n: ping\r\n\r\n'
    b'id: 2\r\ndata:  {"delta":"you","type":"transcript.text.delta"}\r\n\r\n'
    b'id: 3\r\ndata: {"text":"Hi you","usage":null,"type":"transcript.text.done"}\r\n\r\nid: 4\r\n\r\ndata: "[DONE]"'
)


@pytest.mark.parametrize(
    "kind", ["text/event-stream", "Text/Event-Stream; Charset=UTF-8", "application/x-ndjson", "text/plain", ""]
)
@pytest.mark.parametrize("size", [1, 9, 10_000])
def test_a_stream_with_every_oddity_reaches_the_sdk(
    upstream: Upstream, sdk: openai.OpenAI, kind: str, size: int
) -> None:
    upstream.behave("faster-whisper", answer=stream(TRANSCRIPT, content_type=kind), chunk_size=size)
    seen: list[Any] = list(sdk.audio.transcriptions.create(file=WAV, model="selfhosted-stt", stream=True))
    assert [one.type for one in seen] == ["transcript.text.delta", "transcript.text.delta", "transcript.text.done"]
    assert "".join(one.delta for one in seen[:2]) == seen[2].text == "Hi you"
    assert seen[2].usage.total_tokens == 0


@pytest.mark.parametrize(
    "answer",
    [
        b'data: {"choices":[{"delta":{"content":"Hi "}}]}\n\ndata: {"choices":[{"delta":{"content":"you"}}]}\n\n'
        b"data: [DONE]\n\n",
        b'data: {"type":"transcription.text.delta","text":"Hi "}\n\ndata: {"type":"transcription.text.delta",\ndata:'
        b'"text":"you"}\n\ndata: {"type":"transcription.done","text":"Hi you"}\n\n',
        b'data: {"text":"Hi "}\n\ndata: {"text":"you"}\n\n',
        b'data: {"type":"transcript.text.delta","delta":"Hi you"}\n\ndata: [DONE]\n\n',
        b'{"text":"Hi you"}',
        b"Hi you",
    ],
)
def test_whatever_a_server_streams_reaches_the_sdk_as_openais_events(
    upstream: Upstream, sdk: openai.OpenAI, answer: bytes
) -> None:
    upstream.behave("faster-whisper", answer=stream(answer, content_type="text/event-stream"))
    seen: list[Any] = list(sdk.audio.transcriptions.create(file=WAV, model="selfhosted-stt", stream=True))
    assert "".join(one.delta for one in seen[:-1]) == seen[-1].text == "Hi you"
    assert (seen[-1].type, seen[-1].usage.total_tokens) == ("transcript.text.done", 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"message": "Unsupported language", "code": 400}}, 400),
        ({"message": "No such model", "type": "error", "code": "model_not_found"}, 404),
        ({"error": "Out of memory"}, 500),
    ],
)
@pytest.mark.parametrize("is_event", [True, False])
def test_an_error_that_arrives_with_status_200_is_shown_as_what_it_means(
    upstream: Upstream, http: httpx.Client, error: dict[str, Any], status: int, is_event: bool
) -> None:
    kind, body = ("text/event-stream", event(error)) if is_event else ("application/json", json.dumps(error).encode())
    upstream.behave("faster-whisper", answer=stream(body, content_type=kind))
    form: dict[str, Any] = {"data": {"model": "selfhosted-stt", "stream": "true"}, "files": {"file": WAV}}
    reply = http.post("/v1/audio/transcriptions", **form)
    is_failed_document = status == 500 and not is_event
    assert reply.status_code == (502 if is_failed_document else status)
    said = error.get("error", error)
    shown = (said if isinstance(said, str) else said["message"]) in error_of(reply)["message"]
    assert shown is not is_failed_document


@pytest.mark.parametrize(
    "error", [b'event: error\ndata: {"detail":"Out of memory"}\n\n', b'data: {"object":"error","message":"no"}\n\n']
)
def test_an_error_event_is_an_error_before_and_after_the_first_byte(
    upstream: Upstream, http: httpx.Client, sdk: openai.OpenAI, error: bytes
) -> None:
    upstream.behave("faster-whisper", answer=stream(b": ping\n\n", error, content_type="text/event-stream"))
    form: dict[str, Any] = {"data": {"model": "selfhosted-stt", "stream": "true"}, "files": {"file": WAV}}
    error_of(http.post("/v1/audio/transcriptions", **form))
    begun = stream(event({"type": "transcript.text.delta", "delta": "Hi"}), error, content_type="text/event-stream")
    upstream.behave("faster-whisper", answer=begun)
    events = iter(sdk.audio.transcriptions.create(file=WAV, model="selfhosted-stt", stream=True))
    assert next(events).type == "transcript.text.delta"
    with pytest.raises(openai.APIError):
        next(events)


@pytest.mark.parametrize("usage", [{}, {"usage": None}, {"usage": {}}])
@pytest.mark.parametrize("end", ["whole", "no [DONE]", "cut"])
def test_the_end_of_speech_has_counts_however_the_server_ends(
    upstream: Upstream, http: httpx.Client, usage: dict[str, Any], end: str
) -> None:
    delta = event({"type": "speech.audio.delta", "audio": "AAECAwQFBgcICQoL"})
    done = [event({"type": "speech.audio.done", **usage}), b"data: [DONE]\n\n"]
    answer = stream(delta, *(done[:1] if end == "no [DONE]" else done), content_type="text/event-stream")
    cut: dict[str, Any] = {"stop_after": 2, "stop": "close"} if end == "cut" else {}
    upstream.behave("kokoro", answer=answer, **cut)
    reply = http.post("/v1/audio/speech", json=SPEAK)
    sent = [block.removeprefix("data: ") for block in reply.text.split("\n\n")]
    assert (json.loads(sent[0])["audio"], sent[2:]) == ("AAECAwQFBgcICQoL", ["[DONE]", ""])
    assert json.loads(sent[1])["usage"] == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}


def test_speech_that_becomes_events_here_ends_with_counts_too(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("kokoro", answer=stream(b"ID3" + b"\0" * 500, content_type="audio/mpeg"))
    reply = http.post("/v1/audio/speech", json=SPEAK)
    assert json.loads(reply.text.split("\n\n")[-3].removeprefix("data: "))["usage"]["total_tokens"] == 0


def test_a_document_without_segments_is_completed_for_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    body = b'\xef\xbb\xbf{"text":"Hi.","segments":[{"start":"0","end":"00:00:01.5","text":"Hi.","p":NaN}],"model":"x"}'
    upstream.behave("faster-whisper", answer=Answer("Application/JSON", [body]))
    heard = sdk.audio.transcriptions.create(file=WAV, model="selfhosted-stt", response_format="verbose_json")
    assert (heard.text, heard.duration, heard.language) == ("Hi.", 1.5, "unknown")
    assert heard.segments is not None
    assert (heard.segments[0].end, heard.segments[0].tokens, heard.to_dict()["model"]) == (1.5, [], "x")


def test_subtitles_in_json_reach_the_sdk_as_text(upstream: Upstream, sdk: openai.OpenAI) -> None:
    body = b'{"text":"WEBVTT\\n\\n00:00.000 --> 00:01.000\\nHi.\\n"}'
    upstream.behave("faster-whisper", answer=Answer("application/json", [body]))
    for wanted, expected in (("vtt", "WEBVTT\n\n00:00.000"), ("srt", "1\n00:00:00,000 --> 00:00:01,000\nHi.")):
        heard: Any = sdk.audio.transcriptions.create(
            file=WAV,
            model="selfhosted-stt",
            response_format=wanted,  # type: ignore[call-overload]
        )
        assert heard.startswith(expected)


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "9" * 5000, "-1", "true", '"NaN"', '"-inf"'])
@pytest.mark.parametrize("format", ["json", "text", "verbose_json", "srt"])
def test_nonsense_in_the_usage_does_not_lose_the_transcript(
    upstream: Upstream, http: httpx.Client, number: str, format: str
) -> None:
    usage = f'{{"type":"tokens","seconds":{number},"input_tokens":{number},"output_tokens":{number},"cost":{number}}}'
    body = f'{{"text":"Hi.","usage":{usage},"duration":{number},"segments":[{{"start":0,"end":1,"text":"Hi."}}]}}'
    upstream.behave("faster-whisper", answer=Answer("application/json", [body.encode()]))
    fields = {"model": "selfhosted-stt", "response_format": format}
    reply = http.post("/v1/audio/transcriptions", data=fields, files={"file": WAV})
    assert reply.status_code == 200, reply.text
    assert "Hi." in reply.text
    if "json" in format:
        json.loads(reply.text, parse_constant=pytest.fail)

    done = f'data: {{"type":"transcript.text.done","text":"Hi.","usage":{usage}}}\n\n'.encode()
    upstream.behave("faster-whisper", answer=stream(done, content_type="text/event-stream"))
    reply = http.post("/v1/audio/transcriptions", data=fields | {"stream": "true"}, files={"file": WAV})
    assert reply.status_code == 200, reply.text
    assert "Hi." in reply.text
