"""What is special to the rows: addresses, quirks of their forms, their own streams, what they say was used."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from proxy.config import Config, Deployment, Environment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.usage import NO_TOKENS, Usage
from proxy.errors import BadRequest, ProxyError, UpstreamInvalid, UpstreamRateLimited
from proxy.http.messages import ByteStream, Headers, Request, Response
from proxy.matching import BoundDeployment
from proxy.providers import registry
from proxy.providers.base import BufferedRequest, SpeechAnswer, WholeTranscript
from proxy.providers.registry import VENDORS
from proxy.providers.vendors.openai import OpenAIAdapter, native, rate_of
from proxy.providers.vendors.rows import ROWS, ListingAdapter
from proxy.providers.voices import NAMES
from proxy.providers.wire import streams, transcripts, usage
from proxy.providers.wire.relay import SpeechRelay, TranscriptRelay
from proxy.sdk.target import Settings, bind
from tests.fakes import messages
from tests.fakes.multipart import MultipartReader
from tests.fakes.upstream import KEY as UPSTREAM_KEY
from tests.fakes.upstream import Upstream
from tests.providers.attempts import Held, speech_attempt, transcription_attempt
from tests.providers.contract import FIXTURES
from tests.providers.sound import sound

KEY = "row-secret-key-0123456789"
OWN = ("hosted_vllm", "speaches", "kokoro", "localai", "openai_compatible")


def adapter(name: str, *, mode: Mode | None = None, **settings: Any) -> OpenAIAdapter:
    vendor, model = next((row, name.removeprefix(f"{row}/")) for row in VENDORS if name.startswith(f"{row}/"))
    mode = mode or registry.infer_mode(vendor, model)
    if VENDORS[vendor].base_url is None:
        settings.setdefault("api_base", "http://gpu:8000/v1")
    settings = {"api_key": KEY} | settings
    deployment = Deployment(id="one", group="g", vendor=vendor, model=model, mode=mode, **settings)
    bound = VENDORS[vendor].bind(deployment, {})
    assert isinstance(bound, OpenAIAdapter)
    return bound


def asked_for(name: str, **fields: Any) -> tuple[Request, bool]:
    """The request of a transcription, and whether its answer is read."""
    settings = fields.pop("settings", {})
    step = next(adapter(name, **settings).transcription(TranscriptionRequest("g", Held(b"RIFF"), **fields)))
    return (step.request, True) if isinstance(step, BufferedRequest) else (step, False)


def form_of(request: Request) -> dict[str, list[str]]:
    async def body() -> bytes:
        assert isinstance(request.body, ByteStream)
        return b"".join([chunk async for chunk in request.body])

    reader = MultipartReader(request.headers["content-type"].partition("boundary=")[2].encode())
    reader.feed(asyncio.run(body()))
    found: dict[str, list[str]] = {}
    for part in reader.parts:
        if part.filename is None:
            found.setdefault(part.name, []).append(part.value.decode())
    return found


def form(name: str, **fields: Any) -> dict[str, list[str]]:
    return form_of(asked_for(name, **fields)[0])


def heard(name: str, answer: Any, **fields: Any) -> WholeTranscript:
    flow = adapter(name).transcription(TranscriptionRequest("g", Held(b"RIFF"), **fields))
    assert isinstance(next(flow), BufferedRequest)
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, content=json.dumps(answer)))
    assert isinstance(over.value.value, WholeTranscript)
    return over.value.value


def said(name: str, response: Response, **fields: Any) -> tuple[dict[str, Any], SpeechAnswer]:
    flow = adapter(name).speech(SpeechRequest("g", "Hello.", **({"voice": "v"} | fields)))
    request = next(flow)
    assert isinstance(request, Request)
    with pytest.raises(StopIteration) as over:
        flow.send(response)
    return json.loads(messages.body_of(request)), over.value.value


def fixture(path: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((FIXTURES / path).read_text())
    return document


# -- addresses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "base", "url"),
    [
        ("groq/whisper-large-v3", None, "https://api.groq.com/openai/v1/audio/transcriptions"),
        ("groq/whisper-large-v3", "https://api.groq.com", "https://api.groq.com/openai/v1/audio/transcriptions"),
        ("groq/whisper-large-v3", "http://relay/openai/", "http://relay/openai/v1/audio/transcriptions"),
        ("groq/whisper-large-v3", "http://relay/groq/v1", "http://relay/groq/v1/audio/transcriptions"),
        ("fireworks_ai/whisper-v3", None, "https://audio-prod.api.fireworks.ai/v1/audio/transcriptions"),
        ("fireworks_ai/whisper-v3-turbo", None, "https://audio-turbo.api.fireworks.ai/v1/audio/transcriptions"),
        ("fireworks_ai/whisper-v3-turbo", "http://relay", "http://relay/v1/audio/transcriptions"),
        ("together_ai/openai/whisper-large-v3", None, "https://api.together.ai/v1/audio/transcriptions"),
        ("deepinfra/openai/whisper-large-v3", None, "https://api.deepinfra.com/v1/openai/audio/transcriptions"),
        ("deepinfra/openai/whisper-large-v3", "http://relay", "http://relay/v1/openai/audio/transcriptions"),
        ("openrouter/openai/whisper-large-v3", None, "https://openrouter.ai/api/v1/audio/transcriptions"),
        ("openrouter/openai/whisper-large-v3", "http://relay/api", "http://relay/api/v1/audio/transcriptions"),
        ("mistral/voxtral-mini-2602", None, "https://api.mistral.ai/v1/audio/transcriptions"),
        ("localai/whisper-1", "http://gpu:8080", "http://gpu:8080/v1/audio/transcriptions"),
        ("speaches/whisper", "http://gpu:8000/v1/", "http://gpu:8000/v1/audio/transcriptions"),
        ("openai_compatible/whisper", "http://gpu/asr/api", "http://gpu/asr/api/audio/transcriptions"),
    ],
)
def test_addresses(name: str, base: str | None, url: str) -> None:
    request, _ = asked_for(name, settings={"api_base": base} if base else {})
    assert str(request.url) == url
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name", OWN)
def test_a_server_of_ones_own_needs_an_address_and_no_key(name: str) -> None:
    entry = {"id": "a", "group": "g", "vendor": name, "model": "m", "mode": Mode.SPEECH, "where": "c.yaml:2"}
    here, lost = Deployment(api_base="http://gpu/v1", **entry), Deployment(**entry)
    assert registry.problems(Config(path="c.yaml", deployments=(lost,))) == [
        f"c.yaml:2: {name} needs an address: set api_base"
    ]
    assert not registry.problems(Config(path="c.yaml", deployments=(here,)))
    assert "authorization" not in _headers(VENDORS[name].bind(here, {"OPENAI_API_KEY": "sk-not-for-others"}))


@pytest.mark.parametrize("name", OWN)
def test_the_sdk_wants_that_address_too(name: str) -> None:
    with pytest.raises(BadRequest, match="needs an address") as raised:
        bind(f"{name}/m", Mode.SPEECH, Settings())
    assert raised.value.param == "api_base"
    assert bind(f"{name}/m", Mode.SPEECH, Settings(api_base="http://gpu/v1")).deployment.vendor == name


def _headers(bound: Any) -> Headers:
    request = next(bound.speech(SpeechRequest("g", "Hello.", "v")))
    assert isinstance(request, Request)
    return request.headers


@pytest.mark.parametrize("vendor", [row for row in ROWS if row.key_variables], ids=lambda vendor: vendor.name)
def test_a_vendor_needs_its_key(vendor: Any) -> None:
    model = next(iter(vendor.models))
    mode = registry.infer_mode(vendor.name, model)
    deployment = Deployment(id="a", group="g", vendor=vendor.name, model=model, mode=mode, where="c.yaml:2")
    complaint = f"c.yaml:2: {vendor.name} needs a key: set api_key, or the variable {vendor.key_variable}"
    assert registry.problems(Config(path="c.yaml", deployments=(deployment,))) == [complaint]


@pytest.mark.parametrize("value", ["key-0123\n", " key-0123 ", "key-0123\r\n"])
def test_a_variable_may_have_been_filled_from_a_file(value: str) -> None:
    deployment = Deployment(id="a", group="g", vendor="groq", model="whisper-large-v3", mode=Mode.TRANSCRIPTION)
    assert VENDORS["groq"].key(deployment, {"GROQ_API_KEY": value}) == "key-0123"


@pytest.mark.parametrize("value", ["key\r\nX-Evil: 1", "schlüssel", "k\0"])
def test_a_variable_that_no_header_can_carry(value: str) -> None:
    deployment = Deployment(
        id="a", group="g", vendor="groq", model="whisper-large-v3", mode=Mode.TRANSCRIPTION, where="c.yaml:2"
    )
    config = Config(path="c.yaml", deployments=(deployment,), environment=Environment({"GROQ_API_KEY": value}))
    (complaint,) = registry.problems(config)
    assert complaint.startswith("c.yaml:2: the key of groq in the environment has characters")
    assert value not in complaint


# -- what is declared --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ROWS, ids=lambda vendor: vendor.name)
def test_what_holds_of_other_models_comes_in_the_order_of_the_modes(vendor: Any) -> None:
    """A set's would change from process to process, and the page of vendors with it."""
    assert list(vendor.others) == [mode for mode in Mode if mode in vendor.others]


