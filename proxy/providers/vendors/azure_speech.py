"""Azure AI Speech: neural voices with SSML, and "fast transcription".

Sources: Microsoft's "Text to speech REST API" (2024-09: hosts, headers, formats, statuses, the cut at ten minutes),
"Fast transcription" and "LLM speech" (2026-01: definition, answers, limits, formats, translation), "Language support"
(2026-04: which locales fast transcription knows; 2025-10: voices), "High definition voices" (2025-10: which SSML they
take), "Sovereign clouds" and "Private link" (hosts), the swagger ``Transcription.json`` of 2025-10-15; LiteLLM's
documentation of ``azure/speech/`` for what its users write. Not tested against the real service.

- ``api_base`` is that of a resource or a region and may name either of the two APIs: ``https://REGION.tts.speech…``,
  ``https://REGION.api.cognitive…``, ``https://NAME.cognitiveservices.azure.com``. Any other host is used unchanged.
- ``azure_ad_token`` is sent as a bearer token. Entra tokens need a resource with a custom domain name; for a regional
  host the operator writes ``aad#RESOURCE_ID#TOKEN``.
- Azure silently cuts audio after ten minutes, so an input is spoken in pieces of a thousand characters: in Chinese at
  half speed they take about eight minutes, anything else takes less.
- Azure bills the characters of the text in the SSML, including markup within the voice, and Chinese characters (hanzi,
  kanji, hanja) twice. The answer does not report them, so they are counted here.
- Microsoft masks profanity by default. OpenAI does not, so masking is switched off.
- Translation is done by "LLM speech", which only some regions have. It returns timestamps of phrases but not of words,
  and no speakers, and takes the prompt as prose. Transcription takes a prompt only if it is a list of key terms.
- HD voices support neither prosody nor styles: those are left out, with a warning.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json, to_json

from proxy.audio.languages import language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import StaticMetadata
from proxy.domain.transcript import Segment, Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import BadRequest, UnsupportedValue, UpstreamInvalid
from proxy.http.messages import URL, Response
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    TranscriptionFlow,
    VoicesFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import Voice, Voices
from proxy.providers.wire import errors, ssml, usage
from proxy.providers.wire.errors import ErrorDetails
from proxy.providers.wire.headers import header
from proxy.providers.wire.multipart import MultipartStream
from proxy.providers.wire.target import Target, without_version
from proxy.providers.wire.terms import key_terms
from proxy.providers.wire.transcripts import Speakers, document_of, rows, time

API_VERSION = "2025-10-15"

# -- voices ------------------------------------------------------------------------------------------------------------

_LOCALE = r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?-[A-Z]{2}(?:-[a-z]{2,12})?"
#: Ids of the public catalogue: ``en-US-AvaMultilingualNeural``, ``en-US-Ava:DragonHDLatestNeural``,
#: ``en-US-Ethan:MAI-Voice-2``. An account's own voices need another host or another element, so no id reaches them.
_VOICE = re.compile(
    rf"({_LOCALE})-[A-Za-z0-9]{{1,40}}(?:Neural(?:HD)?|:DragonHD[A-Za-z0-9]{{0,24}}Neural|:MAI-Voice-[0-9.]{{1,5}}(?:-Flash)?)",
    re.IGNORECASE,
)


def _voices(table: str) -> tuple[Voice, ...]:
    """One voice per line: its id and gender, as on the language support page."""
    voices = []
    for line in table.strip().splitlines():
        id, gender = line.split()
        locale = _locale_of(id)
        name = id.removeprefix(f"{locale}-").removesuffix("Neural").partition(":")
        voices.append(Voice(id, _spaced(name[0]) + (" HD" if name[1] else ""), locale, gender))
    return tuple(voices)


def _locale_of(voice: str) -> str:
    """The language of a voice, from its id; else English, for example for a voice that the operator allows."""
    match = _VOICE.fullmatch(voice)
    return match[1] if match else "en-US"


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


#: Generally available in every region, and multilingual like OpenAI's. The last six are LiteLLM's voices for OpenAI's
#: names; they are English only.
_NEURAL = _voices(
    """
    en-US-AndrewMultilingualNeural male
    en-US-AvaMultilingualNeural female
    en-US-BrianMultilingualNeural male
    en-US-EmmaMultilingualNeural female
    en-US-JennyMultilingualNeural female
    en-US-RyanMultilingualNeural male
    de-DE-FlorianMultilingualNeural male
    de-DE-SeraphinaMultilingualNeural female
    fr-FR-RemyMultilingualNeural male
    fr-FR-VivienneMultilingualNeural female
    zh-CN-XiaochenMultilingualNeural female
    zh-CN-XiaoxiaoMultilingualNeural female
    zh-CN-YunyiMultilingualNeural male
    en-US-AmberNeural female
    en-US-AriaNeural female
    en-US-DavisNeural male
    en-US-GuyNeural male
    en-US-JennyNeural female
    en-GB-RyanNeural male
    """
)
_HD = _voices(
    """
    en-US-Adam:DragonHDLatestNeural male
    en-US-Andrew:DragonHDLatestNeural male
    en-US-Andrew2:DragonHDLatestNeural male
    en-US-Ava:DragonHDLatestNeural female
    en-US-Brian:DragonHDLatestNeural male
    en-US-Davis:DragonHDLatestNeural male
    en-US-Emma:DragonHDLatestNeural female
    en-US-Emma2:DragonHDLatestNeural female
    en-US-Steffan:DragonHDLatestNeural male
    de-DE-Seraphina:DragonHDLatestNeural female
    es-ES-Ximena:DragonHDLatestNeural female
    fr-FR-Remy:DragonHDLatestNeural male
    fr-FR-Vivienne:DragonHDLatestNeural female
    """
)
VOICES = Voices(
    catalogue=_NEURAL,
    openai=MappingProxyType({
        "alloy": "en-US-JennyMultilingualNeural",
        "ash": "en-US-AndrewMultilingualNeural",
        "ballad": "fr-FR-RemyMultilingualNeural",
        "cedar": "de-DE-FlorianMultilingualNeural",
        "coral": "en-US-EmmaMultilingualNeural",
        "echo": "en-US-RyanMultilingualNeural",
        "fable": "zh-CN-XiaochenMultilingualNeural",
        "marin": "fr-FR-VivienneMultilingualNeural",
        "nova": "en-US-AvaMultilingualNeural",
        "onyx": "en-US-BrianMultilingualNeural",
        "sage": "de-DE-SeraphinaMultilingualNeural",
        "shimmer": "zh-CN-XiaoxiaoMultilingualNeural",
        "verse": "zh-CN-YunyiMultilingualNeural",
    }),
    pattern=_VOICE,
)  # fmt: skip
HD_VOICES = Voices(
    catalogue=_HD,
    openai=MappingProxyType({
        "alloy": "en-US-Emma2:DragonHDLatestNeural",
        "ash": "en-US-Andrew:DragonHDLatestNeural",
        "ballad": "fr-FR-Remy:DragonHDLatestNeural",
        "cedar": "en-US-Brian:DragonHDLatestNeural",
        "coral": "en-US-Emma:DragonHDLatestNeural",
        "echo": "en-US-Andrew2:DragonHDLatestNeural",
        "fable": "en-US-Steffan:DragonHDLatestNeural",
        "marin": "en-US-Ava:DragonHDLatestNeural",
        "nova": "de-DE-Seraphina:DragonHDLatestNeural",
        "onyx": "en-US-Davis:DragonHDLatestNeural",
        "sage": "fr-FR-Vivienne:DragonHDLatestNeural",
        "shimmer": "es-ES-Ximena:DragonHDLatestNeural",
        "verse": "en-US-Adam:DragonHDLatestNeural",
    }),
    pattern=_VOICE,
)  # fmt: skip

# -- languages ---------------------------------------------------------------------------------------------------------


def _locales(table: str) -> Mapping[str, str]:
    return MappingProxyType({language_code(locale.partition("-")[0]): locale for locale in table.split()})


#: The default locale of each language of fast transcription.
LOCALES = _locales(
    """
    af-ZA am-ET ar-EG az-AZ bg-BG bn-IN ca-ES cs-CZ cy-GB da-DK de-DE en-US es-ES et-EE eu-ES fa-IR fi-FI fil-PH fr-FR
    ga-IE gl-ES he-IL hi-IN hr-HR hu-HU hy-AM id-ID is-IS it-IT ja-JP jv-ID ka-GE kk-KZ ko-KR lo-LA lt-LT lv-LV mk-MK
    ml-IN mn-MN mr-IN ms-MY mt-MT my-MM nb-NO nl-NL pl-PL ps-AF pt-BR ro-RO ru-RU sk-SK sl-SI so-SO sq-AL sr-RS sv-SE
    sw-KE ta-IN te-IN th-TH tr-TR uk-UA ur-IN uz-UZ vi-VN zh-CN zu-ZA
    """
)
_LOCALE_NAME = re.compile(r"([A-Za-z]{2,3})[-_]([A-Za-z]{2})((?:-[A-Za-z]{2,12})?)")

# -- models ------------------------------------------------------------------------------------------------------------

#: "raw" formats stream and "riff" ones do not, so wav is converted from raw pcm.
FORMATS: Mapping[str, str] = {
    "mp3": "audio-24khz-96kbitrate-mono-mp3",
    "opus": "ogg-24khz-16bit-mono-opus",
    "pcm": "raw-24khz-16bit-mono-pcm",
}
#: Fields that change the delivery, by LiteLLM's names and those of the SSML elements.
DELIVERY: Mapping[str, re.Pattern[str]] = {
    "style": re.compile(r"[A-Za-z][A-Za-z-]{0,39}"),
    "styledegree": re.compile(r"[0-2](\.\d{1,3})?"),
    "role": re.compile(r"[A-Za-z]{1,40}"),
    "pitch": re.compile(r"(x-)?(low|high)|medium|default|[+-]?\d{1,3}(\.\d{1,2})?(%|Hz|st)"),
    "volume": re.compile(r"silent|(x-)?(soft|loud)|medium|default|[+-]?\d{1,3}(\.\d{1,2})?%?"),
    "lang": re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,12}){0,2}"),
}
PROFANITY = ("None", "Masked", "Removed", "Tags")
_DIARIZED_SPEAKERS = 10
_MAX_PROMPT_LENGTH = 4096
_MAX_PHRASES = 500
_MAX_MILLISECONDS = 1e10

SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=1000,
    splits=True,
    speed=(0.5, 2.0),
    formats=tuple(FORMATS),
    sse=False,
    voices=VOICES,
    ignores=frozenset({"instructions"}),
    extras=frozenset(DELIVERY),
)
HD_SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=1000,
    splits=True,
    speed=(1.0, 1.0),
    formats=tuple(FORMATS),
    sse=False,
    voices=HD_VOICES,
    ignores=frozenset({"instructions"}),
    extras=frozenset({"lang"}),
)
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION, Mode.TRANSLATION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    containers=("aac", "amr", "asf", "flac", "m4a", "mp3", "mp4", "ogg", "wav", "webm"),
    max_file_mb=500,
    max_seconds=5 * 3600,
    languages=tuple(sorted(LOCALES)),
    ignores=frozenset({
        "temperature", "include", "known_speaker_names", "known_speaker_references", "chunking_strategy",
    }),
    extras=frozenset({"profanityFilterMode", "maxSpeakers"}),
)  # fmt: skip
MODELS: Mapping[str, Capabilities] = {"azure-tts": SPEECH, "azure-tts-hd": HD_SPEECH, "azure-stt": TRANSCRIPTION}


class AzureSpeechAdapter(Adapter):
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        speech_base, transcription_base = bases(base)
        authorization = _authorization(deployment, key)
        self._speech = Target(deployment, base=speech_base, authorization=authorization)
        self._transcription = Target(deployment, base=transcription_base, authorization=authorization)
        # A key stays secret even if a token is sent instead.
        secrets = (*self._speech.secrets, *self._transcription.secrets, *([key] if key else []))
        super().__init__(declared, secrets=secrets)
        self._speech_url = self._speech.url("/cognitiveservices/v1")
        self._voices_url = self._speech.url("/cognitiveservices/voices/list")
        version = {"api-version": deployment.api_version or API_VERSION}
        self._transcription_url = self._transcription.url("/speechtotext/transcriptions:transcribe", version)

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        voice = request.voice or ""
        if not voice.isprintable():
            raise UnsupportedValue(f"'{voice[:50]!a}' is not a valid voice id.", param="voice")
        content, warnings = _content(request, voice)
        body = ssml.document(content, voice=voice, language=_locale_of(voice)).encode()
        format = request.response_format if request.response_format in FORMATS else "pcm"
        yield self._speech.send(
            "POST",
            self._speech_url,
            body=body,
            content_type="application/ssml+xml",
            length=len(body),
            headers={"x-microsoft-outputformat": FORMATS[format]},
        )
        return SpeechAnswer(format, metadata=StaticMetadata(Usage(characters=billed(content)), warnings))

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        definition, warnings = _definition(request)
        fields = [("definition", to_json(definition).decode())]
        form = MultipartStream(fields, request.file, file_field="audio")
        response = yield BufferedRequest(self._transcription.form(self._transcription_url, form))
        transcript = _transcript(response.content, request)
        return WholeTranscript(transcript, metadata=StaticMetadata(Usage(seconds_in=transcript.duration), warnings))

    def voices(self) -> VoicesFlow:
        response = yield BufferedRequest(self._speech.send("GET", self._voices_url))
        return _listed(response.content)

    def error_details(self, response: Response, body: bytes) -> ErrorDetails:
        details = _error_details(errors.of_response(response, body), response, body)
        if response.status_code == 403 and b"quota" in body[:2000].lower():
            return ErrorDetails(
                403,
                "The upstream vendor's quota is used up.",
                code="insufficient_quota",
                effective_status=429,
                log=f"{details.summary}: {details.message}",
            )
        return details


# -- hosts -------------------------------------------------------------------------------------------------------------

#: By cloud: the domain of speech and that of transcription, below a region's name.
_CLOUDS = (
    ("speech.microsoft.com", "api.cognitive.microsoft.com"),
    ("speech.azure.us", "api.cognitive.microsoft.us"),
    ("speech.azure.cn", "api.cognitive.azure.cn"),
)
_RESOURCES = (".cognitiveservices.azure.com", ".cognitiveservices.azure.us", ".cognitiveservices.azure.cn")
#: Paths that people copy from the documentation together with the address.
_PATH = re.compile(r"(/tts)?/cognitiveservices(/voices/list)?$|/speechtotext(/.*)?$")


def bases(api_base: str) -> tuple[str, str]:
    """The base URLs of speech and of transcription."""
    url = URL(api_base)
    for speech, api in _CLOUDS:
        for suffix in (f".tts.{speech}", f".stt.{speech}", f".{api}"):
            if url.host.endswith(suffix):
                region = url.host.removesuffix(suffix)
                return f"{url.scheme}://{region}.tts.{speech}", f"{url.scheme}://{region}.{api}"
    if url.host.endswith(_RESOURCES):
        resource = f"{url.scheme}://{url.host}"
        return f"{resource}/tts", resource
    base = _PATH.sub("", without_version(api_base))
    return base, base


def _authorization(deployment: Deployment, key: str | None) -> dict[str, str]:
    if deployment.azure_ad_token is not None:
        return {"authorization": f"Bearer {deployment.azure_ad_token.get_secret_value()}"}
    return {"ocp-apim-subscription-key": key} if key is not None else {}


# -- speech ------------------------------------------------------------------------------------------------------------

_HAN = re.compile(
    "[\u2e80-\u2fdf\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


def billed(content: str) -> int:
    """Characters of the content of the voice element, Chinese ones twice."""
    return len(content) + len(_HAN.findall(content))


def _content(request: SpeechRequest, voice: str) -> tuple[str, tuple[str, ...]]:
    """The content of the voice element, and a warning for each thing that is left out."""
    spoken = ssml.text(request.input)
    if not spoken:
        raise BadRequest("The input contains nothing that can be spoken.", param="input", code="invalid_value")
    delivery = {name: _checked(name, value) for name, value in request.extra.items() if value is not None}
    rate = None if request.speed in (None, 1) else f"{(request.speed - 1) * 100:+.4g}%"
    prosody = {"rate": rate, "pitch": delivery.get("pitch"), "volume": delivery.get("volume")}
    style = {name: delivery.get(name) for name in ("style", "styledegree", "role")}
    warnings: tuple[str, ...] = ()
    if ":DragonHD" in voice:
        unsupported = [name for name, value in {"speed": rate, **prosody, **style}.items() if value and name != "rate"]
        warnings = tuple(f"{name} has no effect on the HD voice '{voice[:80]}'" for name in unsupported)
        prosody = style = {}
    spoken = ssml.element("prosody", spoken, prosody)
    spoken = ssml.element("mstts:express-as", spoken, style)
    return ssml.element("lang", spoken, {"xml:lang": delivery.get("lang")}), warnings


def _checked(name: str, value: Any) -> str:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and -1000 < value < 1000
    text = f"{value:g}" if is_number else value
    if not isinstance(text, str) or not DELIVERY[name].fullmatch(text):
        raise UnsupportedValue(f"{name} has a value that Azure's voices do not support.", param=name)
    return text


def _listed(content: bytes) -> tuple[Voice, ...]:
    try:
        listed = from_json(content)
    except ValueError:
        listed = None
    if not isinstance(listed, list):
        raise UpstreamInvalid("The upstream vendor's list of voices is invalid.", detail=f"{len(content)} bytes")
    return tuple(_voice(row) for row in listed if isinstance(row, dict) and _is_public(row.get("ShortName")))


def _is_public(id: Any) -> bool:
    return isinstance(id, str) and _VOICE.fullmatch(id) is not None


def _voice(row: Mapping[str, Any]) -> Voice:
    name, locale, gender = (row.get(key) for key in ("DisplayName", "Locale", "Gender"))
    return Voice(
        row["ShortName"],
        name if isinstance(name, str) else None,
        locale if isinstance(locale, str) else None,
        gender.lower() if gender in ("Female", "Male", "Neutral") else None,
    )


# -- transcription -----------------------------------------------------------------------------------------------------


def _definition(request: TranscriptionRequest) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The JSON of the form, and a warning for each part of the request that it cannot express."""
    extra = dict(request.extra)
    definition: dict[str, Any] = {"profanityFilterMode": _profanity(extra.get("profanityFilterMode", "None"))}
    if request.task == "translate":
        return definition | {"enhancedMode": _translation(request)}, _unsupported(request, "keywords", "languages")
    if locales := _requested_locales(request):
        definition["locales"] = locales
    phrases, warnings = key_terms(request, most=_MAX_PHRASES)
    if phrases:
        definition["phraseList"] = {"phrases": phrases}
    if request.response_format == "diarized_json":
        definition["diarization"] = {"enabled": True, "maxSpeakers": _speakers(extra.get("maxSpeakers"))}
    return definition, tuple(warnings)


