"""POST /v1/audio/speech, as OpenAI's package and plain clients use it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes import answers
from tests.fakes.answers import Answer
from tests.fakes.samples import SPEECH, SPEECH_TYPES, wav
from tests.fakes.upstream import KEY, Recorded, Upstream, stream
from tests.front.shape import asked, error_of
from tests.front.wire import JSON, Wire

HELLO = {"model": "tts", "input": "Hello", "voice": "alloy"}


# -- formats and types -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", sorted(SPEECH))
def test_six_formats_byte_for_byte_with_their_content_type(upstream: Upstream, http: httpx.Client, wanted: str) -> None:
    reply = http.post("/v1/audio/speech", json=HELLO | {"response_format": wanted})
    assert reply.status_code == 200, reply.text
    assert reply.content == SPEECH[wanted]
    assert reply.headers["content-type"] == SPEECH_TYPES[wanted]
    assert "content-length" not in reply.headers
    assert "content-disposition" not in reply.headers
    assert upstream.last.json["response_format"] == wanted


def test_the_default_format_is_mp3(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post("/v1/audio/speech", json=HELLO)
    assert (reply.headers["content-type"], reply.content) == ("audio/mpeg", SPEECH["mp3"])
    assert upstream.last.header("authorization") == f"Bearer {KEY}"


@pytest.mark.parametrize("wanted", sorted(SPEECH))
@pytest.mark.parametrize("claimed", ["application/json", "text/plain", "application/octet-stream"])
def test_the_content_type_is_right_where_the_upstreams_is_wrong(
    upstream: Upstream, http: httpx.Client, wanted: str, claimed: str
) -> None:
    upstream.behave("kokoro", content_type=claimed)
    body = HELLO | {"model": "selfhosted", "response_format": wanted}
    reply = http.post("/v1/audio/speech", json=body)
    assert reply.status_code == 200, reply.text
    assert (reply.headers["content-type"], reply.content) == (SPEECH_TYPES[wanted], SPEECH[wanted])


def test_an_upstream_that_sends_wav_when_asked_for_mp3_is_not_called_mp3(
    upstream: Upstream, http: httpx.Client
) -> None:
    """Either the bytes are called what they are, or they are made what they should be."""
    upstream.behave("kokoro", answer=stream(wav(), content_type="audio/mpeg"))
    reply = http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted"})
    assert reply.status_code == 200
    if reply.headers["content-type"] == "audio/wav":
        assert reply.content == wav()
    else:
        assert reply.headers["content-type"] == "audio/mpeg"
        assert reply.content.startswith((b"\xff\xf3", b"\xff\xfb", b"ID3"))


@pytest.mark.parametrize("framing", ["chunked", "length", "close"])
def test_the_upstreams_framing_does_not_matter(upstream: Upstream, http: httpx.Client, framing: Any) -> None:
    upstream.behave("kokoro", framing=framing)
    reply = http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted"})
    assert (reply.status_code, reply.content) == (200, SPEECH["mp3"])


@pytest.mark.parametrize("sizes", [1, 7])
def test_small_upstream_chunks_are_recognised_too(upstream: Upstream, http: httpx.Client, sizes: int) -> None:
    upstream.behave("kokoro", content_type="application/octet-stream", chunk_size=sizes)
    body = HELLO | {"model": "selfhosted", "response_format": "flac"}
    reply = http.post("/v1/audio/speech", json=body)
    assert (reply.headers["content-type"], reply.content) == ("audio/flac", SPEECH["flac"])


# -- a 200 that is none ------------------------------------------------------------------------------------------------

_DOCUMENT = answers.dump({"error": {"message": "out of memory at 10.1.2.3", "type": "x", "param": None, "code": None}})


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(stream(_DOCUMENT, content_type="application/json"), id="json error"),
        pytest.param(stream(_DOCUMENT, content_type="audio/mpeg"), id="json error called audio"),
        pytest.param(Answer("audio/mpeg", [_DOCUMENT], chunked=False), id="with length"),
        pytest.param(stream(b"<html><body>Sign in</body></html>", content_type="text/html"), id="html"),
        pytest.param(stream(b"<!DOCTYPE html><html></html>", content_type="audio/mpeg"), id="html called audio"),
        pytest.param(stream(b'{"detail":"boom"}', content_type="application/json"), id="detail"),
        pytest.param(stream(b"Bad Gateway", content_type="audio/mpeg"), id="words called audio"),
        pytest.param(stream(content_type="audio/mpeg"), id="no bytes"),
        pytest.param(Answer("audio/mpeg", [], chunked=False), id="length 0"),
    ],
)
def test_a_200_with_an_error_document_or_no_bytes_is_502(
    upstream: Upstream, http: httpx.Client, answer: Answer
) -> None:
    upstream.behave("tts-1", answer=answer)
    reply = http.post("/v1/audio/speech", json=HELLO)
    error_of(reply, 502, "upstream_invalid")
    assert "10.1.2.3" not in reply.text


def test_an_empty_pcm_answer_is_502(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("tts-1", answer=stream(content_type="audio/pcm"))
    error_of(http.post("/v1/audio/speech", json=HELLO | {"response_format": "pcm"}), 502, "upstream_invalid")


# -- streaming ---------------------------------------------------------------------------------------------------------


def test_the_first_byte_leaves_when_it_arrived(upstream: Upstream, http: httpx.Client) -> None:
    gate = upstream.gate()
    chunks = [SPEECH["mp3"][:96], SPEECH["mp3"][96:192], SPEECH["mp3"][192:]]
    upstream.behave("tts-1", answer=stream(*chunks), gate=gate)
    gate.release()
    with http.stream("POST", "/v1/audio/speech", json=HELLO) as reply:
        arriving = reply.iter_raw()
        for number, chunk in enumerate(chunks, 1):
            assert next(arriving) == chunk
            assert upstream.last.chunks_sent == number
            gate.release()
        assert next(arriving, None) is None


def test_even_a_single_byte_is_not_held_back(upstream: Upstream, proxy: Server) -> None:
    gate = upstream.gate()
    upstream.behave("tts-1", answer=stream(b"\x00\x01\x02\x03", b"\x04", b"\x05\x06"), gate=gate)
    body = json.dumps(HELLO | {"response_format": "pcm"}).encode()
    with Wire(proxy.port) as wire:
        wire.head("POST", "/v1/audio/speech", {**JSON, "Content-Length": str(len(body))})
        wire.send(body)
        gate.release(2)
        response = wire.begin()
        assert response.read(5) == b"\x00\x01\x02\x03\x04"
        assert upstream.last.chunks_sent == 2
        gate.release()
        assert response.read() == b"\x05\x06"


def test_hundreds_of_slow_streams_are_all_held(upstream: Upstream, proxy: Server) -> None:
    count = 200
    gate = upstream.gate()
    chunks = [SPEECH["mp3"][:96], SPEECH["mp3"][96:]]
    upstream.behave("tts-1", answer=stream(*chunks), gate=gate)
    body = json.dumps(HELLO).encode()
    wires = [Wire(proxy.port) for _ in range(count)]
    try:
        for wire in wires:
            wire.head("POST", "/v1/audio/speech", {**JSON, "Content-Length": str(len(body))})
            wire.send(body)
        gate.release()
        begun = [wire.begin() for wire in wires]
        assert [response.read(96) for response in begun] == [chunks[0]] * count
        assert [request.chunks_sent for request in upstream.requests] == [1] * count
        gate.open()
        assert [response.read() for response in begun] == [chunks[1]] * count
    finally:
        for wire in wires:
            wire.close()


def test_with_streaming_response_of_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    speech = sdk.audio.speech.with_streaming_response
    with speech.create(model="tts", input="Hello", voice="alloy", response_format="opus") as reply:
        assert reply.headers["content-type"] == "audio/opus"
        assert b"".join(reply.iter_bytes()) == SPEECH["opus"]


def test_the_async_sdk(upstream: Upstream, proxy: Server) -> None:
    async def main() -> list[bytes]:
        async with openai.AsyncOpenAI(base_url=proxy.url + "/v1", api_key=MASTER_KEY, max_retries=0) as client:

            async def one(wanted: Any) -> bytes:
                reply = await client.audio.speech.create(
                    model="tts", input="Hello", voice="alloy", response_format=wanted
                )
                return reply.content

            return await asyncio.gather(*(one(wanted) for wanted in sorted(SPEECH)))

    assert asyncio.run(main()) == [SPEECH[wanted] for wanted in sorted(SPEECH)]


def test_stream_format_sse_byte_for_byte(upstream: Upstream, http: httpx.Client) -> None:
    body = HELLO | {"model": "gpt-tts", "stream_format": "sse"}
    reply = http.post("/v1/audio/speech", json=body)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.content == b"".join(answers.speech(body).chunks)
    assert reply.content.endswith(b"data: [DONE]\n\n")


def test_stream_format_sse_leaves_event_by_event(upstream: Upstream, http: httpx.Client) -> None:
    gate = upstream.gate()
    events = answers.speech_events([b"one", b"two"])
    upstream.behave("gpt-4o-mini-tts", answer=stream(*events, content_type=answers.EVENT_STREAM), gate=gate)
    gate.release()
    body = HELLO | {"model": "gpt-tts", "stream_format": "sse"}
    with http.stream("POST", "/v1/audio/speech", json=body) as reply:
        arriving = reply.iter_raw()
        assert next(arriving) == events[0]
        assert upstream.last.chunks_sent == 1
        gate.open()
        assert b"".join(arriving) == b"".join(events[1:])


def test_events_cut_anywhere_by_the_network_arrive_whole(upstream: Upstream, http: httpx.Client) -> None:
    upstream.behave("gpt-4o-mini-tts", chunk_size=11)
    body = HELLO | {"model": "gpt-tts", "stream_format": "sse"}
    reply = http.post("/v1/audio/speech", json=body)
    assert reply.content == b"".join(answers.speech(body).chunks)


# -- fields ------------------------------------------------------------------------------------------------------------


def test_every_field_goes_upstream_as_it_was_sent(upstream: Upstream, sdk: openai.OpenAI) -> None:
    sdk.audio.speech.create(
        model="gpt-tts",
        input="Hello, wörld 👋",
        voice="marin",
        instructions="Whisper.",
        response_format="wav",
        speed=1.25,
        stream_format="audio",
    )
    assert upstream.last.json == {
        "model": "gpt-4o-mini-tts",
        "input": "Hello, wörld 👋",
        "voice": "marin",
        "instructions": "Whisper.",
        "response_format": "wav",
        "speed": 1.25,
        "stream_format": "audio",
    }
    assert upstream.last.method == "POST"
    assert upstream.last.target == "/v1/audio/speech"
    assert upstream.last.header("content-type") == "application/json"


def test_voice_may_be_an_object_with_an_id(upstream: Upstream, sdk: openai.OpenAI) -> None:
    sdk.audio.speech.create(model="gpt-tts", input="Hello", voice={"id": "voice_1234"})
    assert upstream.last.json["voice"] == {"id": "voice_1234"}


@pytest.mark.parametrize("voice", ["coral", "af_bella+am_adam(0.3)", "Ünïcode", "../../etc/passwd"])
def test_voice_may_be_any_string(upstream: Upstream, http: httpx.Client, voice: str) -> None:
    assert http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted", "voice": voice}).status_code == 200
    assert upstream.last.json["voice"] == voice


def test_the_deployments_default_voice_and_its_names_for_voices(upstream: Upstream, http: httpx.Client) -> None:
    for given, expected in [({}, "am_adam"), ({"voice": "alloy"}, "am_adam"), ({"voice": "nova"}, "nova")]:
        body = {"model": "narrator", "input": "Hello", **given}
        assert http.post("/v1/audio/speech", json=body).status_code == 200
        assert upstream.last.json["voice"] == expected


def test_unknown_fields_go_on_to_a_self_hosted_upstream(upstream: Upstream, http: httpx.Client) -> None:
    extra = {"lang_code": "a", "normalization_options": {"normalize": False}, "exaggeration": 0.7, "seed": 0, "x": None}
    http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted"} | extra)
    sent = upstream.last.json
    assert {name: sent[name] for name in extra} == extra


def test_our_own_fields_and_the_end_user_stay_here(upstream: Upstream, http: httpx.Client) -> None:
    ours: dict[str, Any] = {
        "guardrails": [],
        "tags": ["a"],
        "metadata": {"trace": "1"},
        "fallbacks": ["selfhosted"],
    }
    body = HELLO | {"model": "selfhosted", "user": "u-1"} | ours
    reply = http.post("/v1/audio/speech", json=body)
    assert reply.status_code == 200, reply.text
    assert asked(upstream.last.json) == {"model": "kokoro", "input": "Hello", "voice": "alloy"}


def test_drop_unknown_drops_what_openai_does_not_know(upstream: Upstream, http: httpx.Client) -> None:
    body = HELLO | {"model": "strict", "speed": 1.5, "lang_code": "a", "seed": 4}
    assert http.post("/v1/audio/speech", json=body).status_code == 200
    sent = asked(upstream.last.json)
    assert sent == {"model": "kokoro-strict", "input": "Hello", "voice": "alloy", "speed": 1.5}


@pytest.mark.parametrize(
    "field", ["api_base", "base_url", "api_key", "url", "headers", "extra_headers", "organization"]
)
def test_nothing_that_a_client_sends_chooses_host_or_key(upstream: Upstream, http: httpx.Client, field: str) -> None:
    reply = http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted", field: "http://127.0.0.1:1"})
    assert reply.status_code in {200, 400}
    if reply.status_code == 200:
        assert upstream.last.header("authorization") == f"Bearer {KEY}"
        assert upstream.last.header("host") == f"127.0.0.1:{upstream.port}"


def test_a_model_without_prefix_means_openai(upstream: Upstream, http: httpx.Client) -> None:
    form = {"file": ("a.wav", wav())}
    assert http.post("/v1/audio/transcriptions", data={"model": "bare"}, files=form).status_code == 200
    assert upstream.last.fields["model"] == ["whisper-1"]


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON"])
def test_json_by_any_spelling_of_its_type(upstream: Upstream, http: httpx.Client, content_type: str) -> None:
    reply = http.post("/v1/audio/speech", content=json.dumps(HELLO), headers={"content-type": content_type})
    assert reply.status_code == 200


def test_json_in_chunks_without_a_length(upstream: Upstream, proxy: Server) -> None:
    body = json.dumps(HELLO).encode()
    with Wire(proxy.port) as wire:
        reply = wire.post_chunked("/v1/audio/speech", [body[:9], body[9:10], body[10:]], JSON)
    assert (reply.status_code, reply.content) == (200, SPEECH["mp3"])


def test_a_query_does_not_go_upstream(upstream: Upstream, http: httpx.Client) -> None:
    assert http.post("/v1/audio/speech?api_base=http://127.0.0.1:1&x=../y", json=HELLO).status_code == 200
    assert upstream.last.target == "/v1/audio/speech"


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["model", "input"])
@pytest.mark.parametrize("value", [None, "", ...])
def test_missing_or_empty_model_or_input_is_400_with_param(
    upstream: Upstream, http: httpx.Client, field: str, value: Any
) -> None:
    body: dict[str, Any] = {name: kept for name, kept in HELLO.items() if name != field}
    body |= {} if value is ... else {field: value}
    assert error_of(http.post("/v1/audio/speech", json=body), 400)["param"] == field
    assert not upstream.requests


def test_voice_missing_is_400(upstream: Upstream, http: httpx.Client) -> None:
    error = error_of(http.post("/v1/audio/speech", json={"model": "tts", "input": "Hello"}), 400)
    assert (error["param"], error["type"]) == ("voice", "invalid_request_error")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", 5),
        ("input", 5),
        ("input", ["Hello"]),
        ("voice", 5),
        ("voice", {"name": "x"}),
        ("voice", {"id": 5}),
        ("speed", "fast"),
        ("response_format", 5),
        ("stream_format", 5),
        ("instructions", []),
    ],
)
def test_a_value_of_the_wrong_type_is_400_with_param(
    upstream: Upstream, http: httpx.Client, field: str, value: Any
) -> None:
    error = error_of(http.post("/v1/audio/speech", json=HELLO | {field: value}), 400)
    assert (error["param"] or "").split(".")[0] == field


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"input": "x" * 50_001}, "50000"),
        ({"speed": 0.24}, "0.25"),
        ({"speed": 4.01}, "4"),
        ({"response_format": "mp4"}, "flac"),
        ({"stream_format": "json"}, "sse"),
        ({"instructions": "x" * 4097}, "4096"),
    ],
)
def test_values_out_of_openais_range_are_400_naming_the_allowed_ones(
    http: httpx.Client, change: dict[str, Any], named: str
) -> None:
    """On OpenAI's own server: what a server under another ``api_base`` takes is its own affair."""
    error = error_of(http.post("/v1/audio/speech", json=HELLO | {"model": "openai-tts"} | change), 400)
    assert error["param"] == next(iter(change))
    assert named in error["message"].replace(",", "")


