"""What is Azure AI Speech's own: hosts, SSML, what is billed, locales, the task of translation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import pytest

from proxy.commands import configuration
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import BadRequest, ProxyError, UnsupportedValue, UpstreamInvalid, UpstreamRateLimited
from proxy.http.messages import Request
from proxy.providers import registry
from proxy.providers.base import BufferedRequest, SpeechAnswer, WholeTranscript
from proxy.providers.vendors.azure_speech import AZURE_SPEECH, MODELS, VOICES, bases, billed
from proxy.providers.voices import NAMES
from tests.conftest import MASTER_KEY, launch
from tests.fakes import messages
from tests.fakes.vendor import VendorServer
from tests.providers.attempts import Held
from tests.providers.cases.azure_speech import CASES
from tests.providers.contract import Exchange, Reply, TranscriptionCase

FIXTURES = Path(__file__).parent / "fixtures" / "azure_speech"
REGION = "https://westeurope.api.cognitive.microsoft.com"
VOICE = "en-US-AvaMultilingualNeural"
XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"


def adapter(
    model: str = "azure-tts", api_base: str = REGION, environment: Mapping[str, str] | None = None, **own: Any
) -> Any:
    deployment = Deployment(
        id="one", group="g", vendor="azure/speech", model=model, api_base=api_base, where="config.yaml:1", **own
    )
    return AZURE_SPEECH.bind(deployment, {"AZURE_SPEECH_KEY": "the-key"} if environment is None else environment)


def spoken(request: SpeechRequest, **own: Any) -> tuple[Request, SpeechAnswer]:
    flow = adapter(**own).speech(request)
    asked = next(flow)
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200))
    return asked, stop.value.value


def said(text: str = "Hello", voice: str = VOICE, **more: Any) -> SpeechRequest:
    return SpeechRequest("m", text, voice, **more)


def body(request: Request) -> bytes:
    return messages.body_of(request)


def voice_element(request: Request) -> ElementTree.Element:
    [voice] = ElementTree.fromstring(body(request))
    return voice


def definition(request: TranscriptionRequest) -> dict[str, Any]:
    form = body_of_form(next(adapter("azure-stt").transcription(request)))
    found: dict[str, Any] = json.loads(form.split(b"\r\n\r\n", 1)[1].split(b"\r\n--", 1)[0])
    return found


def body_of_form(step: BufferedRequest) -> bytes:
    return step.request.body._head  # type: ignore[no-any-return, union-attr]


def asked(**more: Any) -> TranscriptionRequest:
    return TranscriptionRequest("m", Held(b"RIFF"), **more)


def heard(document: Any, **more: Any) -> WholeTranscript:
    flow = adapter("azure-stt").transcription(asked(**more))
    next(flow)
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200, content=content))
    found: WholeTranscript = stop.value.value
    return found


def fixture(name: str) -> Any:
    return json.loads((FIXTURES / name).read_text(encoding="utf-8"))


# -- hosts and keys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "api_base",
    [
        "https://westeurope.api.cognitive.microsoft.com",
        "https://westeurope.tts.speech.microsoft.com",
        "https://westeurope.tts.speech.microsoft.com/cognitiveservices/v1",
        "https://westeurope.stt.speech.microsoft.com/",
    ],
)
def test_a_region_is_known_by_any_of_its_hosts(api_base: str) -> None:
    voices, texts = bases(api_base)
    assert voices == "https://westeurope.tts.speech.microsoft.com"
    assert texts == "https://westeurope.api.cognitive.microsoft.com"


@pytest.mark.parametrize(
    ("api_base", "voices", "texts"),
    [
        (
            "https://mine.cognitiveservices.azure.com/tts/cognitiveservices/v1",
            "https://mine.cognitiveservices.azure.com/tts",
            "https://mine.cognitiveservices.azure.com",
        ),
        (
            "https://chinanorth2.api.cognitive.azure.cn",
            "https://chinanorth2.tts.speech.azure.cn",
            "https://chinanorth2.api.cognitive.azure.cn",
        ),
        (
            "https://virginia.api.cognitive.microsoft.us",
            "https://virginia.tts.speech.azure.us",
            "https://virginia.api.cognitive.microsoft.us",
        ),
        ("http://127.0.0.1:8080/proxy", "http://127.0.0.1:8080/proxy", "http://127.0.0.1:8080/proxy"),
        ("http://own:1/cognitiveservices/v1", "http://own:1", "http://own:1"),
        ("http://own:1/v1", "http://own:1", "http://own:1"),
        # Only whole labels count: this host is somebody else's.
        (
            "https://xapi.cognitive.microsoft.com.evil.example",
            *["https://xapi.cognitive.microsoft.com.evil.example"] * 2,
        ),
    ],
)
def test_other_hosts(api_base: str, voices: str, texts: str) -> None:
    assert bases(api_base) == (voices, texts)


def test_addresses_of_requests() -> None:
    request, _ = spoken(said())
    assert str(request.url) == "https://westeurope.tts.speech.microsoft.com/cognitiveservices/v1"
    assert request.headers["host"] == "westeurope.tts.speech.microsoft.com"
    step = next(adapter("azure-stt", api_version="2024-11-15").transcription(asked()))
    expected = f"{REGION}/speechtotext/transcriptions:transcribe?api-version=2024-11-15"
    assert str(step.request.url) == expected


@pytest.mark.parametrize("name", ["AZURE_SPEECH_KEY", "AZURE_TTS_API_KEY", "AZURE_API_KEY"])
def test_keys_of_litellms_users(name: str) -> None:
    request = next(adapter(environment={name: "abc"}).speech(said()))
    assert request.headers["ocp-apim-subscription-key"] == "abc"


def test_a_token_goes_before_the_key() -> None:
    request, _ = spoken(said(), azure_ad_token="aad#/subscriptions/x#eyJ0")
    assert request.headers["authorization"] == "Bearer aad#/subscriptions/x#eyJ0"
    assert "ocp-apim-subscription-key" not in request.headers


def test_litellms_configuration_starts_as_it_is(tmp_path: Path) -> None:
    """The examples of its documentation."""
    path = tmp_path / "config.yaml"
    path.write_text("""