def _translation(request: TranscriptionRequest) -> dict[str, Any]:
    mode: dict[str, Any] = {"enabled": True, "task": "translate", "targetLanguage": "en"}
    if request.prompt:
        mode["prompt"] = [request.prompt[:_MAX_PROMPT_LENGTH]]
    return mode


def _unsupported(request: TranscriptionRequest, *names: str) -> tuple[str, ...]:
    return tuple(f"{name} has no effect on '{request.model}'" for name in names if getattr(request, name))


def _requested_locales(request: TranscriptionRequest) -> list[str]:
    """One locale fixes the language, several are candidates, and with none the service detects the language."""
    languages: Iterable[tuple[str, str]] = [("languages", language) for language in request.languages]
    if request.language:
        languages = [("language", request.language)]
    return list(dict.fromkeys(_locale(language, param) for param, language in languages))


def _locale(language: str, param: str) -> str:
    match = _LOCALE_NAME.fullmatch(language.strip())
    if match is not None:
        return f"{match[1].lower()}-{match[2].upper()}{match[3].lower()}"
    locale = LOCALES.get(language_code(language))
    if locale is None:
        raise UnsupportedValue(f"{param} '{language[:50]}' is not transcribed by Azure AI Speech.", param=param)
    return locale


def _profanity(value: str) -> str:
    if value not in PROFANITY:
        raise UnsupportedValue(
            f"profanityFilterMode must be one of {', '.join(PROFANITY)}.", param="profanityFilterMode"
        )
    return value