@pytest.mark.parametrize("vendor", ROWS, ids=lambda vendor: vendor.name)
def test_no_row_lets_a_url_through(vendor: Any) -> None:
    for declared in (*vendor.models.values(), *vendor.others.values()):
        if vendor.name in OWN:
            assert declared.extras is None
        else:
            assert declared.extras is not None
            assert not [name for name in declared.extras if "url" in name or "callback" in name]


@pytest.mark.parametrize("vendor", ROWS, ids=lambda vendor: vendor.name)
def test_every_openai_voice_speaks(vendor: Any) -> None:
    known = [declared.voices for declared in vendor.models.values() if declared.voices is not None]
    for voices in known:
        ids = {voice.id for voice in voices.catalogue}
        assert {voices.find(name) for name in NAMES} <= ids


def test_a_model_that_is_not_in_the_table_is_known_by_what_it_does() -> None:
    other = adapter("groq/canopylabs/orpheus-v2", mode=Mode.SPEECH).capabilities
    assert (other.formats, other.max_characters, other.extras) == (("wav",), 200, frozenset({"sample_rate"}))
    assert adapter("groq/whisper-next", mode=Mode.TRANSCRIPTION).capabilities.extras == frozenset()
    assert adapter("groq/whisper-next", mode=Mode.TRANSLATION).capabilities.modes >= {Mode.TRANSLATION}
    nothing = adapter("openai_compatible/m", mode=Mode.SPEECH).capabilities
    assert (nothing.formats, nothing.voices, nothing.extras) == (None, None, None)