@pytest.mark.parametrize("change", [{"input": "x" * 20_000}, {"speed": 9}, {"speed": 0.1}])
def test_an_unknown_self_hosted_server_has_no_declared_range(
    upstream: Upstream, http: httpx.Client, change: dict[str, Any]
) -> None:
    assert http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted"} | change).status_code == 200
    assert {name: upstream.last.json[name] for name in change} == change


def test_sse_of_tts_1_is_refused_here_or_by_the_upstream_never_with_sound(
    upstream: Upstream, http: httpx.Client
) -> None:
    def refuse(request: Recorded) -> Answer:
        assert request.json["stream_format"] == "sse"
        return answers.ERRORS[400]

    upstream.behave("tts-1", answer=refuse)
    error_of(http.post("/v1/audio/speech", json=HELLO | {"stream_format": "sse"}), 400)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"tts"', b"null", b'{"model":"tts"', b"\xff\xfe{}", b'{"model":NaN}', b"[" * 100_000],
    ids=["empty", "open", "array", "string", "null", "cut", "not utf-8", "nan", "deep"],
)
def test_broken_json_is_400(upstream: Upstream, http: httpx.Client, body: bytes) -> None:
    error = error_of(http.post("/v1/audio/speech", content=body, headers=JSON), 400)
    assert error["type"] == "invalid_request_error"