def _speakers(value: str | None) -> int:
    if value is None:
        return _DIARIZED_SPEAKERS
    if not re.fullmatch(r"[0-9]{1,2}", value) or not 2 <= int(value) <= 35:
        raise UnsupportedValue("maxSpeakers must be 2 to 35.", param="maxSpeakers")
    return int(value)


def _transcript(content: bytes, request: TranscriptionRequest) -> Transcript:
    document = document_of(content)
    phrases = rows(document, "phrases")
    # A translation has the same label everywhere.
    is_diarized = request.response_format == "diarized_json" and request.task == "transcribe"
    speakers = Speakers() if is_diarized else None
    segments = tuple(_segment(number, row, speakers) for number, row in enumerate(phrases))
    combined = [_text(row) for row in rows(document, "combinedPhrases")]
    if "combinedPhrases" not in document and "phrases" not in document:
        raise UpstreamInvalid("The upstream vendor's answer is not a transcript.", detail=f"{len(content)} bytes")
    duration = _milliseconds(document.get("durationMilliseconds"))
    locales = Counter(row["locale"] for row in phrases if isinstance(row.get("locale"), str) and row["locale"])
    language = language_code(locales.most_common(1)[0][0]) if locales else None
    return Transcript(
        text=" ".join(combined) if combined else " ".join(segment.text for segment in segments),
        language="en" if request.task == "translate" else language,
        duration=duration,
        segments=segments,
        words=tuple(word for segment in segments for word in segment.words),
        usage=usage.as_openai(Usage(seconds_in=duration)),
        task=request.task,
    )