def test_kokoro_is_known_wherever_it_speaks() -> None:
    voices = [
        adapter(name).capabilities.voices
        for name in ("kokoro/kokoro", "speaches/speaches-ai/Kokoro-82M-v1.0-ONNX", "together_ai/hexgrad/Kokoro-82M")
    ]
    for found in voices:
        assert found is not None
        assert [found.find(name) for name in ("alloy", "onyx", "verse")] == ["af_alloy", "am_onyx", "am_puck"]
        assert found.find("af_bella(2)+af_sky(1)") == "af_bella(2)+af_sky(1)"
        assert found.find("../af_bella") is None
    assert adapter("speaches/piper", mode=Mode.SPEECH).capabilities.voices is None


# -- speech ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formats", "wanted", "due"),
    [
        (None, "opus", "opus"),
        (("wav",), "mp3", "wav"),
        (("mp3", "pcm"), "wav", "pcm"),
        (("mp3", "pcm"), "mp3", "mp3"),
        (("mp3", "flac"), "opus", "flac"),
        (("ogg",), "mp3", "ogg"),
    ],
)
def test_the_format_to_ask_for(formats: tuple[str, ...] | None, wanted: str, due: str) -> None:
    assert native(formats, wanted) == due


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("audio/pcm;rate=22050;channels=1", 22_050),
        ("audio/pcm", 24_000),
        ("audio/pcm;rate=999999", 24_000),
        ("audio/mpeg", 24_000),
    ],
)
def test_the_rate_of_samples(kind: str, rate: int) -> None:
    assert rate_of(messages.response(200, headers={"content-type": kind})) == rate


def test_together_is_asked_for_samples_that_it_would_not_send_unasked() -> None:
    body, answer = said("together_ai/hexgrad/Kokoro-82M", messages.response(200), response_format="opus")
    asked = {name: body[name] for name in ("response_format", "response_encoding", "sample_rate", "stream")}
    assert asked == {"response_format": "raw", "response_encoding": "pcm_s16le", "sample_rate": 24_000, "stream": True}
    assert (answer.format, answer.decoder) == ("pcm", None)
    body, answer = said("together_ai/hexgrad/Kokoro-82M", messages.response(200), response_format="mp3", speed=1.0)
    assert not {"stream", "sample_rate", "speed"} & set(body)


