"""ElevenLabs: speech as a stream, and Scribe.

Sources: ElevenLabs' OpenAPI document (copy of 2026-08-22: paths, fields, formats, key terms, 5 GB), its SDK 2.78 and
model pages (v4, ``scribe_v3``), its help pages "API - Error Code 400 or 401" and "429" (limits of characters, what the
errors mean), LiteLLM 1.109 (its users' key variable). The ids of the voices are those of ElevenLabs' default voices,
each found in several public programs; the older ones are those to which LiteLLM maps OpenAI's names. Not tested against
the real service. The range of the speed, Opus being in Ogg and the formats of files are documented by third parties
only.

- wav is converted from pcm, because the vendor does not stream wav.
- ``instructions`` have no counterpart. The audio tags of v3 and v4 ("[whispering]") are part of the text and are passed
  on unchanged.
- ElevenLabs bills per character: those in ``x-character-count``, else those of the input. The header
  ``character-cost`` counts credits instead (half a credit per character with Flash and Turbo) and is not read.
- Keywords, and a prompt that is a list of terms, become key terms, which cost a fifth more. Other prompts have no
  effect.
- Ids of earlier requests, pronunciation dictionaries and the like belong to the account: no request may name them.
- A used-up quota is reported with status 401, as if the key were wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json

from proxy.audio.languages import language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import StaticMetadata
from proxy.domain.transcript import Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import UnsupportedValue, UpstreamInvalid
from proxy.http.messages import Response
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
from proxy.providers.wire import errors, usage
from proxy.providers.wire.errors import ErrorDetails
from proxy.providers.wire.headers import header
from proxy.providers.wire.multipart import MultipartStream
from proxy.providers.wire.target import Target, segment, without_version
from proxy.providers.wire.terms import key_terms
from proxy.providers.wire.transcripts import Speakers, document_of, rows, time

# -- voices ------------------------------------------------------------------------------------------------------------


def _voices(table: str) -> tuple[Voice, ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(Voice(id, name, "en", gender) for name, id, gender in rows)


#: Part of every account; the last nine are older and not part of new accounts.
DEFAULT_VOICES = _voices(
    """
    Adam     pNInz6obpgDQGcFmaJgB male
    Alice    Xb7hH8MSUJpSbSDYk0k2 female
    Bella    hpp4J3VqNfWAUOO0d1Us female
    Bill     pqHfZKP75CvOlQylNhV4 male
    Brian    nPczCjzI2devNBz1zQrb male
    Callum   N2lVS1w4EtoT3dr4eOWO male
    Charlie  IKne3meq5aSn9XLyUdCD male
    Chris    iP95p4xoKVk53GoZ742B male
    Daniel   onwK4e9ZLuTAKqWW03F9 male
    Eric     cjVigY5qzO86Huf0OWal male
    George   JBFqnCBsd6RMkjVDRZzb male
    Harry    SOYHLrjzK2X1ezoPC6cr male
    Jessica  cgSgspJ2msm6clMCkdW9 female
    Laura    FGY2WhTYpPnrIDTdsKH5 female
    Liam     TX3LPaxmHKxFdv7VOQHJ male
    Lily     pFZP5JQG7iQjIQuC4Bku female
    Matilda  XrExE9yKIg1WjnnlVkGX female
    River    SAz9YHcvj6GT2YYXdXww neutral
    Roger    CwhRBWXzGAHq8TQ4Fs17 male
    Sarah    EXAVITQu4vr4xnSDxMaL female
    Will     bIHbv24MWmeRgasZH58o male
    Aria      9BWtsMINqrJLrRacOk9x female
    Charlotte XB0fDUnXU5powFXDhCwa female
    Clyde     2EiwWnXFnvU5JabPnv8n male
    Dave      CYw3kZ02Hs0563khs1Fj male
    Domi      AZnzlk1XvdvUeBnXmlld female
    Drew      29vD33N1CtxCmqQRPOHJ male
    Fin       D38z5RcWu1voky8WS1ja male
    Paul      5Q0t7uMcjvnagumLfvZi male
    Rachel    21m00Tcm4TlvDq8ikWAM female
    """
)
_IDS = {voice.name: voice.id for voice in DEFAULT_VOICES}
VOICES = Voices(
    catalogue=DEFAULT_VOICES,
    openai=MappingProxyType({
        "alloy": _IDS["River"],
        "ash": _IDS["Roger"],
        "ballad": _IDS["George"],
        "cedar": _IDS["Brian"],
        "coral": _IDS["Jessica"],
        "echo": _IDS["Eric"],
        "fable": _IDS["Daniel"],
        "marin": _IDS["Sarah"],
        "nova": _IDS["Laura"],
        "onyx": _IDS["Callum"],
        "sage": _IDS["Matilda"],
        "shimmer": _IDS["Lily"],
        "verse": _IDS["Liam"],
    }),
)  # fmt: skip
#: A page holds more voices than there are default voices.
_PAGE = {"voice_type": "default", "category": "premade", "page_size": "100"}

# -- models ------------------------------------------------------------------------------------------------------------

FORMATS: Mapping[str, str] = {"mp3": "mp3_44100_128", "opus": "opus_48000_64", "pcm": "pcm_24000"}
_JSON_TYPES: Mapping[str, type] = {
    "voice_settings": dict,
    "seed": int,
    "language_code": str,
    "previous_text": str,
    "next_text": str,
    "apply_text_normalization": str,
    "apply_language_text_normalization": bool,
    "optimize_streaming_latency": int,
}
#: No number of ElevenLabs' fields comes near it.
_LARGEST = 1 << 32
#: The fields that are sent in the query.
_QUERY = ("optimize_streaming_latency",)
_TRANSCRIPTION_EXTRAS = frozenset(
    {"num_speakers", "diarization_threshold", "tag_audio_events", "no_verbatim", "numbers_format", "seed"}
)
_MAX_TERMS = 1000
_MAX_WORDS = 5
_MAX_TERM_LENGTH = 49
#: Characters that are refused in key terms.
_NO_TERM = str.maketrans(dict.fromkeys("<>{}[]\\", " "))

SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=5000,
    splits=True,
    speed=(0.7, 1.2),
    formats=tuple(FORMATS),
    sse=False,
    voices=VOICES,
    ignores=frozenset({"instructions"}),
    extras=frozenset(_JSON_TYPES),
)
CONTAINERS = (
    "3gp", "aac", "aiff", "asf", "avi", "flac", "flv", "m4a", "mp3", "mp4", "mpeg", "ogg", "wav", "webm",
)  # fmt: skip
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    containers=CONTAINERS,
    max_file_mb=5000,
    ignores=frozenset({"include", "known_speaker_names", "known_speaker_references", "chunking_strategy"}),
    extras=_TRANSCRIPTION_EXTRAS,
)
MODELS: Mapping[str, Capabilities] = {
    "eleven_v4": replace(SPEECH, max_characters=10_000),
    "eleven_v4_turbo": replace(SPEECH, max_characters=10_000),
    "eleven_v3": SPEECH,
    "eleven_v3_conversational": SPEECH,
    "eleven_multilingual_v2": replace(SPEECH, max_characters=10_000),
    "eleven_flash_v2_5": replace(SPEECH, max_characters=40_000),
    "eleven_flash_v2": replace(SPEECH, max_characters=30_000),
    "eleven_turbo_v2_5": replace(SPEECH, max_characters=40_000),
    "eleven_turbo_v2": replace(SPEECH, max_characters=30_000),
    "scribe_v3": TRANSCRIPTION,
    "scribe_v2": TRANSCRIPTION,
    "scribe_v2_medical": TRANSCRIPTION,
    # Key terms were introduced with the second version.
    "scribe_v1": replace(TRANSCRIPTION, ignores=TRANSCRIPTION.ignores | {"prompt", "keywords"}),
}


def find(model: str) -> Capabilities:
    """A model that is not in the table is treated like the others: it must not open up the account's own voices."""
    return TRANSCRIPTION if model.startswith("scribe") else SPEECH