def test_texts_end_at_1_mib(upstream: Upstream, http: httpx.Client) -> None:
    body = HELLO | {"model": "selfhosted", "input": "x" * ((1 << 20) + 1)}
    error = error_of(http.post("/v1/audio/speech", json=body), 413)
    assert "'input' has 1048577 characters; at most 1048576" in error["message"]
    assert upstream.requests == []
    assert http.post("/v1/audio/speech", json=body | {"input": "x" * (1 << 20)}).status_code == 200


def test_a_voice_to_clone_may_be_larger_than_any_text(upstream: Upstream, http: httpx.Client) -> None:
    voice = "UklGR" * 400_000
    reply = http.post("/v1/audio/speech", json=HELLO | {"model": "selfhosted", "ref_audio": voice})
    assert reply.status_code == 200, reply.text
    assert len(upstream.last.json["ref_audio"]) == len(voice)


@pytest.mark.parametrize("chunked", [False, True])
def test_json_bodies_end_where_every_body_does_and_the_error_says_where(
    upstream: Upstream, serve: Callable[..., Server], chunked: bool
) -> None:
    server = serve(standard_config(upstream.url, max_request_size_mb=2))
    body = json.dumps(HELLO | {"model": "selfhosted", "ref_audio": "x" * (2 << 20)}).encode()
    headers = {"authorization": f"Bearer {MASTER_KEY}", "content-type": "application/json"}
    content = iter([body]) if chunked else body
    reply = httpx.post(f"{server.url}/v1/audio/speech", content=content, headers=headers, timeout=20)
    assert "at most 2097152 bytes are accepted (max_request_size_mb: 2)" in error_of(reply, 413)["message"]


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        (r"Cut \ud83d", "Cut \ufffd"), (r"\udE00 cut", "\ufffd cut"), (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud83d\ud83d\ude00", "\ufffd\U0001f600"), (r"no \\ud83d escape", r"no \ud83d escape"),
        (r"\\\ud83d", "\\\ufffd"), (r"\ud83dx\ude00", "\ufffdx\ufffd"),
    ],
)  # fmt: skip
def test_half_a_surrogate_pair_is_replaced(upstream: Upstream, http: httpx.Client, written: str, spoken: str) -> None:
    content = f'{{"model":"gpt-tts","voice":"alloy","input":"{written}","instructions":"{written}"}}'
    reply = http.post("/v1/audio/speech", content=content, headers=JSON)
    assert reply.status_code == 200, reply.text
    assert (upstream.last.json["input"], upstream.last.json["instructions"]) == (spoken, spoken)


