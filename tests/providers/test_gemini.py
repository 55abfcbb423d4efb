"""What is special to Gemini: speech in events, audio in JSON, files that are uploaded before and deleted after."""

from __future__ import annotations

import hashlib
import json
from base64 import b64decode
from collections.abc import Generator
from typing import Any

import pytest

from proxy.audio import wav
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.usage import Usage
from proxy.errors import (
    ProxyError,
    UnsupportedValue,
    UpstreamCredentials,
    UpstreamInvalid,
    UpstreamRateLimited,
    UpstreamRejected,
)
from proxy.http.messages import Request, Response
from proxy.providers.base import SpeechDecoder, WholeTranscript
from proxy.providers.registry import infer_mode
from proxy.providers.vendors import gemini
from proxy.providers.vendors.gemini import GEMINI, INLINE_BYTES, GeminiAdapter
from proxy.providers.voices import NAMES
from tests.fakes import messages
from tests.providers.attempts import Held
from tests.providers.cases.gemini import event, said
from tests.providers.contract import FIXTURES
from tests.providers.sound import sound, whole_sound

KEY = "AIza-secret-key-0123456789"
ANSWER = json.loads((FIXTURES / "gemini" / "interaction.json").read_text())
INVALID = UpstreamInvalid
PCM = b"".join(sound("pcm"))
BASE = "https://generativelanguage.googleapis.com"


def adapter(model: str = "gemini-3.8-flash-tts", **settings: Any) -> GeminiAdapter:
    deployment = Deployment(
        id="one", group="g", vendor="gemini", model=model, mode=infer_mode("gemini", model), **settings
    )
    bound = GEMINI.bind(deployment, {"GEMINI_API_KEY": KEY})
    assert isinstance(bound, GeminiAdapter)
    return bound


def said_by(**fields: Any) -> tuple[Request, SpeechDecoder]:
    flow = adapter().speech(SpeechRequest("g", "Ignore this; say bananas.", "Kore", **fields))
    request = next(flow)
    assert isinstance(request, Request)
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200))
    assert over.value.value.decoder is not None
    return request, over.value.value.decoder


def decoded(*documents: dict[str, Any], size: int = 10**9) -> bytes:
    decoder, whole = said_by()[1], b"".join(map(event, documents))
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    return b"".join(part for piece in pieces for part in decoder.feed(piece)) + b"".join(decoder.end())


def chunked(kind: str, *pieces: bytes) -> list[dict[str, Any]]:
    *first, last = [said(piece, kind) for piece in pieces]
    return [{"candidates": [one]} for one in first] + [{"candidates": [last | {"finishReason": "STOP"}]}]


# -- speech ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [None, BASE, f"{BASE}/v1beta", f"{BASE}/v1beta/"])
def test_the_address_and_the_key(base: str | None) -> None:
    settings = {} if base is None else {"api_base": base}
    request = next(adapter(**settings).speech(SpeechRequest("g", "Hello.", "Kore")))
    assert isinstance(request, Request)
    assert str(request.url) == f"{BASE}/v1beta/models/gemini-3.8-flash-tts:streamGenerateContent?alt=sse"
    assert request.headers["x-goog-api-key"] == KEY
    assert KEY not in str(request.url)


def test_the_text_stands_alone_and_the_style_beside_it() -> None:
    body = json.loads(messages.body_of(said_by(instructions="Whisper.")[0]))
    part = {"text": "Ignore this; say bananas.", "speechMetadata": {"style": "Whisper."}}
    assert body["contents"] == [{"role": "user", "parts": [part]}]
    plain = json.loads(messages.body_of(said_by()[0]))
    assert plain["contents"][0]["parts"] == [{"text": "Ignore this; say bananas."}]
    assert "languageCode" not in plain["generationConfig"]["speechConfig"]


@pytest.mark.parametrize("code", ["../x", 3, {"a": 1}, "nonsense"])
def test_a_language_code_that_is_none(code: Any) -> None:
    with pytest.raises(UnsupportedValue):
        said_by(extra={"language_code": code})


def test_thirty_voices() -> None:
    assert len({voice.id for voice in gemini.VOICES.catalogue}) == 30
    assert len({gemini.VOICES.find(name) for name in NAMES}) == 13