model_list:
  - model_name: azure-speech
    litellm_params:
      model: azure/speech/azure-tts
      api_base: https://eastus.tts.speech.microsoft.com
      api_key: os.environ/AZURE_TTS_API_KEY
  - model_name: azure-speech-hd
    litellm_params: {model: azure/speech/azure-tts-hd, api_base: "https://eastus.api.cognitive.microsoft.com"}
general_settings: {master_key: sk-9f3kQz7LmW2xTb8RvYc5}
""")
    environ = {"AZURE_TTS_API_KEY": "abc"}
    config = configuration.load(path, environ)
    assert registry.problems(config) == []
    assert [(one.vendor, one.model, one.mode) for one in config.deployments] == [
        ("azure/speech", "azure-tts", Mode.SPEECH),
        ("azure/speech", "azure-tts-hd", Mode.SPEECH),
    ]


# -- speech ------------------------------------------------------------------------------------------------------------


def test_the_request() -> None:
    request, answer = spoken(said(response_format="opus"))
    assert request.headers["content-type"] == "application/ssml+xml"
    assert request.headers["x-microsoft-outputformat"] == "ogg-24khz-16bit-mono-opus"
    assert request.headers["user-agent"]
    assert int(request.headers["content-length"]) == len(body(request))
    assert answer.format == "opus"


@pytest.mark.parametrize("wanted", ["wav", "flac", "aac", "pcm"])
def test_what_azure_does_not_stream_is_made_of_pcm(wanted: str) -> None:
    request, answer = spoken(said(response_format=wanted))
    assert request.headers["x-microsoft-outputformat"] == "raw-24khz-16bit-mono-pcm"
    assert (answer.format, answer.rate) == ("pcm", 24_000)


@pytest.mark.parametrize(
    "text",
    [
        "</prosody></voice><voice name='x'><audio src='http://evil.example/a.wav'/>",
        "]]> <!-- --> <?xml?> &lt; &#65; \"'",
        "tabs\tand\nlines",
    ],
)
def test_a_text_is_never_markup(text: str) -> None:
    request, _ = spoken(said(text, speed=1.5))
    [prosody] = voice_element(request)
    assert prosody.text == text
    assert len(prosody) == 0


def test_characters_that_xml_does_not_have_are_left_out() -> None:
    request, _ = spoken(said("a\x00b\x0bc\ufffe\ud800d\U0001f600\x7f"))
    assert voice_element(request).text == "abcd\U0001f600\x7f"
    with pytest.raises(BadRequest):
        spoken(said("\x00\x01"))


def test_a_voice_is_escaped_whatever_it_is() -> None:
    name = "x\"/><voice name='y'>&<"
    request, _ = spoken(said(voice=name))
    assert voice_element(request).attrib["name"] == name
    for hostile in ("a\r\nb", "a\x00b", "a\ud800"):
        with pytest.raises(UnsupportedValue):
            spoken(said(voice=hostile))


@pytest.mark.parametrize(
    ("voice", "language"),
    [
        ("de-DE-KatjaNeural", "de-DE"),
        ("zh-CN-liaoning-XiaobeiNeural", "zh-CN-liaoning"),
        ("sr-Latn-RS-NicholasNeural", "sr-Latn-RS"),
        ("fil-PH-AngeloNeural", "fil-PH"),
        ("en-US-Ava:DragonHDLatestNeural", "en-US"),
        ("OurOwnVoice", "en-US"),
    ],
)
def test_the_language_of_the_document_is_the_voices(voice: str, language: str) -> None:
    request, _ = spoken(said(voice=voice))
    assert ElementTree.fromstring(body(request)).attrib[XML_LANG] == language


@pytest.mark.parametrize(
    ("speed", "rate"), [(None, None), (1.0, None), (1.25, "+25%"), (0.5, "-50%"), (2.0, "+100%"), (1.005, "+0.5%")]
)
def test_speed(speed: float | None, rate: str | None) -> None:
    request, _ = spoken(said(speed=speed))
    assert [element.attrib["rate"] for element in voice_element(request).iter() if "rate" in element.attrib] == (
        [rate] if rate else []
    )


def test_manner_of_speaking() -> None:
    extra = {"style": "cheerful", "styledegree": 1.5, "role": "Girl", "pitch": "+5%", "volume": "loud", "lang": "fr-FR"}
    request, _ = spoken(said(extra=extra))
    [lang] = voice_element(request)
    [express] = lang
    [prosody] = express
    assert lang.attrib == {XML_LANG: "fr-FR"}
    assert express.attrib == {"style": "cheerful", "styledegree": "1.5", "role": "Girl"}
    assert prosody.attrib == {"pitch": "+5%", "volume": "loud"}
    assert prosody.text == "Hello"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("style", 'x"><audio src="http://evil.example"/>'), ("style", ""), ("style", ["a"]), ("style", {}),
        ("styledegree", True), ("styledegree", 30), ("styledegree", 10**600), ("pitch", "+5000%"), ("pitch", "50"),
        ("volume", "very"), ("role", "A B"), ("lang", "../de"),
    ],
)  # fmt: skip
def test_a_manner_that_is_none(name: str, value: Any) -> None:
    with pytest.raises(UnsupportedValue) as refused:
        spoken(said(extra={name: value}))
    assert refused.value.param == name


def test_hd_voices_take_no_prosody() -> None:
    request, answer = spoken(
        said(voice="en-US-Ava:DragonHDLatestNeural", speed=1.5, extra={"style": "sad", "lang": "de-DE"})
    )
    [lang] = voice_element(request)
    assert (lang.text, len(lang)) == ("Hello", 0)
    assert answer.metadata is not None
    assert [warning.split(" ")[0] for warning in answer.metadata.warnings] == ["speed", "style"]


def test_what_is_billed() -> None:
    """The example of a customer's bill: 40 characters for five and a space within prosody."""
    assert billed('<prosody rate="-10.00%">about </prosody>') == 40
    assert billed("日本語のテスト") == 7 + 3
    assert billed("안녕") == 2
    _, answer = spoken(said("5 < 6"))
    assert answer.metadata is not None
    assert answer.metadata.usage is not None
    assert answer.metadata.usage.characters == len("5 &lt; 6")