def test_a_voice_as_an_object_is_for_those_who_know_it() -> None:
    for name, due in (("kokoro/kokoro", "af_x"), ("openai_compatible/tts", {"id": "af_x"})):
        body, _ = said(name, messages.response(200), voice="af_x", voice_is_id=True)
        assert body["voice"] == due


def test_the_events_of_a_format_that_is_made_here_are_made_here() -> None:
    body, _ = said("deepinfra/hexgrad/Kokoro-82M", messages.response(200), response_format="aac", stream_format="sse")
    assert (body["response_format"], "stream_format" in body) == ("pcm", False)
    body, _ = said("speaches/piper-tts", messages.response(200), response_format="aac", stream_format="sse")
    assert (body["response_format"], body["stream_format"]) == ("aac", "sse")


@pytest.mark.parametrize(
    ("name", "answer", "ids"),
    [
        ("together_ai/hexgrad/Kokoro-82M", fixture("together_ai/voices.json"), ["af_heart", "zz_new", "bm_lewis"]),
        ("together_ai/hexgrad/unheard-tts", fixture("together_ai/voices.json"), []),
        ("kokoro/kokoro", fixture("kokoro/voices.json"), ["af_heart", "af_bella", "am_adam", "af_v0nicole"]),
        ("kokoro/kokoro", {"voices": [{"id": "af_sky", "name": "Sky"}, 7, None, {"id": ""}]}, ["af_sky"]),
    ],
)
def test_voices_that_a_vendor_lists(name: str, answer: Any, ids: list[str]) -> None:
    bound = adapter(name)
    assert isinstance(bound, ListingAdapter)
    flow = bound.voices()
    step = next(flow)
    assert isinstance(step, BufferedRequest)
    assert step.request.method == "GET"
    with pytest.raises(StopIteration) as over:
        flow.send(messages.response(200, content=json.dumps(answer)))
    assert [voice.id for voice in over.value.value] == ids


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"voices": {}}', b'{"data": [1], "voices": 3}'])
def test_a_list_of_voices_that_is_none(content: bytes) -> None:
    bound = adapter("kokoro/kokoro")
    assert isinstance(bound, ListingAdapter)
    flow = bound.voices()
    next(flow)
    with pytest.raises((UpstreamInvalid, StopIteration)) as over:
        flow.send(messages.response(200, content=content))
    assert not isinstance(over.value, StopIteration) or over.value.value == ()


# -- the form of a transcription ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted", "asked"),
    [
        ("groq/whisper-large-v3", "json", "verbose_json"),
        ("groq/whisper-large-v3", "srt", "verbose_json"),
        ("openrouter/openai/whisper-large-v3", "text", "json"),
        ("openrouter/openai/whisper-large-v3", "vtt", "verbose_json"),
        ("hosted_vllm/whisper", "text", "json"),
        ("mistral/voxtral-mini-transcribe-3-0", "verbose_json", None),
        ("speaches/whisper", "srt", "srt"),
        ("openai/gpt-transcribe", "text", "json"),
        ("openai/gpt-transcribe", "json", "json"),
        ("openai/whisper-1", "text", "text"),
    ],
)
def test_the_format_of_transcripts(name: str, wanted: str, asked: str | None) -> None:
    assert form(name, response_format=wanted).get("response_format") == (None if asked is None else [asked])


def test_only_what_is_made_anew_is_read() -> None:
    assert asked_for("groq/whisper-large-v3")[1]
    assert asked_for("openai/gpt-transcribe", response_format="text")[1]
    assert not asked_for("openai/gpt-transcribe")[1]
    assert not asked_for("speaches/whisper")[1]
    assert not asked_for("hosted_vllm/whisper", stream=True)[1]
    assert asked_for("hosted_vllm/whisper", stream=True, response_format="verbose_json")[1]


def test_gpt_transcribe_takes_its_languages_as_a_list() -> None:
    sent = form("openai/gpt-transcribe", language="de", languages=("en", "de"), keywords=("Kokoro",))
    assert (sent["languages[]"], sent["keywords[]"], "language" in sent) == (["de", "en"], ["Kokoro"], False)
    assert form("openai/gpt-transcribe", language="de", settings={"base_model": "whisper-1"})["language"] == ["de"]


