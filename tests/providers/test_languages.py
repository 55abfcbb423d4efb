"""Languages: whatever a caller writes, each vendor gets its own code, and what is no language is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.audio.languages import is_known, language_code, language_name
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.errors import UnsupportedValue
from proxy.matching import BoundDeployment, Rejection, TranscriptionPlan, match_transcription
from proxy.providers.registry import VENDORS
from tests.fakes import messages
from tests.providers.attempts import Held

#: One deployment of each vendor that transcribes, at the vendor's own address if it has one.
TRANSCRIBERS = (
    "openai/whisper-1", "openai/gpt-4o-transcribe", "openai/gpt-transcribe", "openai/gpt-live-transcribe",
    "azure/whisper", "azure/our-own-name", "azure/speech/azure-stt", "groq/whisper-large-v3",
    "fireworks_ai/whisper-v3", "together_ai/openai/whisper-large-v3", "deepinfra/openai/whisper-large-v3",
    "openrouter/openai/whisper-large-v3", "mistral/voxtral-mini-latest", "deepgram/nova-3", "deepgram/nova-2",
    "deepgram/whisper-large", "assemblyai/universal-2", "elevenlabs/scribe_v3", "gemini/gemini-3.5-transcribe",
    "hosted_vllm/whisper", "speaches/whisper", "localai/whisper-1",
)  # fmt: skip
AZURE = "https://resource.cognitiveservices.azure.com"
OPEN = ("auto", "AUTO", " Auto-Detect ", "", "  ", "und", "null", "None", "undefined", "*")
GERMAN = ("de", "DE", " de ", "deu", "ger", "German", "GERMAN", "Deutsch", "deutsch")
BRAZILIAN = ("pt-BR", "pt_BR", "PT-br", "pt-Latn-BR", "pt_BR.UTF-8", "Portuguese (Brazil)")
NO_LANGUAGES = (
    "klingon", "xx", "zz-ZZ", "qaa", "zxx", "x-klingon", "i-nonsense", "d", "{}", "../x", "de\r\nX: y", "en\x00",
    "de fr it", "en,de", "x" * 3000, "12", "C", "POSIX", "e" * 100_000, "\ud800", "[]", "true", '"', "''",
)  # fmt: skip


def split(name: str) -> tuple[str, str]:
    return next((vendor, name.removeprefix(f"{vendor}/")) for vendor in VENDORS if name.startswith(f"{vendor}/"))


def bound(name: str, **settings: Any) -> BoundDeployment:
    prefix, model = split(name)
    vendor = VENDORS[prefix]
    if vendor.base_url is None:
        settings.setdefault("api_base", AZURE if prefix == "azure/speech" else "http://gpu:8000/v1")
    deployment = Deployment(
        id="one", group="stt", vendor=prefix, model=model, mode=Mode.TRANSCRIPTION, api_key="key", **settings
    )
    return BoundDeployment(deployment, vendor.bind(deployment, {}))


def matched(name: str, settings: dict[str, Any] | None = None, **fields: Any) -> TranscriptionPlan | Rejection:
    return match_transcription(TranscriptionRequest("stt", Held(b"RIFF"), **fields), bound(name, **(settings or {})))


def sent(name: str, language: str, **settings: Any) -> str | None:
    plan = matched(name, settings, language=language)
    assert isinstance(plan, TranscriptionPlan), plan
    return plan.request.language


@pytest.mark.parametrize("name", [*TRANSCRIBERS, "openai_compatible/whisper"])
def test_a_caller_who_leaves_the_language_open_sends_none(name: str) -> None:
    assert {written: sent(name, written) for written in OPEN} == dict.fromkeys(OPEN)


@pytest.mark.parametrize("name", TRANSCRIBERS)
def test_one_language_in_many_spellings(name: str) -> None:
    code = "de-DE" if name.startswith("azure/speech") else "de"
    assert {written: sent(name, written) for written in GERMAN} == dict.fromkeys(GERMAN, code)


@pytest.mark.parametrize("name", TRANSCRIBERS)
def test_a_region_goes_on_to_vendors_that_know_it(name: str) -> None:
    code = "pt-BR" if name.startswith(("azure/speech", "deepgram/nova", "gemini")) else "pt"
    assert {(sent(name, written) or "").replace("-Latn", "") for written in BRAZILIAN} == {code}


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("zh-Hant", "zh"), ("zh-TW", "zh"), ("zh_Hans_CN", "zh"), ("cmn", "zh"), ("cmn-Hans", "zh"), ("chi", "zh"),
        ("zho", "zh"), ("zh-cmn-Hans", "zh"), ("zh-CHS", "zh"), ("Mandarin", "zh"), ("简体中文", "zh"),
        ("Chinese (Traditional)", "zh"), ("yue", "yue"), ("zh-yue", "yue"), ("Cantonese", "yue"), ("eng", "en"),
        ("English", "en"), ("English (US)", "en"), ("en-US,en;q=0.9", "en"), ("en-UK", "en"), ("fil", "tl"),
        ("tl", "tl"), ("Filipino", "tl"), ("nb", "no"), ("nb-NO", "no"), ("nob", "no"), ("nor", "no"), ("nn", "nn"),
        ("norsk bokmål", "no"), ("iw", "he"), ("in", "id"), ("ji", "yi"), ("mo", "ro"), ("sh", "sr"), ("fre", "fr"),
        ("français", "fr"), ("francais", "fr"), ("français (Canada)", "fr"), ("Español (Latinoamérica)", "es"),
        ("es-419", "es"), ("arz", "ar"), ("arb", "ar"), ("pes", "fa"), ("Farsi", "fa"), ("zsm", "ms"), ("jv", "jv"),
        ("jw", "jv"), ("haw", "haw"), ("日本語", "ja"), ("Русский", "ru"), ("Bahasa Indonesia", "id"),
        ("en-x-private", "en"), ("\uff44\uff45", "de"), ("Spanish (Peru)", "es"),
        ('"de"', "de"), ("Chinese (Cantonese)", "yue"), ("Slovene", "sl"), ("pnb", "pa"), ("per", "fa"),
    ],
)  # fmt: skip
def test_codes_and_names_become_whispers_codes(written: str, code: str) -> None:
    assert sent("groq/whisper-large-v3", written) == code


@pytest.mark.parametrize(
    ("name", "written", "code"),
    [
        ("openai/whisper-1", "zh-TW", "zh-tw"), ("openai/gpt-transcribe", "zh_HK", "zh-hk"),
        ("openai/whisper-1", "zh-Hant", "zh"), ("openai/whisper-1", "yue", "yue"), ("openai/whisper-1", "ga", "ga"),
        ("azure/whisper", "zh-TW", "zh"), ("azure/our-own-name", "en-US", "en"),
        ("mistral/voxtral-mini-latest", "yue", "zh"), ("openrouter/openai/whisper-large-v3", "nb", "no"),
        ("speaches/whisper", "jv", "jw"), ("assemblyai/universal-2", "jv", "jw"),
        ("assemblyai/universal-2", "en-GB", "en_uk"), ("assemblyai/universal-2", "en_uk", "en_uk"),
        ("assemblyai/universal-2", "en-US", "en_us"), ("assemblyai/universal-2", "en-NZ", "en"),
        ("deepgram/nova-3", "multi", "multi"), ("deepgram/nova-3", "zh_hant", "zh-Hant"),
        ("deepgram/nova-3", "de-AT", "de"), ("deepgram/nova-3", "de-ch", "de-CH"), ("deepgram/nova-3", "fil", "tl"),
        ("deepgram/nova-3", "yue", "zh-HK"), ("deepgram/nova-2-finance", "en-GB", "en-GB"),
        ("deepgram/whisper-large", "haw", "haw"), ("elevenlabs/scribe_v3", "fil", "fil"),
        ("elevenlabs/scribe_v3", "eng", "en"), ("elevenlabs/scribe_v3", "Cebuano", "ceb"),
        ("elevenlabs/scribe_v3", "jw", "jv"), ("azure/speech/azure-stt", "de-at", "de-AT"),
        ("azure/speech/azure-stt", "zh-Hant", "zh-TW"), ("azure/speech/azure-stt", "yue", "zh-HK"),
        ("azure/speech/azure-stt", "zh-Hans-CN", "zh-CN"), ("azure/speech/azure-stt", "no", "nb-NO"),
        ("azure/speech/azure-stt", "tl", "fil-PH"), ("gemini/gemini-3.5-transcribe", "zh_hant_tw", "zh-Hant-TW"),
        ("local/pocketsphinx", "en-GB", "en"), ("local/pocketsphinx", "English", "en"),
    ],
)  # fmt: skip
def test_each_vendor_gets_its_own_code(name: str, written: str, code: str) -> None:
    assert sent(name, written) == code


@pytest.mark.parametrize("written", ["zh-Hant-HK", "pt_BR", "English", "de-CH-1996", "swiss-german", "x-dialect"])
def test_a_server_of_ones_own_gets_what_the_caller_wrote(written: str) -> None:
    assert sent("openai_compatible/asr", written) == written
    assert sent("openai/parakeet", written, api_base="http://gpu:8000/v1") == written


def test_a_server_under_the_name_of_openais_model_gets_its_codes() -> None:
    assert sent("openai/whisper-1", "pt-BR", api_base="http://gpu:8000/v1") == "pt"
    assert sent("openai/large", "pt-BR", api_base="http://gpu:8000/v1", base_model="whisper-1") == "pt"


@pytest.mark.parametrize("name", TRANSCRIBERS)
def test_a_list_of_languages_is_spelled_as_one_is(name: str) -> None:
    plan = matched(name, languages=("German", "deu", "auto", "fr-FR"))
    assert isinstance(plan, TranscriptionPlan)
    if "languages" in bound(name).adapter.capabilities.ignores:
        assert plan.request.languages == ()
    else:
        assert [code.partition("-")[0] for code in plan.request.languages] == ["de", "fr"]
        rejection = matched(name, languages=("de", "klingon"))
        assert isinstance(rejection, Rejection)
        assert rejection.error.param == "languages"


@pytest.mark.parametrize("name", TRANSCRIBERS)
def test_what_is_no_language_is_refused_with_examples(name: str) -> None:
    for written in NO_LANGUAGES:
        rejection = matched(name, language=written)
        assert isinstance(rejection, Rejection), rejection
        assert (rejection.error.status, rejection.error.param) == (400, "language")
        assert "for example 'en', 'de'" in rejection.error.message
        assert len(rejection.error.message) < 300
        assert rejection.error.message.isprintable()


@pytest.mark.parametrize("written", ["x" * 101, "de\r\nX: y", "en\x00"])
def test_a_server_of_ones_own_gets_no_nonsense_either(written: str) -> None:
    rejection = matched("openai_compatible/asr", language=written)
    assert isinstance(rejection, Rejection)
    assert rejection.error.param == "language"


def test_a_language_that_the_vendor_lacks_is_refused_with_those_that_it_has() -> None:
    rejection = matched("assemblyai/universal-2", language="Irish")
    assert isinstance(rejection, Rejection)
    assert "it takes: en, en_au, " in rejection.error.message


def test_the_code_of_a_country_is_refused_with_that_of_its_language() -> None:
    rejection = matched("openai/whisper-1", language="JP")
    assert isinstance(rejection, Rejection)
    assert "did you mean 'ja'" in rejection.error.message


def test_a_translation_names_no_language_to_a_vendor_that_would_take_it_for_that_of_the_result() -> None:
    plan = matched("groq/whisper-large-v3", task="translate", language="German")
    assert isinstance(plan, TranscriptionPlan)
    assert plan.request.language is None
    assert plan.warnings == ["language has no effect on 'stt'"]


@pytest.mark.parametrize(
    ("name", "field", "written", "code"),
    [
        ("elevenlabs/eleven_v4", "language_code", "de-AT", "de"), ("elevenlabs/eleven_v4", "language_code", "auto", ""),
        ("gemini/gemini-3.8-flash-tts", "language_code", "de_ch", "de-CH"),
        ("gemini/gemini-3.8-flash-tts", "language_code", "", ""),
        ("azure/speech/azure-tts", "lang", "German", "de-DE"), ("azure/speech/azure-tts", "lang", "cy_gb", "cy-GB"),
    ],
)  # fmt: skip
def test_speech_in_a_language(name: str, field: str, written: str, code: str) -> None:
    prefix, model = split(name)
    base = AZURE if prefix == "azure/speech" else None
    deployment = Deployment(
        id="one", group="tts", vendor=prefix, model=model, mode=Mode.SPEECH, api_key="key", api_base=base
    )
    adapter = VENDORS[prefix].bind(deployment, {})

    def body(written: str) -> str:
        step = next(adapter.speech(SpeechRequest("tts", "Hello", voice="v", extra={field: written})))
        return messages.body_of(step).decode()

    assert (f'"{code}"' in body(written)) is bool(code)
    with pytest.raises(UnsupportedValue) as raised:
        body("klingon")
    assert raised.value.param == field


@pytest.mark.parametrize(
    ("reported", "code", "name"),
    [
        ("en", "en", "english"), ("eng", "en", "english"), ("EN-us", "en", "english"), ("English", "en", "english"),
        ("zho", "zh", "chinese"), ("cmn-Hant", "zh", "chinese"), ("jv", "jw", "javanese"), ("nob", "no", "norwegian"),
        ("fil", "tl", "tagalog"), ("ga", "ga", "irish"), ("yue", "yue", "cantonese"), ("Valencian", "ca", "catalan"),
        ("Klingonese", "klingonese", "klingonese"), ("xx", "xx", "xx"), ("", "", ""), ("unknown",) * 3,
    ],
)  # fmt: skip
def test_what_vendors_report_becomes_openais_name(reported: str, code: str, name: str) -> None:
    assert (language_code(reported), language_name(reported)) == (code, name)


@pytest.mark.parametrize("text", [*OPEN, *GERMAN, "pt-BR", "pt_BR", "pt-Latn-BR", "zh_Hant_TW", "es-419"])
def test_what_is_only_a_language_is_known(text: str) -> None:
    assert is_known(text)


@pytest.mark.parametrize(
    "text",
    ["jane", "de-jane-doe", "de-x-jane", "German (jane)", "de_DE.jane", "de_DE@jane", "de;q=jane", "de,jane", "xx",
     "4929", "de" * 60],
)  # fmt: skip
def test_what_may_hold_something_else_is_not(text: str) -> None:
    assert not is_known(text)