def _segment(number: int, row: Mapping[str, Any], speakers: Speakers | None) -> Segment:
    start, end = _span(row)
    speaker = speakers.letter(row.get("speaker")) if speakers is not None else None
    words = tuple(Word(_text(word), *_span(word), speaker) for word in rows(row, "words"))
    return Segment(number, start, end, _text(row), speaker, words)


def _span(row: Mapping[str, Any]) -> tuple[float, float]:
    start = _milliseconds(row.get("offsetMilliseconds"))
    return start, round(start + _milliseconds(row.get("durationMilliseconds")), 3)


def _milliseconds(value: Any) -> float:
    """Milliseconds to seconds."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < _MAX_MILLISECONDS:
        raise UpstreamInvalid("The upstream vendor's transcript has invalid times.", detail=type(value).__name__)
    return time(value / 1000, "milliseconds")


def _text(row: Mapping[str, Any]) -> str:
    text = row.get("text")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail="text")
    return text


# -- errors ------------------------------------------------------------------------------------------------------------


def _error_details(general: ErrorDetails, response: Response, body: bytes) -> ErrorDetails:
    """Some errors are plain text or empty; a header holds the code then."""
    code = header(response, b"x-ms-error-code")
    if header(response, b"content-type").startswith("text/plain") or (code and not body.strip()):
        message = " ".join(body[:1000].decode("utf-8", "replace").split())
        return ErrorDetails(general.status, message, code=code or None, retry_after=general.retry_after)
    return general


AZURE_SPEECH = Vendor(
    name="azure/speech",
    base_url=None,
    #: Microsoft's name, the one in LiteLLM's documentation, and those that LiteLLM falls back to.
    key_variables=("AZURE_SPEECH_KEY", "AZURE_TTS_API_KEY", "AZURE_OPENAI_API_KEY", "AZURE_API_KEY"),
    models=MODELS,
    adapter=AzureSpeechAdapter,
    closed=True,
)