class ElevenLabsAdapter(Adapter):
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        authorization = {"xi-api-key": key} if key is not None else {}
        target = Target(deployment, base=without_version(base), authorization=authorization)
        super().__init__(declared, secrets=target.secrets)
        self._model = deployment.model
        self._target = target
        self._transcription_url = self._target.url("/v1/speech-to-text")
        self._voices_url = self._target.url("/v2/voices", _PAGE)

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        format = request.response_format if request.response_format in FORMATS else "pcm"
        extra = {name: _checked(name, value) for name, value in request.extra.items() if value is not None}
        query = {"output_format": FORMATS[format]} | {name: str(extra.pop(name)) for name in _QUERY if name in extra}
        body = {"text": request.input, "model_id": self._model, **extra}
        if request.speed is not None:
            body["voice_settings"] = {**extra.get("voice_settings", {}), "speed": request.speed}
        path = f"/v1/text-to-speech/{segment(request.voice or '')}/stream"
        response = yield self._target.post(self._target.url(path, query), body)
        return SpeechAnswer(format, metadata=StaticMetadata(Usage(characters=_characters(response, request.input))))

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        fields, warnings = self._fields(request)
        response = yield BufferedRequest(
            self._target.form(self._transcription_url, MultipartStream(fields, request.file))
        )
        transcript = _transcript(response.content, diarized=request.response_format == "diarized_json")
        used = Usage(seconds_in=transcript.duration) if transcript.duration is not None else None
        return WholeTranscript(transcript, metadata=StaticMetadata(used, warnings))

    def voices(self) -> VoicesFlow:
        response = yield BufferedRequest(self._target.send("GET", self._voices_url))
        listed = rows(document_of(response.content), "voices")
        return tuple(voice for row in listed if (voice := _public_voice(row)) is not None)

    def error_details(self, response: Response, body: bytes) -> ErrorDetails:
        general, detail = errors.of_response(response, body), _detail(body)
        return _error_details(general, detail) if detail else general

    def _fields(self, request: TranscriptionRequest) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
        """The form, and a warning for each part of the request that it cannot express."""
        fields = {"model_id": self._model, "timestamps_granularity": "word", "tag_audio_events": "false"}
        if request.response_format == "diarized_json":
            fields["diarize"] = "true"
        language, is_ambiguous = _language(request)
        if language is not None:
            fields["language_code"] = language
        if request.temperature is not None:
            fields["temperature"] = repr(request.temperature)
        fields.update(request.extra)
        keyterms, warnings = _keyterms(request)
        if is_ambiguous:
            warnings.append(f"languages has no effect on '{request.model}' unless it is one")
        return [*fields.items(), *(("keyterms", term) for term in keyterms)], tuple(warnings)


