"""POST /v1/audio/transcriptions, as OpenAI's package and plain clients use it."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from pathlib import Path
from typing import Any, Literal

import httpx
import openai
import pytest

from tests.conftest import MASTER_KEY, Server
from tests.fakes import answers
from tests.fakes.answers import EVENT_STREAM, Answer
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream, stream
from tests.front.shape import asked, error_of
from tests.front.wire import FORM, Wire, file_part, form, text_part

WAV = wav()
FILE = {"file": ("speech.wav", WAV)}
PATH = "/v1/audio/transcriptions"

CASES = [
    ("whisper", {}, "application/json"),
    ("whisper", {"response_format": "json"}, "application/json"),
    ("whisper", {"response_format": "text"}, "text/plain; charset=utf-8"),
    ("whisper", {"response_format": "srt"}, "text/plain; charset=utf-8"),
    ("whisper", {"response_format": "vtt"}, "text/plain; charset=utf-8"),
    ("whisper", {"response_format": "verbose_json"}, "application/json"),
    ("gpt-transcribe", {}, "application/json"),
    ("gpt-4o-transcribe", {"include[]": ["logprobs"]}, "application/json"),
    ("diarize", {"response_format": "diarized_json"}, "application/json"),
]


@pytest.mark.parametrize(("model", "fields", "content_type"), CASES)
def test_every_response_format_byte_for_byte_with_its_content_type(
    upstream: Upstream, http: httpx.Client, model: str, fields: dict[str, Any], content_type: str
) -> None:
    reply = http.post(PATH, data={"model": model, **fields}, files=FILE)
    assert reply.status_code == 200, reply.text
    expected = answers.transcription(upstream.last.model, upstream.last.fields)
    assert reply.content == b"".join(expected.chunks)
    assert reply.headers["content-type"] == content_type
    assert upstream.last.complete


@pytest.mark.parametrize("claimed", ["text/html", "application/octet-stream", "text/plain"])
@pytest.mark.parametrize("wanted", ["json", "verbose_json", "text", "srt", "vtt"])
def test_the_content_type_follows_the_format_where_the_upstreams_is_wrong(
    upstream: Upstream, http: httpx.Client, wanted: str, claimed: str
) -> None:
    upstream.behave("faster-whisper", content_type=claimed)
    reply = http.post(PATH, data={"model": "selfhosted-stt", "response_format": wanted}, files=FILE)
    expected = "application/json" if wanted.endswith("json") else "text/plain; charset=utf-8"
    assert (reply.status_code, reply.headers["content-type"]) == (200, expected)


def test_the_file_arrives_as_it_was_sent(upstream: Upstream, sdk: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    path.write_bytes(WAV)
    with path.open("rb") as file:
        sdk.audio.transcriptions.create(file=file, model="whisper")
    sent = upstream.last.file
    assert (sent.filename, sent.size, sent.sha256) == ("speech.wav", len(WAV), hashlib.sha256(WAV).hexdigest())
    assert upstream.last.target == PATH


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000])
def test_files_of_every_size_arrive_whole(upstream: Upstream, http: httpx.Client, size: int) -> None:
    content = hashlib.shake_128(b"seed").digest(size)
    reply = http.post(PATH, data={"model": "whisper"}, files={"file": ("a.mp3", content)})
    if size == 0:
        assert reply.status_code in {200, 400}  # empty audio: as the upstream says, or a file that is missing
        return
    assert reply.status_code == 200, reply.text
    assert (upstream.last.file.size, upstream.last.file.sha256) == (size, hashlib.sha256(content).hexdigest())


def test_objects_of_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    create = sdk.audio.transcriptions.create
    plain = create(file=("a.wav", WAV), model="whisper")
    assert (plain.text, plain.usage and plain.usage.type) == (answers.TEXT, "duration")
    verbose = create(
        file=WAV, model="whisper", response_format="verbose_json", timestamp_granularities=["word", "segment"]
    )
    assert verbose.words
    assert verbose.segments
    assert [word.word for word in verbose.words] == ["The", "quick", "brown"]
    assert upstream.last.fields["timestamp_granularities[]"] == ["word", "segment"]
    diarized = create(file=WAV, model="diarize", response_format="diarized_json", chunking_strategy="auto")
    assert [segment.speaker for segment in diarized.segments] == ["A"]
    assert create(file=WAV, model="whisper", response_format="srt") == answers.SRT
    assert create(file=WAV, model="whisper", response_format="vtt") == answers.VTT
    assert create(file=WAV, model="whisper", response_format="text") == answers.TEXT + "\n"


def test_the_async_sdk(upstream: Upstream, proxy: Server) -> None:
    async def main() -> list[str]:
        async with openai.AsyncOpenAI(base_url=proxy.url + "/v1", api_key=MASTER_KEY, max_retries=0) as client:
            create = client.audio.transcriptions.create
            replies = await asyncio.gather(*(create(file=("a.wav", WAV), model="whisper") for _ in range(5)))
            events = await create(file=("a.wav", WAV), model="gpt-4o-transcribe", stream=True)
            return [*(reply.text for reply in replies), *[event.type async for event in events][-1:]]

    assert asyncio.run(main()) == [answers.TEXT] * 5 + ["transcript.text.done"]


# -- fields ------------------------------------------------------------------------------------------------------------


def test_arrays_go_upstream_as_repeated_bracketed_names(upstream: Upstream, sdk: openai.OpenAI) -> None:
    sdk.audio.transcriptions.create(
        file=WAV,
        model="gpt-transcribe",
        languages=["en", "de"],
        keywords=["Kokoro", "größer"],
        include=["logprobs"],
        known_speaker_names=["agent", "customer"],
        known_speaker_references=["data:audio/wav;base64,UklGRg==", "data:audio/wav;base64,UklGRh=="],
        temperature=0.5,
        prompt="Hello,\r\nworld",
        language="en",
    )
    sent = asked(upstream.last.fields)
    assert sent == {
        "model": ["gpt-transcribe"],
        "languages[]": ["en", "de"],
        "keywords[]": ["Kokoro", "größer"],
        "include[]": ["logprobs"],
        "known_speaker_names[]": ["agent", "customer"],
        "known_speaker_references[]": ["data:audio/wav;base64,UklGRg==", "data:audio/wav;base64,UklGRh=="],
        "temperature": ["0.5"],
        "prompt": ["Hello,\r\nworld"],
    }


def test_chunking_strategy_auto(upstream: Upstream, sdk: openai.OpenAI) -> None:
    sdk.audio.transcriptions.create(file=WAV, model="diarize", chunking_strategy="auto")
    assert upstream.last.fields["chunking_strategy"] == ["auto"]


def test_chunking_strategy_in_brackets_as_the_sdk_sends_it(upstream: Upstream, sdk: openai.OpenAI) -> None:
    strategy: Any = {"type": "server_vad", "threshold": 0.4, "prefix_padding_ms": 100, "silence_duration_ms": 250}
    sdk.audio.transcriptions.create(file=WAV, model="diarize", chunking_strategy=strategy)
    assert _strategy(upstream) == {
        "type": "server_vad",
        "threshold": "0.4",
        "prefix_padding_ms": "100",
        "silence_duration_ms": "250",
    }


def test_chunking_strategy_as_one_json_part(upstream: Upstream, http: httpx.Client) -> None:
    text = '{"type":"server_vad","threshold":0.4}'
    http.post(PATH, data={"model": "diarize", "chunking_strategy": text}, files=FILE)
    assert _strategy(upstream) == {"type": "server_vad", "threshold": "0.4"}


def _strategy(upstream: Upstream) -> dict[str, str]:
    """The strategy that arrived, in either encoding, with its values as text."""
    fields = upstream.last.fields
    if "chunking_strategy" in fields:
        assert len(fields["chunking_strategy"]) == 1
        return {
            name: str(value) for name, value in httpx.Response(200, text=fields["chunking_strategy"][0]).json().items()
        }
    opening = "chunking_strategy["
    return {name[len(opening) : -1]: value for name, [value] in fields.items() if name.startswith(opening)}


def test_unknown_fields_go_on_to_a_self_hosted_upstream(upstream: Upstream, http: httpx.Client) -> None:
    extra = {
        "vad_filter": "true",
        "hotwords": "Kokoro",
        "word_timestamps[]": ["a", "b"],
        "opts[beam]": "5",
        "empty": "",
    }
    reply = http.post(PATH, data={"model": "selfhosted-stt", **extra}, files=FILE)
    assert reply.status_code == 200, reply.text
    sent = asked(upstream.last.fields)
    assert sent.pop("model") == ["faster-whisper"]
    assert sent == {name: value if isinstance(value, list) else [value] for name, value in extra.items()}


def test_our_own_fields_and_the_end_user_stay_here(upstream: Upstream, http: httpx.Client) -> None:
    ours: dict[str, Any] = {
        "tags[]": ["a", "b"],
        "tags": "c",
        "metadata[trace]": "1",
        "metadata": "{}",
        "fallbacks": "x",
    }
    reply = http.post(PATH, data={"model": "selfhosted-stt", "user": "u-1", **ours}, files=FILE)
    assert reply.status_code == 200, reply.text
    assert asked(upstream.last.fields) == {"model": ["faster-whisper"]}


def test_drop_unknown_drops_what_openai_does_not_know(upstream: Upstream, http: httpx.Client) -> None:
    data = {"model": "strict-stt", "language": "en", "vad_filter": "true", "opts[beam]": "5", "include[]": "logprobs"}
    assert http.post(PATH, data=data, files=FILE).status_code == 200
    assert asked(upstream.last.fields) == {"model": ["faster-whisper"], "language": ["en"], "include[]": ["logprobs"]}


@pytest.mark.parametrize("order", ["before", "after"])
def test_the_model_group_is_replaced_wherever_the_field_stands(upstream: Upstream, proxy: Server, order: str) -> None:
    parts = [file_part(WAV)]
    parts.insert(0 if order == "before" else 1, text_part("model", "whisper"))
    with Wire(proxy.port) as wire:
        reply = wire.post(PATH, form(*parts), FORM)
    assert reply.status_code == 200, reply.text
    assert asked(upstream.last.fields) == {"model": ["whisper-1"]}


# -- stream=true -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["gpt-4o-transcribe", "gpt-transcribe"])
def test_stream_true_byte_for_byte(upstream: Upstream, http: httpx.Client, model: str) -> None:
    reply = http.post(PATH, data={"model": model, "stream": "true"}, files=FILE)
    assert reply.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert reply.headers["cache-control"] == "no-store"
    assert reply.content == b"".join(answers.transcription_events(model, {}))


def test_stream_true_is_live(upstream: Upstream, http: httpx.Client) -> None:
    gate = upstream.gate()
    upstream.behave("gpt-4o-transcribe", gate=gate)
    gate.release()
    events = answers.transcription_events("gpt-4o-transcribe", {})
    data = {"model": "gpt-4o-transcribe", "stream": "true"}
    with http.stream("POST", PATH, data=data, files=FILE) as reply:
        arriving = reply.iter_raw()
        for number, event in enumerate(events[:3], 1):
            assert next(arriving) == event
            assert upstream.last.chunks_sent == number
            gate.release()
        gate.open()
        assert b"".join(arriving) == b"".join(events[3:])


def test_stream_true_with_speakers_through_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    with sdk.audio.transcriptions.create(
        file=WAV, model="diarize", stream=True, response_format="diarized_json", chunking_strategy="auto"
    ) as events:
        seen = list(events)
    assert [event.type for event in seen[-2:]] == ["transcript.text.segment", "transcript.text.done"]
    assert upstream.last.fields["stream"] == ["true"]


def test_stream_true_to_whisper_1_which_ignores_it_still_answers(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post(PATH, data={"model": "whisper", "stream": "true"}, files=FILE)
    assert reply.status_code == 200, reply.text
    assert answers.TEXT in reply.text


@pytest.mark.parametrize("wanted", ["json", "text"])
def test_stream_true_to_whisper_1_gives_the_sdk_events(
    upstream: Upstream, sdk: openai.OpenAI, wanted: Literal["json", "text"]
) -> None:
    with sdk.audio.transcriptions.create(file=WAV, model="whisper", stream=True, response_format=wanted) as events:
        seen = list(events)
    assert [event.type for event in seen] == ["transcript.text.delta", "transcript.text.done"]
    assert getattr(seen[-1], "text", None) == answers.TEXT


def test_stream_false_is_a_plain_answer(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post(PATH, data={"model": "gpt-4o-transcribe", "stream": "false"}, files=FILE)
    assert reply.headers["content-type"] == "application/json"


def test_events_with_cr_lf_reach_the_sdk(upstream: Upstream, sdk: openai.OpenAI) -> None:
    events = [event.replace(b"\n", b"\r\n") for event in answers.transcription_events("gpt-4o-transcribe", {})]
    upstream.behave("faster-whisper", answer=stream(*events, content_type="text/event-stream"))
    seen = sdk.audio.transcriptions.create(file=WAV, model="selfhosted-stt", stream=True)
    assert [event.type for event in seen] == ["transcript.text.delta"] * 9 + ["transcript.text.done"]


def test_a_compressed_answer_is_read_or_refused_but_never_garbled(upstream: Upstream, http: httpx.Client) -> None:
    packed = Answer("application/json", [gzip.compress(b'{"text":"packed"}')], headers={"content-encoding": "gzip"})
    upstream.behave("faster-whisper", answer=packed)
    reply = http.post(PATH, data={"model": "selfhosted-stt"}, files=FILE)
    if reply.status_code == 200:
        assert reply.json()["text"] == "packed"
    else:
        error_of(reply, 502, "upstream_invalid")


def test_events_without_done_from_upstream_end_with_it_here(upstream: Upstream, http: httpx.Client) -> None:
    events = answers.transcription_events("gpt-4o-transcribe", {})[:-1]
    upstream.behave("faster-whisper", answer=stream(*events, content_type=answers.EVENT_STREAM))
    reply = http.post(PATH, data={"model": "selfhosted-stt", "stream": "true"}, files=FILE)
    assert reply.status_code == 200
    assert reply.content.startswith(b"".join(events))


# -- what is refused ---------------------------------------------------------------------------------------------------


def test_a_missing_model_is_400_with_param(upstream: Upstream, http: httpx.Client) -> None:
    assert error_of(http.post(PATH, data={"language": "en"}, files=FILE), 400)["param"] == "model"
    assert error_of(http.post(PATH, data={"model": ""}, files=FILE), 400)["param"] == "model"


def test_a_missing_file_is_400_with_param(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post(PATH, data={"model": "whisper"}, files={"other": ("", b"")})
    assert error_of(reply, 400)["param"] == "file"
    assert not upstream.requests


def test_a_file_part_without_a_filename_is_refused_or_goes_on_as_a_file(upstream: Upstream, http: httpx.Client) -> None:
    body = form(text_part("model", "whisper"), ('Content-Disposition: form-data; name="file"', WAV))
    reply = http.post(PATH, content=body, headers=FORM)
    if reply.status_code == 200:
        assert upstream.last.file.sha256 == hashlib.sha256(WAV).hexdigest()
    else:
        assert error_of(reply, 400)["param"] == "file"


def test_a_body_that_is_not_a_form_is_refused(upstream: Upstream, http: httpx.Client) -> None:
    assert error_of(http.post(PATH, json={"model": "whisper"}))["type"] == "invalid_request_error"
    assert error_of(http.post(PATH, data={"model": "whisper"}))["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("model", "fields", "param", "named"),
    [
        ("openai-whisper", {"response_format": "docx"}, "response_format", "verbose_json"),
        ("openai-whisper", {"response_format": "diarized_json"}, "response_format", "verbose_json"),
        ("openai-gpt-4o", {"response_format": "srt"}, "response_format", "json"),
        ("openai-whisper", {"temperature": "2"}, "temperature", "1"),
        ("whisper", {"temperature": "warm"}, "temperature", ""),
        ("openai-whisper", {"timestamp_granularities[]": "minute"}, "timestamp_granularities", "segment"),
        ("whisper", {"stream": "maybe"}, "stream", "true"),
    ],
)
def test_values_out_of_openais_range_are_400_naming_the_allowed_ones(
    upstream: Upstream, http: httpx.Client, model: str, fields: dict[str, str], param: str, named: str
) -> None:
    error = error_of(http.post(PATH, data={"model": model, **fields}, files=FILE), 400)
    assert (error["param"] or "").removesuffix("[]") == param
    assert named in error["message"]


def test_unreadable_audio_is_as_the_upstream_says(upstream: Upstream, http: httpx.Client) -> None:
    said = answers.error(400, "The audio file could not be decoded or its format is not supported.", param="file")
    upstream.behave("whisper-1", answer=said)
    error = error_of(http.post(PATH, data={"model": "whisper"}, files={"file": ("a.wav", b"not audio")}), 400)
    assert error["message"].startswith("The audio file could not be decoded")
    assert error["param"] == "file"


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(stream(b"<html>Sign in</html>", content_type="text/html"), id="html"),
        pytest.param(stream(b'{"error":{"message":"no"}}', content_type="application/json"), id="error document"),
        pytest.param(stream(b'{"text":"hal', content_type="application/json"), id="cut json"),
        pytest.param(stream(content_type="application/json"), id="no bytes"),
        pytest.param(stream(*answers.transcription_events("whisper-1", {}), content_type=EVENT_STREAM), id="events"),
    ],
)
def test_a_200_that_makes_no_sense_is_502(upstream: Upstream, http: httpx.Client, answer: Answer) -> None:
    upstream.behave("whisper-1", answer=answer)
    error_of(http.post(PATH, data={"model": "whisper"}, files=FILE), 502, "upstream_invalid")