@pytest.mark.parametrize(
    "voice",
    ["en-US-JennyNeural", "en-us-ava:DragonHDOmniLatestNeural", "en-US-Ethan:MAI-Voice-2-Flash",
     "en-US-AlloyMultilingualNeuralHD", "zh-CN-shaanxi-XiaoniNeural",
     "iu-Cans-CA-SiqiniqNeural", "en-US-AIGenerate1Neural", "wuu-CN-YunzheNeural"],
)  # fmt: skip
def test_voices_of_the_catalogue(voice: str) -> None:
    assert VOICES.find(voice) == voice


@pytest.mark.parametrize(
    "voice",
    ["OurOwnVoice", "DragonLatestNeural", "PhoenixLatestNeural", "en-US-Ava Neural", "en-US-AvaNeural/..",
     "JennyNeural", "en-US-AvaNeural\n", 'en-US-"Neural', "en-US-Ava:OtherNeural"],
)  # fmt: skip
def test_other_voices(voice: str) -> None:
    assert VOICES.find(voice) is None


@pytest.mark.parametrize("model", ["azure-tts", "azure-tts-hd"])
def test_openais_names_are_voices_of_the_catalogue(model: str) -> None:
    voices = MODELS[model].voices
    assert voices is not None
    assert set(voices.openai) == set(NAMES)
    assert len(set(voices.openai.values())) == len(NAMES)
    assert set(voices.openai.values()) <= {voice.id for voice in voices.catalogue}
    assert all(voices.pattern is not None and voices.pattern.fullmatch(voice.id) for voice in voices.catalogue)


