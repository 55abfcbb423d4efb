"""What is special to Deepgram: model ids that hold voices, everything in the query, three shapes of errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UnsupportedValue, UpstreamInvalid, UpstreamNotFound, UpstreamRejected
from proxy.http.messages import ByteStream, Request
from proxy.providers.base import Adapter, BufferedRequest, SpeechAnswer, WholeTranscript
from proxy.providers.registry import infer_mode
from proxy.providers.vendors.deepgram import AURA_2_VOICES, DEEPGRAM, ENGLISH, FLUX_VOICES, DeepgramAdapter
from proxy.providers.voices import NAMES
from proxy.providers.wire.upload import UploadStream
from tests.fakes import messages
from tests.providers.attempts import Held
from tests.providers.contract import FIXTURES
from tests.providers.spec import SPECS

KEY = "dg-secret-key-0123456789"
ANSWER = json.loads((FIXTURES / "deepgram" / "nova-3.json").read_text())


def adapter(model: str, **settings: Any) -> Adapter:
    deployment = Deployment(
        id="one", group="g", vendor="deepgram", model=model, mode=infer_mode("deepgram", model), **settings
    )
    return DEEPGRAM.bind(deployment, {"DEEPGRAM_API_KEY": KEY})


def said(model: str, *, headers: Mapping[str, str] | None = None, **fields: Any) -> tuple[Request, SpeechAnswer]:
    flow = adapter(model).speech(SpeechRequest(model="g", input="Hello.", **fields))
    request = next(flow)
    assert isinstance(request, Request)
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, headers=headers))
    return request, over.value.value


def heard(
    model: str, *, answer: Any = ANSWER, file: Held | None = None, **fields: Any
) -> tuple[Request, WholeTranscript]:
    flow = adapter(model).transcription(TranscriptionRequest(model="g", file=file or Held(b"RIFF"), **fields))
    step = next(flow)
    assert isinstance(step, BufferedRequest)
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, content=json.dumps(answer)))
    return step.request, over.value.value


def query(request: Request) -> dict[str, Any]:
    names = dict.fromkeys(messages.params(request))
    values = {name: messages.params(request).get_list(name) for name in names}
    return {name: value[0] if len(value) == 1 else value for name, value in values.items()}


def warnings_of(answer: SpeechAnswer | WholeTranscript) -> list[str]:
    assert answer.metadata is not None
    return list(answer.metadata.warnings)


# -- voices ------------------------------------------------------------------------------------------------------------


def test_the_catalogue_is_what_the_spec_lists() -> None:
    parameters = json.loads((SPECS / "deepgram.json").read_text())["paths"]["/v1/speak"]["post"]["parameters"]
    model = next(parameter["schema"] for parameter in parameters if parameter["name"] == "model")
    listed = {id for id in model["anyOf"][0]["enum"] if id.startswith("aura-2-")}
    # The API never served this one: release notes of deepgram-sdk 7.9.0.
    assert {voice.id for voice in AURA_2_VOICES.catalogue} == listed - {"aura-2-perseo-it"}


@pytest.mark.parametrize("voices", [AURA_2_VOICES, FLUX_VOICES], ids=["aura-2", "flux"])
def test_openais_names_are_thirteen_english_voices_of_the_catalogue(voices: Any) -> None:
    ids = {voice.id for voice in voices.catalogue if voice.language == "en"}
    assert set(voices.openai) == set(NAMES)
    assert len(set(voices.openai.values())) == len(NAMES)
    assert set(voices.openai.values()) <= ids


@pytest.mark.parametrize(
    ("voice", "model"),
    [
        ("aura-2-thalia-en", "aura-2-thalia-en"),
        ("julius-de", "aura-2-julius-de"),
        ("brandnew", "aura-2-brandnew-en"),
        ("../../v1/projects?x=1", "aura-2-../../v1/projects?x=1-en"),
    ],
)
def test_the_voice_completes_the_id(voice: str, model: str) -> None:
    request, _ = said("aura-2", voice=voice)
    assert request.url.path == "/v1/speak"
    assert query(request)["model"] == model


def test_a_voice_is_known_by_its_name() -> None:
    assert AURA_2_VOICES.find("Thalia") == "aura-2-thalia-en"
    assert FLUX_VOICES.find("cole") == "flux-cole-en"


@pytest.mark.parametrize("model", ["aura-2-zeus-en", "aura-zeus-en", "flux-cole-en", "flux-haley-multi"])
def test_a_full_id_fixes_the_voice(model: str) -> None:
    can = adapter(model).capabilities
    assert infer_mode("deepgram", model) == Mode.SPEECH
    assert can.voices is not None
    assert {can.voices.find(name) for name in NAMES} == {model}
    assert can.voices.find("aura-2-thalia-en") is None
    request, answer = said(model, voice=model)
    assert query(request)["model"] == model
    assert warnings_of(answer) == []
    assert "voice" in warnings_of(said(model, voice="another")[1])[0]


def test_flux_for_conversations_is_no_voice() -> None:
    assert DEEPGRAM.declared("flux-general-en") is None


def test_voices_of_the_vendor() -> None:
    maker = adapter("aura-2")
    assert isinstance(maker, DeepgramAdapter)
    flow = maker.voices()
    step = next(flow)
    assert isinstance(step, BufferedRequest)
    assert (step.request.method, step.request.url.path) == ("GET", "/v1/models")
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, content=(FIXTURES / "deepgram" / "models.json").read_bytes()))
    found = [(voice.id, voice.name, voice.language, voice.gender) for voice in over.value.value]
    assert found == [
        ("aura-2-thalia-en", "Thalia", "en-US", "female"),
        ("aura-2-julius-de", "Julius", "de-DE", "male"),
    ]


@pytest.mark.parametrize("answer", [b"[]", b'{"tts": [1]}', b'{"tts": [{"name": "x"}]}', b"<html>"])
def test_a_list_of_voices_that_is_none(answer: bytes) -> None:
    maker = adapter("flux")
    assert isinstance(maker, DeepgramAdapter)
    flow = maker.voices()
    next(flow)
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200, content=answer))


# -- speech ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        ("mp3", {"encoding": "mp3"}),
        ("opus", {"encoding": "opus", "container": "ogg"}),
        ("aac", {"encoding": "aac"}),
        ("flac", {"encoding": "flac", "sample_rate": "48000"}),
        ("wav", {"encoding": "linear16", "container": "wav", "sample_rate": "24000"}),
        ("pcm", {"encoding": "linear16", "container": "none", "sample_rate": "24000"}),
    ],
)
@pytest.mark.parametrize("model", ["aura-2", "flux"])
def test_only_combinations_that_deepgram_takes(model: str, format: str, expected: dict[str, str]) -> None:
    request, answer = said(model, voice="x", response_format=format)
    assert {name: value for name, value in query(request).items() if name != "model"} == expected
    assert (answer.format, answer.rate) == (format, 24_000)
    assert messages.body_of(request) == b'{"text":"Hello."}'
    assert request.headers["authorization"] == f"Token {KEY}"


@pytest.mark.parametrize(
    ("model", "voice", "speed", "sent", "warned"),
    [
        ("aura-2", "thalia-en", 1.234, "1.234", False),
        ("aura-2", "celeste-es", 0.7, "0.7", False),
        ("aura-2", "julius-de", 1.2, None, True),
        ("aura-2", "thalia-en", 1.0, None, False),
        ("flux", "cole-en", 1.25, "1.25", False),
        ("flux", "cole-en", 0.62, "0.6", True),
        ("flux", "cole-en", 1.01, None, True),
    ],
)
def test_speed(model: str, voice: str, speed: float, sent: str | None, warned: bool) -> None:
    request, answer = said(model, voice=voice, speed=speed)
    assert query(request).get("speed") == sent
    assert bool(warnings_of(answer)) == warned


def test_speeds_of_a_full_id_are_those_of_its_language() -> None:
    ranges = {
        model: adapter(model).capabilities.speed for model in ("aura-2-zeus-en", "aura-2-julius-de", "flux-cole-en")
    }
    assert ranges == {"aura-2-zeus-en": (0.7, 1.5), "aura-2-julius-de": (1, 1), "flux-cole-en": (0.5, 1.5)}


def test_extras_of_speech() -> None:
    request, answer = said("flux", voice="cole-en", extra={"expressivity": -2, "mip_opt_out": True, "bit_rate": 32000})
    assert {"expressivity": "-2", "mip_opt_out": "true", "bit_rate": "32000"}.items() <= query(request).items()
    assert warnings_of(answer) == []
    request, answer = said("flux", voice="cole-en", response_format="pcm", extra={"bit_rate": 32000})
    assert "bit_rate" not in query(request)
    assert warnings_of(answer) == ["bit_rate has no effect on pcm"]
    with pytest.raises(UnsupportedValue) as refused:
        said("aura-2", voice="thalia-en", extra={"mip_opt_out": {"a": 1}})
    assert refused.value.param == "mip_opt_out"


@pytest.mark.parametrize(
    ("header", "usage"), [("17", Usage(characters=17)), ("-1", None), ("", None), ("9" * 30, None), ("1e3", None)]
)
def test_characters_that_are_billed(header: str, usage: Usage | None) -> None:
    _, answer = said("aura-2", voice="thalia-en", headers={"dg-char-count": header})
    assert answer.metadata is not None
    assert answer.metadata.usage == usage


# -- transcription -----------------------------------------------------------------------------------------------------


def test_a_plain_transcription() -> None:
    request, answer = heard("nova-3")
    assert request.url.path == "/v1/listen"
    assert query(request) == {"model": "nova-3", "detect_language": "true", "smart_format": "true"}
    assert answer.transcript.segments == ()
    assert answer.transcript.language == "en"
    assert answer.transcript.usage == {"type": "duration", "seconds": 5}


def test_speakers_are_asked_for_where_they_are_wanted() -> None:
    request, answer = heard("nova-3", response_format="diarized_json", language="en")
    assert {"utterances": "true", "diarize_model": "latest"}.items() <= query(request).items()
    assert [(one.speaker, one.text) for one in answer.transcript.segments] == [
        ("A", "Good morning, how can I help?"),
        ("B", "I lost my card."),
    ]
    request, _ = heard("nova-3", response_format="diarized_json", extra=(("diarize_model", "v1"),))
    assert query(request)["diarize_model"] == "v1"


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("nova-3", {"language": "pt-BR"}, {"language": "pt-BR"}),
        ("nova-3", {"languages": ("de", "fr")}, {"detect_language": ["de", "fr"]}),
        ("nova-3-medical", {}, {"language": "en"}),
        ("nova-2-finance", {"language": "en-GB"}, {"language": "en-GB"}),
        ("whisper-large", {}, {"detect_language": "true"}),
    ],
)
def test_languages(model: str, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = query(heard(model, **fields)[0])
    assert {name: sent[name] for name in ("language", "detect_language") if name in sent} == expected


def test_models_of_one_language_do_not_choose_among_several() -> None:
    assert "languages" not in adapter("nova-2").capabilities.ignores
    for model in ("nova-3-medical", "nova-2-phonecall"):
        can = adapter(model).capabilities
        assert (can.languages, "languages" in can.ignores) == (ENGLISH, True)
    assert "keyterm" in (adapter("nova-3-medical").capabilities.extras or ())
    assert "keyterm" not in (adapter("nova-2-phonecall").capabilities.extras or ())


@pytest.mark.parametrize("model", ["nova-3", "nova-3-medical"])
def test_terms_of_newer_models_are_phrases(model: str) -> None:
    request, answer = heard(
        model,
        keywords=("Zürich & Co", "a=b"),
        prompt="Glossary: ACME Rocket Sled, Kubernetes.",
        extra=(("keyterm", "Vox"),),
    )
    assert query(request)["keyterm"] == ["Zürich & Co", "a=b", "Vox", "Glossary", "ACME Rocket Sled", "Kubernetes"]
    assert warnings_of(answer) == []


def test_terms_of_older_models_are_words() -> None:
    request, _ = heard("nova-2", keywords=("Zürich Bank", "boost:9"))
    assert query(request)["keywords"] == ["Zürich", "Bank", "boost", "9"]
    assert "keyterm" not in query(request)


def test_a_prompt_of_prose_is_no_list_of_terms() -> None:
    request, answer = heard("nova-3", prompt="Hello, this is a very long recording of a meeting about Kubernetes.")
    assert "keyterm" not in query(request)
    assert "prompt" in warnings_of(answer)[0]


def test_too_many_terms() -> None:
    request, answer = heard("nova-3", keywords=tuple(f"term{number}" for number in range(150)))
    assert len(query(request)["keyterm"]) == 100
    assert "150" in warnings_of(answer)[0]


def test_extras_of_a_transcription() -> None:
    extra = (("smart_format", "false"), ("redact[]", "pci"), ("redact[]", "ssn"), ("replace", "a&b:c"))
    request, _ = heard("nova-3", extra=extra)
    assert query(request)["smart_format"] == "false"
    assert query(request)["redact"] == ["pci", "ssn"]
    assert query(request)["replace"] == "a&b:c"


@pytest.mark.parametrize(
    ("stated", "sent"),
    [
        ("audio/mpeg", "audio/mpeg"),
        ("Video/MP4; codecs=x", "video/mp4"),
        ("application/json", "application/octet-stream"),
        ("text/json", "application/octet-stream"),
        ("audio/x\r\nx-evil: 1", "application/octet-stream"),
        ("", "application/octet-stream"),
    ],
)
def test_a_file_never_passes_for_a_document_with_a_url(stated: str, sent: str) -> None:
    file = Held(b'{"url": "http://evil.example/"}', content_type=stated)
    request, _ = heard("nova-3", file=file)
    assert request.headers["content-type"] == sent
    assert request.headers["content-length"] == str(file.size)
    assert messages.body_of(request) == file.content


def test_silence() -> None:
    channel = {"alternatives": [{"transcript": "", "confidence": 0, "words": []}]}
    _, answer = heard("nova-3", answer={"metadata": {"duration": 1.5}, "results": {"channels": [channel]}})
    assert (answer.transcript.text, answer.transcript.duration) == ("", 1.5)


@pytest.mark.parametrize(
    "answer",
    [
        {"request_id": "c0ffee"},
        {"metadata": {}, "results": {}},
        {"metadata": {}, "results": {"channels": [{"alternatives": []}]}},
        {"metadata": {}, "results": {"channels": [{"alternatives": [{"transcript": None}]}]}},
        {"metadata": {}, "results": {"channels": [{"alternatives": [{"transcript": "a", "words": [{"word": "a"}]}]}]}},
    ],
)
def test_answers_that_are_no_transcript(answer: Any) -> None:
    flow = adapter("nova-3").transcription(TranscriptionRequest(model="g", file=Held(b"RIFF")))
    next(flow)
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200, content=json.dumps(answer)))


# -- where it goes, and what comes back --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/v1", "/v1/", "/v2"])
@pytest.mark.parametrize(("model", "endpoint"), [("aura-2", "/v1/speak"), ("flux", "/v2/speak")])
def test_a_base_with_or_without_its_version(path: str, model: str, endpoint: str) -> None:
    flow = adapter(model, api_base=f"https://api.eu.deepgram.com{path}").speech(SpeechRequest("g", "Hi.", voice="x"))
    request = next(flow)
    assert isinstance(request, Request)
    assert str(request.url).partition("?")[0] == f"https://api.eu.deepgram.com{endpoint}"


def failed(status: int, body: bytes) -> ProxyError:
    return adapter("nova-3").error(messages.response(status), body)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (400, b'{"err_code":"Bad Request","err_msg":"corrupt or unsupported data"}', UpstreamRejected, "corrupt"),
        (400, b'{"category":"INVALID_JSON","message":"Bad","details":"Line 1"}', UpstreamRejected, "Bad: Line 1"),
        (400, b'"a string"', UpstreamRejected, "a string"),
        (400, b"plain words", UpstreamRejected, "plain words"),
        (400, b"<html>no</html>", UpstreamRejected, "refused the request"),
        (400, b"[1]", UpstreamRejected, "refused the request"),
        (400, b"\xff\xfe", UpstreamRejected, "\ufffd"),
        (400, b'{"err_code":"Bad Request","err_msg":"No such model/version found."}', UpstreamNotFound, "No such"),
    ],
)  # fmt: skip
def test_shapes_of_errors(status: int, body: bytes, kind: type[ProxyError], message: str) -> None:
    error = failed(status, body)
    assert type(error) is kind
    assert message in error.message


def test_an_error_tells_neither_key_nor_host() -> None:
    error = failed(400, f"The key {KEY} is unknown at api.deepgram.com.".encode())
    assert KEY not in error.message
    assert "api.deepgram.com" not in error.message


def test_a_newer_model_has_no_voices_but_the_operators() -> None:
    deployment = Deployment(id="one", group="g", vendor="deepgram", model="aura-3", mode=Mode.SPEECH)
    can = DEEPGRAM.bind(deployment, {}).capabilities
    assert can.voices is not None
    assert can.voices.find("alloy") is None
    assert can.extras is not None


def test_an_upload_can_be_sent_again() -> None:
    """A connection that turns out to be dead costs nothing but another."""

    async def sent(stream: ByteStream) -> bytes:
        return b"".join([chunk async for chunk in stream])

    request, _ = heard("nova-3", file=Held(b"RIFF1234"))
    assert isinstance(request.body, UploadStream)
    assert request.body.replayable
    assert [asyncio.run(sent(request.body)) for _ in range(2)] == [b"RIFF1234"] * 2