# -- speech ------------------------------------------------------------------------------------------------------------


def _checked(name: str, value: Any) -> Any:
    """Checks the type of one of ElevenLabs' own fields."""
    settings = value.values() if isinstance(value, dict) else ()
    is_right = type(value) is _JSON_TYPES[name] and all(type(setting) in (int, float, bool) for setting in settings)
    if not is_right or any(abs(number) > _LARGEST for number in (value, *settings) if isinstance(number, (int, float))):
        raise UnsupportedValue(f"{name} has a value that ElevenLabs does not support.", param=name)
    return value


def _characters(response: Response, text: str) -> int:
    count = header(response, b"x-character-count")
    return int(count) if count.isdecimal() and len(count) < 10 else len(text)


def _public_voice(row: Mapping[str, Any]) -> Voice | None:
    """None for a voice that belongs to an account."""
    id, name, labels = row.get("voice_id"), row.get("name"), row.get("labels")
    if row.get("category") != "premade" or row.get("is_owner") is True or not isinstance(id, str) or not id:
        return None
    labels = labels if isinstance(labels, dict) else {}
    gender, language = labels.get("gender"), labels.get("language")
    return Voice(
        id,
        name if isinstance(name, str) else None,
        language if isinstance(language, str) else None,
        gender if gender in ("female", "male", "neutral") else None,
    )


# -- transcription -----------------------------------------------------------------------------------------------------


def _language(request: TranscriptionRequest) -> tuple[str | None, bool]:
    """The ISO-639-1 code of the request's only language; whether there are several, none of which is sent."""
    languages = (request.language,) if request.language else request.languages
    if len(languages) != 1:
        return None, bool(languages)
    code = language_code(languages[0]).partition("-")[0]
    if not (code.isascii() and code.isalpha() and len(code) in (2, 3)):
        raise UnsupportedValue(
            f"language '{languages[0][:50]}' is not known; use its ISO-639-1 code.", param="language"
        )
    return _ISO_639_1.get(code, "jv" if code == "jw" else code), False


def _keyterms(request: TranscriptionRequest) -> tuple[list[str], list[str]]:
    """The terms that ElevenLabs does not refuse, and warnings about the others."""
    requested, warnings = key_terms(request, most=_MAX_TERMS)
    terms = [" ".join(term.translate(_NO_TERM).split()) for term in requested]
    accepted = [term for term in terms if term and len(term) <= _MAX_TERM_LENGTH and len(term.split()) <= _MAX_WORDS]
    if len(accepted) < len(terms):
        too_long = f"key terms have at most {_MAX_WORDS} words and {_MAX_TERM_LENGTH} characters"
        warnings.append(f"{len(terms) - len(accepted)} of {len(terms)} key terms have no effect: {too_long}")
    return accepted, warnings