@pytest.mark.parametrize("start", [b"\xef\xbb\xbf", b""])
def test_half_a_surrogate_pair_as_bytes_and_a_byte_order_mark(
    upstream: Upstream, http: httpx.Client, start: bytes
) -> None:
    content = start + b'{"model":"tts","voice":"alloy","input":"Cut \xed\xa0\xbd"}'
    assert http.post("/v1/audio/speech", content=content, headers=JSON).status_code == 200
    assert upstream.last.json["input"] == "Cut \ufffd"


@pytest.mark.parametrize("content", [b'{"input":"caf\xe9"}', b'{"input":"\\ud83d', b'"\\ud83d"', b"\\ud83d", b""])
def test_what_is_no_json_is_still_refused(http: httpx.Client, content: bytes) -> None:
    assert error_of(http.post("/v1/audio/speech", content=content, headers=JSON), 400)["code"] == "invalid_json"


@pytest.mark.parametrize(("written", "speed"), [("1.5", 1.5), ("1,5", 1.5), (" 2 ", 2.0), ("", None), ("null", None)])
def test_a_speed_as_clients_write_it(upstream: Upstream, http: httpx.Client, written: str, speed: float | None) -> None:
    reply = http.post("/v1/audio/speech", json=HELLO | {"speed": written, "response_format": " MP3"})
    assert reply.status_code == 200, reply.text
    assert upstream.last.json.get("speed") == speed
    assert upstream.last.json["response_format"] == "mp3"


def test_the_number_of_fields_is_bounded(upstream: Upstream, http: httpx.Client) -> None:
    body = HELLO | {"model": "selfhosted", **{f"field{number}": number for number in range(2000)}}
    error_of(http.post("/v1/audio/speech", json=body), 413)
    assert upstream.requests == []