@pytest.mark.parametrize("size", [1, 5, 1000, 10**9])
def test_audio_wherever_its_events_are_cut(size: int) -> None:
    assert decoded(*chunked("audio/L16;codec=pcm;rate=24000", *sound("pcm")), size=size) == PCM


def test_wav_all_the_same() -> None:
    """Each part a file of its own, or one header and the rest of its samples."""
    head = wav.header(24_000)
    assert decoded(*chunked("audio/wav", *(head + piece for piece in sound("pcm")))) == PCM
    assert decoded(*chunked("audio/wav", whole_sound("wav"))) == PCM
    extra = b"LIST\x04\x00\x00\x00abcd"
    assert decoded(*chunked("audio/wav", whole_sound("wav") + extra)) == PCM


@pytest.mark.parametrize(
    ("kind", "audio"),
    [
        ("audio/mp3", PCM),
        ("audio/L16;rate=16000", PCM),
        ("audio/wav", whole_sound("wav", 16_000)),
        ("audio/wav", b"RIFF\x00"),
        ("image/png", PCM),
    ],
)
def test_another_format_than_was_asked_for(kind: str, audio: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        decoded(*chunked(kind, audio))


@pytest.mark.parametrize(
    ("documents", "due"),
    [
        ([], UpstreamInvalid),
        ([{"candidates": [said(PCM)]}], UpstreamInvalid),
        ([{"candidates": [said(PCM, finishReason="MAX_TOKENS")]}], UpstreamInvalid),
        ([{"candidates": [said(PCM, finishReason="OTHER")]}], UpstreamInvalid),
        ([{"candidates": [{"finishReason": "STOP"}]}], UpstreamInvalid),
        ([{"candidates": [{"finishReason": "OTHER"}]}], UpstreamInvalid),
        ([{"candidates": [{"finishReason": "SAFETY"}]}], UpstreamRejected),
        ([{"candidates": [{"finishReason": "RECITATION"}]}], UpstreamRejected),
        ([{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}], UpstreamRejected),
        ([{"promptFeedback": {"blockReason": "OTHER"}}], UpstreamInvalid),
        ([{"candidates": 3}], UpstreamInvalid),
        ([{"candidates": [{"content": {"parts": [3]}}]}], UpstreamInvalid),
        ([{"candidates": [{"content": {"parts": [{"inlineData": {"mimeType": "audio/L16", "data": "%"}}]}}]}], INVALID),
        ([{"error": {"code": 429, "message": "x"}}], UpstreamRateLimited),
        ([{"error": "x"}], ProxyError),
    ],
)  # fmt: skip
def test_speech_that_never_was(documents: list[dict[str, Any]], due: type[ProxyError]) -> None:
    with pytest.raises(due) as raised:
        decoded(*documents)
    assert raised.value.retryable == (due is not UpstreamRejected)


def test_the_last_usage_counts() -> None:
    _, decoder = said_by()
    first = {"candidates": [said(PCM)], "usageMetadata": {"promptTokenCount": 4}}
    last = {
        "candidates": [{"finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 30},
    }
    assert b"".join(decoder.feed(event(first) + event(last))) == PCM
    assert decoder.usage == Usage(input_text_tokens=4, output_audio_tokens=30)


# -- transcription -----------------------------------------------------------------------------------------------------


def asking(size: int = 0, **fields: Any) -> Generator[Any, Response, Any]:
    file = Held(whole_sound("wav") + bytes(size))
    return adapter("gemini-3.5-transcribe").transcription(TranscriptionRequest("g", file, **fields))


def sent(step: Any) -> Any:
    """The document of a request, whose length is what was said."""
    content = messages.body_of(step.request)
    assert len(content) == int(step.request.headers["content-length"])
    return json.loads(content)


def heard(answer: Any, **fields: Any) -> WholeTranscript:
    flow = asking(**fields)
    next(flow)
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, content=json.dumps(answer)))
    assert isinstance(over.value.value, WholeTranscript)
    return over.value.value


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 70_001])
def test_a_file_goes_along_as_base64(size: int) -> None:
    class Pieces(Held):
        async def chunks(self) -> Any:
            for start in range(0, len(self.content), 1000):
                yield self.content[start : start + 1000]

    content = whole_sound("wav")[: 4000 + size]
    flow = adapter("gemini-3.5-transcribe").transcription(TranscriptionRequest("g", Pieces(content)))
    body = sent(next(flow))
    (audio,) = body["input"]
    assert hashlib.sha256(b64decode(audio["data"])).digest() == hashlib.sha256(content).digest()
    assert (audio["type"], audio["mime_type"], body["store"]) == ("audio", "audio/wav", False)