@pytest.mark.parametrize(
    ("name", "given", "sent"),
    [
        ("groq/whisper-large-v3", "de", "de"),
        ("together_ai/openai/whisper-large-v3", None, "auto"),
        ("together_ai/openai/whisper-large-v3", "en", "en"),
        ("openai_compatible/whisper", "German", "German"),
    ],
)
def test_languages(name: str, given: str | None, sent: str) -> None:
    assert form(name, language=given)["language"] == [sent]


def test_a_translation_names_no_language() -> None:
    """Together takes it for the language of the result."""
    request, _ = asked_for("together_ai/openai/whisper-large-v3", task="translate")
    assert request.url.path.endswith("/audio/translations")
    assert "language" not in form_of(request)


def test_localai_translates_by_a_field() -> None:
    request, _ = asked_for("localai/whisper-1", task="translate")
    assert request.url.path == "/v1/audio/transcriptions"
    assert form_of(request)["translate"] == ["true"]
    assert "translate" not in form("localai/whisper-1")


@pytest.mark.parametrize(
    ("name", "field", "sent"),
    [
        ("mistral/voxtral-mini-transcribe-3-0", "context_bias", ["Ada", "Lovelace", "Turing"]),
        ("hosted_vllm/whisper", "hotwords", ["Ada Lovelace, Turing, Ada"]),
        ("openrouter/openai/whisper-large-v3", "keyterms", ["Ada Lovelace", "Turing", "Ada"]),
    ],
)
def test_keywords(name: str, field: str, sent: list[str]) -> None:
    assert form(name, keywords=("Ada Lovelace", "Turing", "Ada"))[field] == sent


@pytest.mark.parametrize(
    ("name", "wanted", "field", "sent"),
    [
        ("groq/whisper-large-v3", "verbose_json", "timestamp_granularities[]", ["word", "segment"]),
        ("groq/whisper-large-v3", "srt", "timestamp_granularities[]", None),
        ("fireworks_ai/whisper-v3", "verbose_json", "timestamp_granularities", ["word", "segment"]),
        ("together_ai/openai/whisper-large-v3", "diarized_json", "timestamp_granularities", ["word", "segment"]),
        ("mistral/voxtral-mini-transcribe-3-0", "verbose_json", "timestamp_granularities", ["segment"]),
        ("mistral/voxtral-mini-transcribe-3-0", "vtt", "timestamp_granularities", ["segment"]),
        ("mistral/voxtral-mini-transcribe-3-0", "json", "timestamp_granularities", None),
    ],
)
def test_times(name: str, wanted: str, field: str, sent: list[str] | None) -> None:
    assert form(name, response_format=wanted, timestamp_granularities=("word", "segment")).get(field) == sent


def test_speakers_are_asked_for_where_they_are_wanted() -> None:
    assert form("fireworks_ai/whisper-v3", response_format="diarized_json")["diarize"] == ["true"]
    assert "diarize" not in form("fireworks_ai/whisper-v3", response_format="verbose_json")


def test_mistral_takes_a_language_or_times() -> None:
    fields = {"language": "de", "response_format": "srt"}
    assert "language" not in form("mistral/voxtral-mini-2602", **fields)
    answer = heard("mistral/voxtral-mini-2602", fixture("mistral/transcript.json"), **fields)
    assert answer.metadata is not None
    assert list(answer.metadata.warnings) == ["language has no effect on 'g' when timestamps are requested"]
    assert form("mistral/voxtral-mini-2602", language="de")["language"] == ["de"]
    assert form("mistral/voxtral-mini-transcribe-3-0", **fields)["language"] == ["de"]
    words = {"response_format": "verbose_json", "timestamp_granularities": ("word",)}
    answer = heard("mistral/voxtral-mini-transcribe-3-0", fixture("mistral/transcript.json"), **words)
    assert answer.metadata is not None
    assert list(answer.metadata.warnings) == ["timestamp_granularities 'word' has no effect on 'g'"]


# -- transcripts -------------------------------------------------------------------------------------------------------


def test_speakers_get_letters_in_the_order_of_their_words() -> None:
    together = heard(
        "together_ai/openai/whisper-large-v3", fixture("together_ai/verbose.json"), response_format="diarized_json"
    )
    assert [(row.speaker, row.text) for row in together.transcript.segments] == [
        ("A", "Good morning."),
        ("B", "I lost my card."),
    ]
    fireworks = heard("fireworks_ai/whisper-v3", fixture("fireworks_ai/verbose.json"), response_format="diarized_json")
    assert [row.speaker for row in fireworks.transcript.segments] == ["A", "B"]
    plain = heard(
        "together_ai/openai/whisper-large-v3", fixture("together_ai/verbose.json"), response_format="verbose_json"
    )
    assert [row.speaker for row in plain.transcript.segments] == [None]