def _transcript(content: bytes, *, diarized: bool) -> Transcript:
    document = document_of(content)
    text, language, length = (document.get(name) for name in ("text", "language_code", "audio_duration_secs"))
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's answer is not a transcript.", detail=f"{len(content)} bytes")
    speakers = Speakers() if diarized else None
    words = tuple(_word(row, speakers) for row in rows(document, "words") if row.get("type") == "word")
    duration = time(length, "audio_duration_secs") if length is not None else None
    if duration is None and words:
        duration = max(word.end for word in words)
    return Transcript(
        text=text.strip(),
        language=_ISO_639_1.get(language, language) if isinstance(language, str) and language else None,
        duration=duration,
        words=words,
        usage=usage.as_openai(Usage(seconds_in=duration)) if duration is not None else None,
    )


def _word(row: Mapping[str, Any], speakers: Speakers | None) -> Word:
    text, start = row.get("text"), time(row.get("start"), "start")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail="text")
    speaker = speakers.letter(row.get("speaker_id")) if speakers is not None else None
    return Word(text, start, max(start, time(row.get("end"), "end")), speaker)


def _pairs(table: str) -> Mapping[str, str]:
    return MappingProxyType(dict(pair.split() for pair in table.split(",")))


#: Scribe's codes of languages (ISO-639-3) as Whisper's.
_ISO_639_1: Mapping[str, str] = _pairs(
    """
    afr af, amh am, ara ar, asm as, aze az, azj az, bak ba, bel be, bul bg, ben bn, bod bo, bre br, bos bs, cat ca,
    ces cs, cym cy, dan da, deu de, ell el, eng en, spa es, est et, eus eu, fas fa, pes fa, fin fi, fao fo, fra fr,
    glg gl, guj gu, hau ha, heb he, hin hi, hrv hr, hat ht, hun hu, hye hy, ind id, isl is, ita it, jpn ja, jav jv,
    kat ka, kaz kk, khm km, kan kn, kor ko, lat la, ltz lb, lin ln, lao lo, lit lt, lav lv, lvs lv, mlg mg, mri mi,
    mkd mk, mal ml, mon mn, khk mn, mar mr, msa ms, zsm ms, mlt mt, mya my, nep ne, npi ne, nld nl, nno nn, nor no,
    nob no, oci oc, pan pa, pol pl, pus ps, por pt, ron ro, rus ru, san sa, snd sd, sin si, slk sk, slv sl, sna sn,
    som so, sqi sq, srp sr, sun su, swe sv, swa sw, swh sw, tam ta, tel te, tgk tg, tha th, tuk tk, tgl tl, fil tl,
    tur tr, tat tt, ukr uk, urd ur, uzb uz, uzn uz, vie vi, yid yi, yor yo, zho zh, cmn zh
    """
)

# -- errors ------------------------------------------------------------------------------------------------------------


def _detail(body: bytes) -> Mapping[str, Any]:
    """ElevenLabs' ``detail``, an object; empty for FastAPI's list and for anything else."""
    try:
        document = from_json(body)
    except ValueError:
        return {}
    detail = document.get("detail") if isinstance(document, dict) else None
    return detail if isinstance(detail, dict) else {}


def _error_details(general: ErrorDetails, detail: Mapping[str, Any]) -> ErrorDetails:
    """The kind of error is the ``status`` or the ``code`` of ``detail``; the HTTP status of some kinds misleads."""
    kind = detail.get("status") or detail.get("code")
    details = errors.of_object(general.status, {**detail, "code": kind}, retry_after=general.retry_after)
    log = f"upstream status {general.status}, {kind!a}: {details.message}"
    if kind == "quota_exceeded":
        message = "The upstream vendor's quota is used up."
        return replace(details, message=message, type=None, code="insufficient_quota", effective_status=429, log=log)
    if kind == "voice_not_found":
        message = details.message or "The upstream vendor does not know the voice."
        return replace(details, message=message, type=None, param="voice", effective_status=404, log=log)
    if kind == "system_busy":
        message = details.message or "The upstream vendor is busy."
        return replace(details, message=message, effective_status=503, log=log)
    return details


ELEVENLABS = Vendor(
    name="elevenlabs",
    base_url="https://api.elevenlabs.io/v1",
    #: ElevenLabs' own name, and LiveKit's.
    key_variables=("ELEVENLABS_API_KEY", "ELEVEN_API_KEY"),
    models=MODELS,
    adapter=ElevenLabsAdapter,
    find=find,
)