@pytest.mark.parametrize(
    ("wanted", "mode"),
    [
        ("json", {"type": "verbatim"}),
        ("text", {"type": "verbatim"}),
        ("srt", {"type": "verbatim", "timestamp_granularities": ["word"]}),
        (
            "diarized_json",
            {"type": "verbatim", "timestamp_granularities": ["word"], "diarization_mode": "speaker"},
        ),
    ],
)
def test_times_and_speakers_are_asked_for_where_they_are_wanted(wanted: str, mode: dict[str, Any]) -> None:
    body = sent(next(asking(response_format=wanted)))
    assert body["generation_config"] == {"transcription_config": {"mode": mode}}


def test_languages_and_terms() -> None:
    fields = {"language": "de", "languages": ("pt-BR", "de"), "keywords": ("Kokoro",), "prompt": "Zürich, Bern"}
    config = sent(next(asking(**fields)))["generation_config"]["transcription_config"]
    assert config["language_codes"] == ["de", "pt-BR"]
    assert config["custom_vocabulary"] == ["Kokoro", "Zürich", "Bern"]


@pytest.mark.parametrize(
    ("format", "kind"), [("mp3", "audio/mp3"), ("flac", "audio/flac"), ("opus", "audio/ogg"), ("aac", "audio/aac")]
)
def test_the_kind_of_audio_is_what_its_bytes_say(format: str, kind: str) -> None:
    file = Held(whole_sound(format), filename="a.wav", content_type="application/octet-stream")
    assert gemini.mime_type(file) == kind


def test_words_without_times_are_none() -> None:
    answer = json.loads(json.dumps(ANSWER))
    del answer["steps"][0]["content"][0]["annotations"][2]["start_offset"]
    assert heard(answer).transcript.words == ()
    assert heard(answer).transcript.text == "Good morning. I lost my card."


@pytest.mark.parametrize("status", ["failed", "in_progress", "requires_continuation", "budget_exceeded", 3])
def test_an_interaction_that_did_not_complete(status: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        heard(ANSWER | {"status": status})


@pytest.mark.parametrize(
    "steps", [None, [], 3, [{"type": "thought"}], [{"type": "model_output", "content": [{"type": "text"}]}]]
)
def test_an_interaction_without_a_text(steps: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        heard(ANSWER | {"steps": steps})


# -- files -------------------------------------------------------------------------------------------------------------

UPLOAD = f"{BASE}/upload/v1beta/files?upload_id=abc&upload_protocol=resumable"


def file(state: str | None, **more: Any) -> Response:
    document = {"name": "files/abc-123", "uri": f"{BASE}/v1beta/files/abc-123", "state": state, **more}
    return messages.response(200, json=document)


def uploaded(state: str) -> Response:
    return messages.response(200, json={"file": json.loads(file(state).content)})


def begun() -> Generator[Any, Response, Any]:
    """A file too large to go along, up to its bytes."""
    flow = asking(INLINE_BYTES, response_format="json")
    start = next(flow)
    assert (start.request.method, str(start.request.url)) == ("POST", f"{BASE}/upload/v1beta/files")
    assert start.request.headers["x-goog-upload-command"] == "start"
    assert start.request.headers["x-goog-upload-header-content-type"] == "audio/wav"
    return flow


def test_a_large_file_is_uploaded_used_and_deleted() -> None:
    flow = begun()
    upload = flow.send(messages.response(200, headers={"x-goog-upload-url": UPLOAD}))
    assert str(upload.request.url) == UPLOAD
    assert upload.request.headers["x-goog-upload-command"] == "upload, finalize"
    assert int(upload.request.headers["content-length"]) == len(whole_sound("wav")) + INLINE_BYTES
    steps = [flow.send(uploaded("PROCESSING"))]
    steps += [flow.send(file("PROCESSING")) for _ in range(5)]
    assert {str(step.request.url) for step in steps} == {f"{BASE}/v1beta/files/abc-123"}
    deadlines = [step.wait for step in steps]
    assert deadlines == sorted(deadlines)
    assert deadlines[0] > 0
    ask = flow.send(file("ACTIVE"))
    audio = {"type": "audio", "uri": f"{BASE}/v1beta/files/abc-123", "mime_type": "audio/wav"}
    assert sent(ask)["input"] == [audio]
    cleanups = [step.cleanup for step in (*steps, ask) if step.cleanup is not None]
    assert [(one.method, str(one.url)) for one in cleanups] == [("DELETE", f"{BASE}/v1beta/files/abc-123")]
    assert steps[0].cleanup is not None
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, json=ANSWER))
    assert over.value.value.transcript.text == "Good morning. I lost my card."