def test_more_speakers_than_letters() -> None:
    speakers = transcripts.Speakers()
    letters = [speakers.letter(f"s{number}") for number in range(60)]
    assert (letters[0], letters[25], letters[26], letters[27], letters[52]) == ("A", "Z", "AA", "AB", "BA")
    assert speakers.letter("s0") == "A"
    assert speakers.letter(True) is speakers.letter(None) is speakers.letter({}) is None


def test_a_duration_in_quotes_is_one() -> None:
    answer = heard("hosted_vllm/whisper", fixture("hosted_vllm/verbose.json"), response_format="verbose_json")
    assert answer.transcript.duration == 2.4
    assert answer.transcript.segments[0].avg_logprob == -0.21


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"text": 1},
        {"text": "a", "segments": 3},
        {"text": "a", "segments": [None]},
        {"text": "a", "segments": [{"start": "x", "end": 1, "text": "a"}]},
        {"text": "a", "segments": [{"start": -1, "end": 1, "text": "a"}]},
        {"text": "a", "words": [{"start": 0, "end": 1e300, "word": "a"}]},
        {"text": "a", "words": [{"start": 0, "end": 1}]},
    ],
)
def test_documents_that_lie(document: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        transcripts.read(json.dumps(document).encode())


def test_what_hardly_matters_is_left_out() -> None:
    lies = {"language": 3, "duration": "long", "usage": [], "words": None, "segments": None}
    found, used = transcripts.read(json.dumps({"text": "a", **lies}).encode())
    assert (found.language, found.duration, found.usage, used) == (None, None, None, None)
    odd = {"tokens": ["x"], "temperature": "hot", "seek": None, "avg_logprob": 1e300, "speaker_id": 3.5}
    row = {"start": 1, "end": 0.5, "text": "a", **odd}
    (segment,) = transcripts.read(json.dumps({"text": "a", "segments": [row]}).encode(), diarized=True)[0].segments
    assert (segment.start, segment.end, segment.tokens, segment.avg_logprob) == (1, 1, (), None)


# -- usage -------------------------------------------------------------------------------------------------------------

TOKENS = {"type": "tokens", "total_tokens": 37, "input_tokens": 25, "output_tokens": 12}
MISTRAL = Usage(seconds_in=7, input_text_tokens=4, output_text_tokens=3)
SPOKEN = Usage(input_text_tokens=9, output_audio_tokens=93)
DETAILS = TOKENS | {"input_token_details": {"text_tokens": 5, "audio_tokens": 20}}


@pytest.mark.parametrize(
    ("document", "due"),
    [
        ({}, None),
        ({"usage": {"type": "duration", "seconds": 9}}, Usage(seconds_in=9)),
        ({"duration": 9.25}, Usage(seconds_in=9.25)),
        ({"duration": "9.25", "usage": None}, Usage(seconds_in=9.25)),
        ({"usage": TOKENS}, Usage(input_audio_tokens=25, output_text_tokens=12)),
        ({"usage": DETAILS}, Usage(input_text_tokens=5, input_audio_tokens=20, output_text_tokens=12)),
        ({"usage": {"prompt_audio_seconds": 7, "prompt_tokens": 4, "completion_tokens": 3}}, MISTRAL),
        ({"usage": {"seconds": 2.5, "cost": 0.0005}}, Usage(seconds_in=2.5, cost=Decimal("0.0005"))),
        ({"usage": {"cost": -1, "seconds": True, "input_tokens": "9"}}, None),
        ({"usage": {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}}, None),
        ({"usage": {"seconds": 0}, "duration": 3}, Usage(seconds_in=3)),
        ({"usage": {"output_tokens": 10**400}}, None),
    ],
)  # fmt: skip
def test_what_a_transcript_used(document: Mapping[str, Any], due: Usage | None) -> None:
    assert usage.of_transcript(document) == due


def test_usage_as_openai_writes_it() -> None:
    assert usage.as_openai(Usage(seconds_in=2.1, cost=Decimal(1))) == {"type": "duration", "seconds": 3}
    assert usage.as_openai(Usage(input_text_tokens=5, input_audio_tokens=20, output_text_tokens=12)) == DETAILS
    assert usage.as_openai(Usage(cost=Decimal(1))) is usage.as_openai(None) is None


@pytest.mark.parametrize(
    ("kind", "stated", "due"),
    [
        ("speech.audio.done", {"input_tokens": 9, "output_tokens": 93, "total_tokens": 102}, SPOKEN),
        ("speech.audio.done", {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, None),
        ("transcript.text.done", DETAILS, Usage(input_text_tokens=5, input_audio_tokens=20, output_text_tokens=12)),
        ("transcript.text.done", dict(NO_TOKENS), None),
    ],
)  # fmt: skip
def test_openais_own_events_tell_what_was_used(kind: str, stated: Any, due: Usage | None) -> None:
    relay = (SpeechRelay if kind.startswith("speech") else TranscriptRelay)(lambda event: ProxyError("no"))
    event = f"data: {json.dumps({'type': kind, 'text': '', 'usage': stated})}\n\ndata: [DONE]\n\n".encode()
    assert b"".join(list(relay.feed(event)) + list(relay.end())) == event
    assert (relay.usage, relay.warnings) == (due, ())


def test_openais_own_answers_tell_it_too(upstream: Upstream) -> None:
    def of(model: str, mode: Mode) -> BoundDeployment:
        bound = adapter(f"openai_compatible/{model}", mode=mode, api_base=upstream.url, api_key=UPSTREAM_KEY)
        return BoundDeployment(bound._deployment, bound)

    spoken = SpeechRequest("g", "Hello.", "alloy", stream_format="sse")
    used = speech_attempt(of("tts-2", Mode.SPEECH), spoken).usage
    assert used is not None
    assert used.output_audio_tokens
    for stream in (False, True):
        heard = TranscriptionRequest("g", Held(b"RIFF"), stream=stream)
        used = transcription_attempt(of("gpt-4o-transcribe", Mode.TRANSCRIPTION), heard).usage
        assert used is not None
        assert used.output_text_tokens
    subtitles = TranscriptionRequest("g", Held(b"RIFF"), response_format="srt")
    assert transcription_attempt(of("whisper-1", Mode.TRANSCRIPTION), subtitles).usage is None


# -- streams of the vendors' own ---------------------------------------------------------------------------------------


def _failure(event: bytes) -> ProxyError:
    return UpstreamRateLimited(event.decode())


def _sse(*documents: Any, done: bool = True) -> bytes:
    events = [f"data: {json.dumps(document)}\n\n" for document in documents]
    return "".join([*events, "data: [DONE]\n\n"] if done else events).encode()


CHUNKS = tuple({"object": "audio.tts.chunk", "model": "m", "b64": b64encode(piece).decode()} for piece in sound("pcm"))


@pytest.mark.parametrize("size", [1, 7, 4096, 10**9])
def test_audio_chunks_wherever_they_are_cut(size: int) -> None:
    whole = _sse(*CHUNKS)
    decoder = streams.AudioChunks(_failure)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    audio = b"".join(part for piece in pieces for part in decoder.feed(piece)) + b"".join(decoder.end())
    assert audio == b"".join(sound("pcm"))


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        _sse(*CHUNKS, done=False),
        _sse(*CHUNKS)[:-20],
        _sse({"b64": "%%%"}),
        _sse({"b64": "QUJ"}),
        _sse([1]),
        b"data: {not json\n\ndata: [DONE]\n\n",
    ],
)
def test_audio_chunks_that_break_off(stream: bytes) -> None:
    decoder = streams.AudioChunks(_failure)
    with pytest.raises(UpstreamInvalid):
        for _ in (*decoder.feed(stream), *decoder.end()):
            pass


def test_an_error_in_a_stream_is_raised() -> None:
    with pytest.raises(UpstreamRateLimited, match="slow down"):
        list(streams.AudioChunks(_failure).feed(_sse(CHUNKS[0], {"error": {"message": "slow down"}})))


# -- errors ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "due"), [(402, 429), (498, 498), (524, 502), (529, 502)])
def test_statuses_that_nobody_else_has(status: int, due: int) -> None:
    body = json.dumps({"error": {"code": status, "message": f"out of {KEY}"}}).encode()
    error = adapter("openrouter/openai/whisper-large-v3").error(messages.response(status), body)
    assert error.status == due
    assert KEY not in error.message