def test_the_live_list_has_public_voices_only() -> None:
    flow = adapter(api_base="https://mine.cognitiveservices.azure.com").voices()
    step = next(flow)
    assert step.request.method == "GET"
    assert str(step.request.url) == "https://mine.cognitiveservices.azure.com/tts/cognitiveservices/voices/list"
    with pytest.raises(StopIteration) as stop:
        flow.send(messages.response(200, content=(FIXTURES / "voices.json").read_bytes()))
    jenny, xiaobei = stop.value.value
    assert (jenny.id, jenny.name, jenny.language, jenny.gender) == ("en-US-JennyNeural", "Jenny", "en-US", "female")
    assert xiaobei.id == "zh-CN-liaoning-XiaobeiNeural"


@pytest.mark.parametrize("content", [b"", b"{}", b"null", b"[", b"<html>"])
def test_a_list_that_is_none(content: bytes) -> None:
    flow = adapter().voices()
    next(flow)
    with pytest.raises(UpstreamInvalid):
        flow.send(messages.response(200, content=content))


# -- transcription -----------------------------------------------------------------------------------------------------


def test_the_definition_says_as_little_as_possible() -> None:
    assert definition(asked()) == {"profanityFilterMode": "None"}


def test_locales() -> None:
    assert definition(asked(language="pt-PT"))["locales"] == ["pt-PT"]
    assert definition(asked(languages=("de-DE", "fr-FR")))["locales"] == ["de-DE", "fr-FR"]


def test_key_terms() -> None:
    request = asked(keywords=("Contoso",), prompt="ZyntriQix, Digique Plus")
    assert definition(request)["phraseList"] == {"phrases": ["Contoso", "ZyntriQix", "Digique Plus"]}


def test_a_prompt_of_prose_is_warned_of() -> None:
    prose = "The following is a conversation between two engineers about the deployment. It is informal."
    assert "phraseList" not in definition(asked(prompt=prose))
    metadata = heard(fixture("fast.json"), prompt=prose).metadata
    assert metadata is not None
    assert "prompt" in metadata.warnings[0]


def test_speakers_only_where_they_are_asked_for() -> None:
    asked_for = definition(asked(response_format="diarized_json", extra=(("maxSpeakers", "3"),)))
    assert asked_for["diarization"] == {"enabled": True, "maxSpeakers": 3}
    plain = heard(fixture("fast.json")).transcript
    assert {segment.speaker for segment in plain.segments} == {None}
    assert {word.speaker for word in plain.words} == {None}
    diarized = heard(fixture("fast.json"), response_format="diarized_json").transcript
    assert [segment.speaker for segment in diarized.segments] == ["A", "B"]