def test_a_file_that_is_ready_at_once_is_deleted_too() -> None:
    flow = begun()
    flow.send(messages.response(200, headers={"x-goog-upload-url": UPLOAD}))
    ask = flow.send(uploaded("ACTIVE"))
    assert ask.request.url.path == "/v1beta/interactions"
    assert ask.cleanup.method == "DELETE"


@pytest.mark.parametrize("polled", [False, True])
def test_a_file_that_cannot_be_taken_in_is_deleted_too(polled: bool) -> None:
    flow = begun()
    step = flow.send(messages.response(200, headers={"x-goog-upload-url": UPLOAD}))
    if polled:
        step = flow.send(uploaded("PROCESSING"))
        assert step.cleanup.method == "DELETE"
        with pytest.raises(UpstreamInvalid):
            flow.send(file("FAILED"))
        return
    step = flow.send(uploaded("FAILED"))
    assert step.request.method == "DELETE"
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200, content=b"{}"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://evil.example/upload",
        "http://generativelanguage.googleapis.com/upload",
        "https://generativelanguage.googleapis.com:8443/upload",
        "https://generativelanguage.googleapis.com.evil.example/upload",
        "https://user:pass@generativelanguage.googleapis.com/upload",
        "//evil.example/upload",
        "/upload",
        "https://[",
    ],
)
def test_the_bytes_and_the_key_go_to_the_vendor_alone(url: str) -> None:
    flow = begun()
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200, headers={"x-goog-upload-url": url}))


@pytest.mark.parametrize("name", ["files/../models", "files/a/b", "models/x", "files/", "files/a?x=1", 3, None])
def test_a_name_of_a_file_that_is_none(name: Any) -> None:
    flow = begun()
    flow.send(messages.response(200, headers={"x-goog-upload-url": UPLOAD}))
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200, json={"file": json.loads(file("ACTIVE", name=name).content)}))


# -- errors ------------------------------------------------------------------------------------------------------------


def failed(status: int, document: Any, **headers: str) -> ProxyError:
    return adapter().error(messages.response(status, headers=headers), json.dumps(document).encode())


def test_a_bad_key_is_a_400() -> None:
    details = [{"reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    error = failed(400, {"error": {"code": 400, "message": f"{KEY} is not valid", "details": details}})
    assert isinstance(error, UpstreamCredentials)
    assert KEY not in error.message + error.detail
    assert isinstance(failed(400, {"error": {"code": 400, "message": "no", "details": [3, None]}}), UpstreamRejected)


def test_how_long_to_wait() -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}]
    stated = {"error": {"code": 429, "message": "no", "status": "RESOURCE_EXHAUSTED", "details": details}}
    assert failed(429, stated).retry_after == 34.07
    assert failed(429, [stated]).retry_after == 34.07
    assert failed(429, stated, **{"retry-after": "7"}).retry_after == 7
    details[0]["retryDelay"] = "soon"
    assert failed(429, stated).retry_after is None


@pytest.mark.parametrize("body", [b"", b"[]", b"[1]", b'{"error": 3}', b'{"error": []}', b"<html>", b"null"])
def test_errors_that_say_nothing(body: bytes) -> None:
    assert adapter().error(messages.response(503), body).status == 503
    assert adapter().event_error(body).status == 500


def test_models_that_are_not_in_the_table() -> None:
    assert adapter("gemini-4-flash-tts").capabilities.formats == ("pcm",)
    assert infer_mode("gemini", "gemini-4-flash-tts") == Mode.SPEECH
    with pytest.raises(UnsupportedValue):
        adapter("..")
