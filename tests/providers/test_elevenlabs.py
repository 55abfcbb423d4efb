"""What is ElevenLabs' own: settings, characters, key terms, whose voices they are, what its errors mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import ProxyError, UnsupportedValue, UpstreamInvalid
from proxy.http.messages import Request
from proxy.providers.base import SpeechAnswer, WholeTranscript
from proxy.providers.vendors.elevenlabs import ELEVENLABS, MODELS, VOICES
from proxy.providers.voices import NAMES
from tests.fakes import messages
from tests.providers.attempts import Held

FIXTURES = Path(__file__).parent / "fixtures" / "elevenlabs"
SARAH = "EXAVITQu4vr4xnSDxMaL"


def adapter(model: str = "eleven_v4", **own: Any) -> Any:
    deployment = Deployment(id="one", group="g", vendor="elevenlabs", model=model, where="config.yaml:1", **own)
    return ELEVENLABS.bind(deployment, {"ELEVENLABS_API_KEY": "sk_the_key"})


def spoken(request: SpeechRequest, headers: dict[str, str] | None = None, **own: Any) -> tuple[Request, SpeechAnswer]:
    flow = adapter(**own).speech(request)
    asked = next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200, headers=headers or {}))
    return asked, stop.value.value


def said(text: str = "Hello", voice: str = SARAH, **more: Any) -> SpeechRequest:
    return SpeechRequest("m", text, voice, **more)


def body(request: Request) -> Any:
    return json.loads(messages.body_of(request))


def form(request: TranscriptionRequest, model: str = "scribe_v3") -> list[tuple[str, str]]:
    head = next(adapter(model).transcription(request)).request.body._head.decode()
    parts = [part.split("\r\n\r\n", 1) for part in head.split("--")[1:] if "\r\n\r\n" in part]
    return [
        (top.split('name="')[1].split('"')[0], value.removesuffix("\r\n"))
        for top, value in parts
        if "filename" not in top
    ]


def asked(**more: Any) -> TranscriptionRequest:
    return TranscriptionRequest("m", Held(b"RIFF"), **more)


def heard(document: Any, **more: Any) -> WholeTranscript:
    flow = adapter("scribe_v3").transcription(asked(**more))
    next(flow)
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200, content=content))
    found: WholeTranscript = stop.value.value
    return found


def fixture(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


# -- speech ------------------------------------------------------------------------------------------------------------


def test_the_request() -> None:
    request, answer = spoken(said("[whispering] Hello", response_format="mp3"))
    assert str(request.url) == f"https://api.elevenlabs.io/v1/text-to-speech/{SARAH}/stream?output_format=mp3_44100_128"
    assert request.headers["xi-api-key"] == "sk_the_key"
    assert body(request) == {"text": "[whispering] Hello", "model_id": "eleven_v4"}
    assert answer.format == "mp3"


@pytest.mark.parametrize(
    "api_base", ["https://api.eu.residency.elevenlabs.io", "https://api.eu.residency.elevenlabs.io/v1/"]
)
def test_another_address(api_base: str) -> None:
    request, _ = spoken(said(), api_base=api_base)
    assert str(request.url).startswith("https://api.eu.residency.elevenlabs.io/v1/text-to-speech/")


@pytest.mark.parametrize("wanted", ["wav", "flac", "aac", "pcm"])
def test_what_elevenlabs_does_not_stream_is_made_of_pcm(wanted: str) -> None:
    request, answer = spoken(said(response_format=wanted))
    assert messages.params(request)["output_format"] == "pcm_24000"
    assert (answer.format, answer.rate) == ("pcm", 24_000)


def test_speed_joins_the_settings_of_the_request() -> None:
    request, _ = spoken(said(speed=1.1, extra={"voice_settings": {"stability": 0.3, "speed": 0.8}}))
    assert body(request)["voice_settings"] == {"stability": 0.3, "speed": 1.1}
    request, _ = spoken(said(extra={"voice_settings": {"use_speaker_boost": True}}))
    assert body(request)["voice_settings"] == {"use_speaker_boost": True}


def test_latency_stands_in_the_query() -> None:
    request, _ = spoken(said(extra={"optimize_streaming_latency": 3, "language_code": "de"}))
    assert messages.params(request)["optimize_streaming_latency"] == "3"
    assert body(request) == {"text": "Hello", "model_id": "eleven_v4", "language_code": "de"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("voice_settings", "x"), ("voice_settings", {"speed": "fast"}), ("voice_settings", {"a": {"b": 1}}),
        ("voice_settings", {"stability": None}), ("seed", "1"), ("seed", 10**600),
        ("optimize_streaming_latency", 10**600), ("voice_settings", {"stability": 10**600}),
        ("seed", True), ("language_code", ["de"]),
        ("optimize_streaming_latency", "3&output_format=pcm_8000"), ("apply_language_text_normalization", 1),
    ],
)  # fmt: skip
def test_an_extra_of_another_type(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedValue) as refused:
        spoken(said(extra={name: value}))
    assert refused.value.param == name


@pytest.mark.parametrize(
    ("headers", "characters"),
    [
        ({}, 5),
        ({"x-character-count": "7"}, 7),
        ({"character-cost": "3"}, 5),
        ({"x-character-count": "many"}, 5),
        ({"x-character-count": "-1"}, 5),
        ({"x-character-count": "9" * 50}, 5),
        ({"x-character-count": "٣"}, 5),
    ],
)
def test_characters_are_billed_not_credits(headers: dict[str, str], characters: int) -> None:
    flow = adapter("eleven_flash_v2_5").speech(said())
    next(flow)
    raw = [(name.encode(), value.encode("utf-8")) for name, value in headers.items()]
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200, headers=raw))
    assert stop.value.value.metadata.usage.characters == characters


@pytest.mark.parametrize("voice", ["..", ".", "", "a\nb"])
def test_a_voice_that_would_leave_its_place(voice: str) -> None:
    with pytest.raises(UnsupportedValue):
        spoken(said(voice=voice))


def test_openais_names_have_a_voice_each() -> None:
    assert set(VOICES.openai) == set(NAMES)
    assert len(set(VOICES.openai.values())) == len(NAMES)
    assert len({voice.id for voice in VOICES.catalogue}) == len(VOICES.catalogue)
    assert all(len(voice.id) == 20 and voice.id.isalnum() for voice in VOICES.catalogue)


def test_only_default_voices_are_public() -> None:
    assert VOICES.find("Rachel") == "21m00Tcm4TlvDq8ikWAM"
    assert VOICES.find("CustomVoiceId0000001") is None
    flow = adapter().voices()
    step = next(flow)
    assert step.request.url.path == "/v2/voices"
    assert messages.params(step.request)["voice_type"] == "default"
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200, content=(FIXTURES / "voices.json").read_bytes()))
    assert [(voice.id, voice.gender, voice.language) for voice in stop.value.value] == [
        (SARAH, "female", "en"),
        ("SAz9YHcvj6GT2YYXdXww", "neutral", "en"),
    ]


@pytest.mark.parametrize(
    ("model", "mode"), [("eleven_v5", Mode.SPEECH), ("scribe_v9", Mode.TRANSCRIPTION), ("x", Mode.SPEECH)]
)
def test_a_model_of_tomorrow_opens_no_private_voice(model: str, mode: Mode) -> None:
    declared = adapter(model).capabilities
    assert declared.modes == {mode}
    assert mode == Mode.TRANSCRIPTION or declared.voices is VOICES


# -- transcription -----------------------------------------------------------------------------------------------------


def test_the_form() -> None:
    assert form(asked()) == [
        ("model_id", "scribe_v3"),
        ("timestamps_granularity", "word"),
        ("tag_audio_events", "false"),
    ]
    fields = dict(
        form(asked(response_format="diarized_json", temperature=0.5, language="de", extra=(("num_speakers", "2"),)))
    )
    assert fields["diarize"] == "true"
    assert fields["temperature"] == "0.5"
    assert fields["language_code"] == "de"
    assert fields["num_speakers"] == "2"


def test_several_languages_are_left_to_scribe() -> None:
    assert dict(form(asked(languages=("de",))))["language_code"] == "de"
    assert "language_code" not in dict(form(asked(languages=("de", "fr"))))
    metadata = heard(fixture("scribe.json"), languages=("de", "fr")).metadata
    assert metadata is not None
    assert "languages" in metadata.warnings[0]


def test_key_terms_that_scribe_takes() -> None:
    keywords = ("Contoso", "<b>bold</b>", "one two three four five six", "x" * 50)
    terms = [value for name, value in form(asked(keywords=keywords, prompt="Ada, Grace")) if name == "keyterms"]
    assert terms == ["Contoso", "b bold /b", "Ada", "Grace"]
    metadata = heard(fixture("scribe.json"), keywords=keywords).metadata
    assert metadata is not None
    assert "2 of 4 key terms" in metadata.warnings[0]


def test_a_prompt_of_prose_is_warned_of() -> None:
    prose = "The following is a conversation between two engineers about the deployment. It is informal."
    assert "keyterms" not in dict(form(asked(prompt=prose)))
    metadata = heard(fixture("scribe.json"), prompt=prose).metadata
    assert metadata is not None
    assert "prompt" in metadata.warnings[0]


def test_the_first_scribe_has_no_key_terms() -> None:
    assert MODELS["scribe_v1"].ignores >= {"prompt", "keywords"}
    assert not MODELS["scribe_v3"].ignores & {"prompt", "keywords"}


def test_the_transcript() -> None:
    found = heard(fixture("scribe.json"))
    assert found.transcript.language == "en"
    assert found.transcript.duration == 3.45
    assert [word.word for word in found.transcript.words] == ["Good", "afternoon.", "Thank", "you", "for", "calling."]
    assert {word.speaker for word in found.transcript.words} == {None}
    assert found.transcript.usage == {"type": "duration", "seconds": 4}
    diarized = heard(fixture("scribe.json"), response_format="diarized_json").transcript
    assert [word.speaker for word in diarized.words] == ["A", "A", "B", "B", "B", "B"]


def test_a_length_that_is_not_told_is_that_of_the_words() -> None:
    document = fixture("scribe.json")
    del document["audio_duration_secs"]
    assert heard(document).transcript.duration == 2.9


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", {}, {"text": 1}, {"text": "a", "words": [1]}, {"text": "a", "words": [{"type": "word", "text": "a"}]},
     {"text": "a", "audio_duration_secs": "long"}],
)  # fmt: skip
def test_a_transcript_that_is_none(document: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        heard(document)


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "detail", "kind", "answered"),
    [
        (401, {"status": "quota_exceeded", "message": "38 credits remaining"}, "upstream_rate_limited", 429),
        (401, {"status": "invalid_api_key", "message": "x"}, "upstream_credentials", 502),
        (401, {"status": "missing_permissions", "message": "x"}, "upstream_credentials", 502),
        (402, {"status": "payment_required", "message": "x"}, "upstream_rate_limited", 429),
        (404, {"status": "voice_not_found", "message": "x"}, "upstream_not_found", 404),
        (400, {"status": "model_not_found", "message": "x"}, "upstream_not_found", 404),
        (429, {"status": "too_many_concurrent_requests", "message": "x"}, "upstream_rate_limited", 429),
        (429, {"status": "system_busy", "message": "x"}, "upstream_unavailable", 503),
        (429, {"code": "system_busy"}, "upstream_unavailable", 503),
        (400, {"status": ["x"], "message": {"y": 1}, "type": 7, "param": []}, "upstream_rejected", 400),
        (400, "text", "upstream_rejected", 400),
        (500, None, "upstream_unavailable", 500),
    ],
)  # fmt: skip
def test_errors(status: int, detail: Any, kind: str, answered: int) -> None:
    found: ProxyError = adapter().error(messages.response(status), json.dumps({"detail": detail}).encode())
    assert (found.kind, found.status) == (kind, answered)


def test_neither_host_nor_key_nor_balance_is_told() -> None:
    leaky = "sk_the_key at api.elevenlabs.io has 38 credits remaining"
    for kind, status in (("quota_exceeded", 401), ("voice_not_found", 404), ("system_busy", 503), ("other", 400)):
        content = json.dumps({"detail": {"status": kind, "message": leaky}}).encode()
        found: ProxyError = adapter().error(messages.response(status), content)
        assert "sk_the_key" not in found.message + found.detail
        assert "api.elevenlabs.io" not in found.message + found.detail
        assert kind != "quota_exceeded" or "38" not in found.message