@pytest.mark.parametrize(
    "extra", [("maxSpeakers", "1"), ("maxSpeakers", "x"), ("maxSpeakers", "٣"), ("profanityFilterMode", "x")]
)
def test_an_extra_that_is_none(extra: tuple[str, str]) -> None:
    with pytest.raises(UnsupportedValue) as refused:
        definition(asked(response_format="diarized_json", extra=(extra,)))
    assert refused.value.param == extra[0]


def test_translation() -> None:
    assert definition(asked(task="translate", prompt="Be brief.", keywords=("Contoso",))) == {
        "profanityFilterMode": "None",
        "enhancedMode": {"enabled": True, "task": "translate", "targetLanguage": "en", "prompt": ["Be brief."]},
    }
    found = heard(fixture("translation.json"), task="translate", keywords=("Contoso",))
    assert (found.transcript.task, found.transcript.language) == ("translate", "en")
    assert [segment.text for segment in found.transcript.segments] == ["Good day.", "How are you?"]
    assert {segment.speaker for segment in found.transcript.segments} == {None}
    assert found.metadata is not None
    assert "keywords" in found.metadata.warnings[0]


@pytest.mark.parametrize(
    "document", [b"", b"[]", {}, {"phrases": 1}, {"phrases": [{}], "durationMilliseconds": 1}, {"combinedPhrases": []}]
)
def test_a_transcript_that_is_none(document: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        heard(document)


def test_silence_is_a_transcript() -> None:
    found = heard({"durationMilliseconds": 1200, "combinedPhrases": [], "phrases": []}).transcript
    assert (found.text, found.duration, found.segments) == ("", 1.2, ())


def test_translation_through_the_proxy(tmp_path: Path) -> None:
    stt = next(case for case in CASES if isinstance(case, TranscriptionCase))
    translating = Exchange(
        "POST", "/speechtotext/transcriptions:transcribe", Reply.fixture("azure_speech/translation.json")
    )
    with closing(VendorServer(replace(stt, exchanges=(translating,)))) as vendor:
        params = {"model": stt.model, "api_base": vendor.url, "api_key": "the-key"}
        config = {
            "model_list": [{"model_name": "stt", "litellm_params": params}],
            "general_settings": {"master_key": MASTER_KEY},
        }
        server = launch(config, tmp_path)
        reply = httpx.post(
            f"{server.url}/v1/audio/translations",
            data={"model": "stt", "response_format": "srt", "prompt": "Be brief."},
            files={"file": ("a.wav", b"RIFF....WAVE")},
            headers={"authorization": f"Bearer {MASTER_KEY}"},
        )
        assert (server.stop(), reply.status_code) == (0, 200), reply.text
        sent = json.loads(vendor.asked.fields["definition"][0])
    assert reply.text.startswith("1\n00:00:00,160 --> 00:00:01,200\nGood day.\n\n2\n"), reply.text
    assert sent["enhancedMode"]["task"] == "translate"
    assert sent["enhancedMode"]["prompt"] == ["Be brief."]


# -- errors ------------------------------------------------------------------------------------------------------------


def error(status: int, content: bytes, headers: Mapping[str, str] | None = None) -> ProxyError:
    found: ProxyError = adapter().error(messages.response(status, headers=headers or {}), content)
    return found


def test_neither_host_nor_key_is_told() -> None:
    message = b"the-key is unknown at westeurope.tts.speech.microsoft.com and westeurope.api.cognitive.microsoft.com"
    for headers in ({"content-type": "text/plain"}, {"content-type": "application/json"}):
        found = error(400, message, headers)
        assert "the-key" not in found.message
        assert "westeurope" not in found.message


def test_a_quota_is_not_a_matter_of_the_key() -> None:
    found = error(403, b'{"error":{"code":"403","message":"Out of call volume quota for Speech F0."}}')
    assert isinstance(found, UpstreamRateLimited)
    assert error(403, b'{"error":{"code":"403","message":"Access denied."}}').kind == "upstream_credentials"
