"""Transcription and translation by JSON, with the audio as base64."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from proxy.api.json_uploads import JsonReader
from proxy.storage.spool import SpoolRoom
from tests.conftest import MASTER_KEY, Server, standard_config
from tests.fakes.samples import wav
from tests.fakes.upstream import Upstream
from tests.front.shape import error_of
from tests.front.wire import JSON, Wire

PATH = "/v1/audio/transcriptions"
WAV = wav()
BASE64 = base64.b64encode(WAV).decode()
#: What looks like the audio, in a text.
TRAP = '"input_audio": {"data": "x"}, "file": "data:audio/wav;base64,x", \\"data\\": "'


def document(**members: Any) -> dict[str, Any]:
    return {"model": "whisper", "input_audio": {"data": BASE64, "format": "wav"}} | members


def arrived(upstream: Upstream, reply: httpx.Response) -> None:
    assert reply.status_code == 200, reply.text
    assert (upstream.last.file.size, upstream.last.file.sha256) == (len(WAV), hashlib.sha256(WAV).hexdigest())


def test_as_open_webui_and_openrouter_send_it(upstream: Upstream, http: httpx.Client) -> None:
    fields = {"language": "en", "temperature": 0, "response_format": "verbose_json", "stream": False, "prompt": None}
    reply = http.post(PATH, json=document(**fields, timestamp_granularities=["word", "segment"]))
    arrived(upstream, reply)
    assert reply.json()["segments"]
    assert upstream.last.file.filename == "audio.wav"
    assert upstream.last.fields["timestamp_granularities[]"] == ["word", "segment"]
    assert (upstream.last.fields["language"], "prompt" in upstream.last.fields) == (["en"], False)


def test_translation_by_json(upstream: Upstream, http: httpx.Client) -> None:
    arrived(upstream, http.post("/v1/audio/translations", json=document()))
    assert upstream.last.path.endswith("/audio/translations")


def test_a_stream_by_json(upstream: Upstream, http: httpx.Client) -> None:
    reply = http.post(PATH, json=document(model="gpt-4o-transcribe", stream=True))
    arrived(upstream, reply)
    assert reply.text.endswith("data: [DONE]\n\n")


BODIES = {
    "audio last": json.dumps({"model": "whisper", "prompt": TRAP, "input_audio": {"format": "wav", "data": BASE64}}),
    "audio first": json.dumps({"input_audio": {"data": BASE64, "format": "wav"}, "prompt": TRAP, "model": "whisper"}),
    "indented": json.dumps(document(), indent=2000),
    "escaped": json.dumps(document()).replace("/", "\\/").replace("+", "\\u002B"),
    "escaped key": json.dumps(document()).replace("input_audio", "input\\u005faudio"),
    "in lines": json.dumps(document(input_audio={"data": base64.encodebytes(WAV).decode(), "format": "WAV"})),
    "for URLs": json.dumps(document(input_audio={"data": base64.urlsafe_b64encode(WAV).decode().rstrip("=")})),
    "data URL": json.dumps(document(input_audio={"data": f"data:audio/wav;base64,{BASE64}", "format": ".wav"})),
    "content type": json.dumps(document(input_audio={"data": BASE64, "format": "audio/webm;codecs=opus"})),
    "no file": json.dumps(document(file=None)),
    "no input_audio": json.dumps({"model": "whisper", "input_audio": None, "file": f"data:;base64,{BASE64}"}),
    "file": json.dumps({"model": "whisper", "file": f"data:audio/wav;codecs=1;base64,{BASE64}"}),
    "other data": json.dumps({"provider": {"options": {"x": {"data": "abc!"}}}} | document()),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_every_spelling_arrives(upstream: Upstream, http: httpx.Client, body: str) -> None:
    arrived(upstream, http.post(PATH, content=body, headers=JSON))


def test_arrays_under_any_key(upstream: Upstream, http: httpx.Client) -> None:
    members = {"timestamp_granularities[]": ["word"], "response_format": "verbose_json", "language": ["en"]}
    arrived(upstream, http.post(PATH, json=document(**members)))
    fields = upstream.last.fields
    assert (fields["timestamp_granularities[]"], fields["language"]) == (["word"], ["en"])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 1021])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_pieces_may_end_anywhere(body: str, size: int) -> None:
    content = body.encode()

    async def read() -> bytes:
        room = SpoolRoom(limit=1 << 24)
        reader = JsonReader(room, lambda model: None)
        try:
            for start in range(0, len(content), size):
                await reader.feed(content[start : start + size])
            fields, file = await reader.finish()
            assert ("model", "whisper") in fields
            return b"".join([bytes(piece) async for piece in file.chunks()])
        finally:
            reader.file.close()
            assert room.used == 0
            room.close()

    assert asyncio.run(read()) == WAV


@pytest.mark.parametrize(
    ("members", "param", "message"),
    [
        ({"input_audio": None}, "input_audio", "Missing required parameter: 'input_audio'"),
        ({"input_audio": BASE64}, "input_audio", "an object with 'data'"),
        ({"input_audio": {"format": "wav"}}, "input_audio", "an object with 'data'"),
        ({"input_audio": {"data": 3}}, "input_audio", "an object with 'data'"),
        ({"input_audio": {"url": "https://example.org/a.wav"}}, "input_audio", "URLs are not fetched"),
        ({"input_audio": {"data": "not base64!"}}, "input_audio", "not valid base64"),
        ({"input_audio": {"data": "QUJDR"}}, "input_audio", "not valid base64"),
        ({"input_audio": {"data": "QQ==QUJD"}}, "input_audio", "not valid base64"),
        ({"input_audio": {"data": BASE64 + "\\"}}, "input_audio", "not valid base64"),
        ({"input_audio": {"data": ""}}, "file", "The file is empty."),
        ({"input_audio": {"data": BASE64, "format": "../x"}}, "input_audio", "'format' is the name of a format"),
        ({"input_audio": None, "file": "speech.wav"}, "file", "a data URL"),
        ({"input_audio": None, "file": BASE64}, "file", "a data URL"),
        ({"input_audio": None, "file": "https://example.org/a.wav"}, "file", "a data URL"),
        ({"input_audio": None, "file": {"data": BASE64}}, "file", "a data URL"),
        ({"file": f"data:audio/wav;base64,{BASE64}"}, "file", "either 'file' or 'input_audio'"),
        ({"model": None}, "model", "Missing required parameter: 'model'"),
        ({"language": "klingon"}, "language", "not a known language"),
        ({"temperature": [1]}, None, ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(
    upstream: Upstream, http: httpx.Client, members: dict[str, Any], param: str | None, message: str
) -> None:
    reply = http.post(PATH, json={name: value for name, value in document(**members).items() if value is not None})
    if param is not None:
        error = error_of(reply, 400)
        assert (error["param"], message in error["message"]) == (param, True), error
        assert upstream.requests == []


@pytest.mark.parametrize("content", [json.dumps(document())[:900], "[]", "{", '{"input_audio":{"data":"QUJD\\"QUJD"}}'])
def test_what_is_no_json_is_refused(http: httpx.Client, content: str) -> None:
    assert error_of(http.post(PATH, content=content, headers=JSON), 400)["code"] == "invalid_json"


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("model_first", [False, True])
def test_the_limit_is_that_of_the_decoded_file(
    upstream: Upstream, http: httpx.Client, chunked: bool, model_first: bool
) -> None:
    audio = {"input_audio": {"data": base64.b64encode(bytes(200)).decode()}}
    body = json.dumps({"model": "tiny"} | audio if model_first else audio | {"model": "tiny"}).encode()
    reply = http.post(PATH, content=iter([body]) if chunked else body, headers=JSON)
    assert "Max file size: 0.0001 MB" in error_of(reply, 413)["message"]
    fits = {"model": "tiny", "input_audio": {"data": base64.b64encode(WAV[:100]).decode()}}
    assert http.post(PATH, json=fits).status_code == 200


def test_the_whole_body_is_bounded_and_the_error_says_where(upstream: Upstream, serve: Callable[..., Server]) -> None:
    server = serve(standard_config(upstream.url, max_request_size_mb=1))
    headers = {"authorization": f"Bearer {MASTER_KEY}"}
    large = document(input_audio={"data": base64.b64encode(bytes(1 << 20)).decode()})
    reply = httpx.post(server.url + PATH, json=large, headers=headers, timeout=20)
    assert "max_request_size_mb: 1" in error_of(reply, 413)["message"]


def test_the_fields_besides_the_audio_are_bounded(http: httpx.Client) -> None:
    error_of(http.post(PATH, json=document(prompt="x" * (17 << 20))), 413)


@pytest.mark.parametrize("keywords", [["x"] * 2000, [[[["x"] * 40] * 40]], {str(number): 1 for number in range(2000)}])
def test_the_number_of_fields_is_bounded(upstream: Upstream, http: httpx.Client, keywords: Any) -> None:
    error_of(http.post(PATH, json=document(keywords=keywords)), 413)
    assert upstream.requests == []


@pytest.mark.parametrize(
    "value", ["1" * 4000, "1" * 10_000, "-1e999", "NaN", "[" * 300 + "]" * 300, '{"a":{"b":[{}]}}']
)
def test_odd_values_do_no_harm(http: httpx.Client, value: str) -> None:
    body = json.dumps(document(odd=0, temperature=0)).replace('"odd": 0', f'"odd": {value}')
    assert http.post(PATH, content=body, headers=JSON).status_code in (200, 400)


def test_a_large_file_goes_to_the_disk_and_never_whole_into_memory(
    upstream: Upstream, serve: Callable[..., Server], tmp_path: Path
) -> None:
    server = serve(standard_config(upstream.url, spool_dir=str(tmp_path)))
    # Of a chunk that starts nowhere in particular; 48 MiB decoded.
    piece = base64.b64encode(bytes(3 << 18))
    start, end = b'{"model":"whisper","input_audio":{"data":"', b'","format":"wav"}}'
    with Wire(server.port) as wire:
        wire.head("POST", PATH, {**JSON, "Content-Length": str(len(start) + 64 * len(piece) + len(end))})
        wire.send(start)
        before = server.peak_memory()
        for _ in range(64):
            wire.send(piece)
        wire.send(end)
        assert wire.reply().status_code == 200
    assert upstream.last.file.size == 48 << 20
    assert server.peak_memory() - before < 24 << 20
