"""ElevenLabs: speech as a stream, and Scribe.

Sources: ElevenLabs' OpenAPI document (copy of 2026-08-22: paths, fields, formats, key terms, 5 GB), its SDK 2.78 and
model pages (v4, ``scribe_v3``), its help pages "API - Error Code 400 or 401" and "429" (limits of characters, what the
errors mean), LiteLLM 1.109 (its users' key variable). The ids of the voices are those of ElevenLabs' default voices,
each seen in several public programs; the older ones are those that LiteLLM maps OpenAI's names to. None of it was tried
against the real service. Said by third parties only: the range of the speed, and that Opus comes in Ogg.

- wav is made of pcm here: the vendor makes it only where it does not stream.
- ``instructions`` have no counterpart. The audio tags of v3 and v4 ("[whispering]") are part of the text: those that a
  caller writes pass as they are.
- Billed are characters at a price per character, as ``x-character-count`` tells them, else those of the input. The
  header ``character-cost`` counts credits instead (half of one a character with Flash and Turbo) and is not read.
- A prompt that is a glossary, and keywords, become key terms, which cost a fifth more; no other prompt has an effect.
- Ids of earlier requests, pronunciation dictionaries and the like belong to the account: no request may name them.
- A used-up quota comes as 401, as if the key were wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json, to_json

from proxy.audio.languages import language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.transcript import Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import (
    ProxyError,
    UnsupportedValue,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamUnavailable,
)
from proxy.http.messages import Response
from proxy.providers.base import (
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    StaticMetadata,
    TranscriptionFlow,
    VoicesFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import Voice, Voices
from proxy.providers.wire import failures, usage
from proxy.providers.wire.multipart import MultipartStream
from proxy.providers.wire.requests import header
from proxy.providers.wire.target import Target, segment, without_version
from proxy.providers.wire.terms import key_terms
from proxy.providers.wire.transcripts import Speakers, document_of, rows, time

# -- voices ------------------------------------------------------------------------------------------------------------


def _voices(table: str) -> tuple[Voice, ...]:
    rows = (line.split() for line in table.strip().splitlines())
    return tuple(Voice(id, name, "en", gender) for name, id, gender in rows)


#: There from the beginning in every account; the last nine are older and not offered to new ones.
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
#: The default voices are far fewer than a page holds.
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
#: No number of theirs comes near it.
_LARGEST = 1 << 32
#: Those of them that stand in the query.
_QUERY = ("optimize_streaming_latency",)
_TRANSCRIPTION_EXTRAS = frozenset(
    {"num_speakers", "diarization_threshold", "tag_audio_events", "no_verbatim", "numbers_format", "seed"}
)
_MAX_TERMS = 1000
_MAX_WORDS = 5
_MAX_TERM_LENGTH = 49
#: They are refused in key terms.
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
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
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
    # Key terms came with the second version.
    "scribe_v1": replace(TRANSCRIPTION, ignores=TRANSCRIPTION.ignores | {"prompt", "keywords"}),
}


def find(model: str) -> Capabilities:
    """A model that is not in the table is one of a kind: it must not open the account's own voices."""
    return TRANSCRIPTION if model.startswith("scribe") else SPEECH


class ElevenLabsAdapter:
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        self.capabilities = declared
        self._model = deployment.model
        authorization = {"xi-api-key": key} if key is not None else {}
        self._target = Target(deployment, base=without_version(base), authorization=authorization)
        self._transcription_url = self._target.url("/v1/speech-to-text")
        self._voices_url = self._target.url("/v2/voices", _PAGE)
        self.event_error = self._target.event_error

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
        found = _transcript(response.content, diarized=request.response_format == "diarized_json")
        used = Usage(seconds_in=found.duration) if found.duration is not None else None
        return WholeTranscript(found, metadata=StaticMetadata(used, warnings))

    def voices(self) -> VoicesFlow:
        response = yield BufferedRequest(self._target.send("GET", self._voices_url))
        listed = rows(document_of(response.content), "voices")
        return tuple(voice for row in listed if (voice := _public_voice(row)) is not None)

    def error(self, response: Response, body: bytes) -> ProxyError:
        detail = _detail(body)
        kind, message = detail.get("status") or detail.get("code"), detail.get("message")
        said = failures.blotted(message, self._target.secrets) if isinstance(message, str) else ""
        named = failures.blotted(f"{kind!a:.60}", self._target.secrets)
        log = f"upstream status {response.status_code}, {named}: {said[:300]}"
        wait = failures.retry_after(response.headers)
        if kind == "quota_exceeded":
            return UpstreamRateLimited(
                "The upstream vendor's quota is used up.", code="insufficient_quota", retry_after=wait, detail=log
            )
        if kind == "voice_not_found":
            message = said or "The upstream vendor does not know the voice."
            return UpstreamNotFound(message, param="voice", code=kind, detail=log)
        if kind == "system_busy":
            message = said or "The upstream vendor is busy."
            return UpstreamUnavailable(message, status=503, code=kind, retry_after=wait, detail=log)
        return self._target.error(response, _shaped(body, detail, kind, said))

    def _fields(self, request: TranscriptionRequest) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
        """The form, and what of the request has no place in it."""
        fields = {"model_id": self._model, "timestamps_granularity": "word", "tag_audio_events": "false"}
        if request.response_format == "diarized_json":
            fields["diarize"] = "true"
        language, unsure = _language(request)
        if language is not None:
            fields["language_code"] = language
        if request.temperature is not None:
            fields["temperature"] = repr(request.temperature)
        fields.update(request.extra)
        keyterms, warnings = _keyterms(request)
        if unsure:
            warnings.append(f"languages has no effect on '{request.model}' unless it is one")
        return [*fields.items(), *(("keyterms", term) for term in keyterms)], tuple(warnings)


# -- speech ------------------------------------------------------------------------------------------------------------


def _checked(name: str, value: Any) -> Any:
    """A field of the vendor's own, of the type that it has there."""
    settings = value.values() if isinstance(value, dict) else ()
    is_right = type(value) is _JSON_TYPES[name] and all(type(setting) in (int, float, bool) for setting in settings)
    if not is_right or any(abs(number) > _LARGEST for number in (value, *settings) if isinstance(number, (int, float))):
        raise UnsupportedValue(f"{name} has a value that ElevenLabs does not know.", param=name)
    return value


def _characters(response: Response, text: str) -> int:
    stated = header(response, b"x-character-count")
    return int(stated) if stated.isdecimal() and len(stated) < 10 else len(text)


def _public_voice(row: Mapping[str, Any]) -> Voice | None:
    """None for what is somebody's own."""
    id, name, labels = row.get("voice_id"), row.get("name"), row.get("labels")
    if row.get("category") != "premade" or row.get("is_owner") is True or not isinstance(id, str) or not id:
        return None
    known = labels if isinstance(labels, dict) else {}
    gender, language = known.get("gender"), known.get("language")
    return Voice(
        id,
        name if isinstance(name, str) else None,
        language if isinstance(language, str) else None,
        gender if gender in ("female", "male", "neutral") else None,
    )


# -- transcription -----------------------------------------------------------------------------------------------------


def _language(request: TranscriptionRequest) -> tuple[str | None, bool]:
    """ISO-639-1 of the one language that the request names, and whether it names several, of which none is told."""
    named = (request.language,) if request.language else request.languages
    if len(named) != 1:
        return None, bool(named)
    code = language_code(named[0]).partition("-")[0]
    if not (code.isascii() and code.isalpha() and len(code) in (2, 3)):
        raise UnsupportedValue(
            f"language '{named[0][:50]}' is not known; name it by its ISO-639-1 code.", param="language"
        )
    return _ISO_639_1.get(code, "jv" if code == "jw" else code), False


def _keyterms(request: TranscriptionRequest) -> tuple[list[str], list[str]]:
    """The terms that ElevenLabs would not refuse, and a sentence for each thing left out."""
    found, warnings = key_terms(request, most=_MAX_TERMS)
    terms = [" ".join(term.translate(_NO_TERM).split()) for term in found]
    taken = [term for term in terms if term and len(term) <= _MAX_TERM_LENGTH and len(term.split()) <= _MAX_WORDS]
    if len(taken) < len(terms):
        too_long = f"key terms have at most {_MAX_WORDS} words and {_MAX_TERM_LENGTH} characters"
        warnings.append(f"{len(terms) - len(taken)} of {len(terms)} key terms have no effect: {too_long}")
    return taken, warnings


def _transcript(content: bytes, *, diarized: bool) -> Transcript:
    document = document_of(content)
    text, language, length = (document.get(name) for name in ("text", "language_code", "audio_duration_secs"))
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's answer is no transcript.", detail=f"{len(content)} bytes")
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
        usage=usage.shown(Usage(seconds_in=duration)) if duration is not None else None,
    )


def _word(row: Mapping[str, Any], speakers: Speakers | None) -> Word:
    text, start = row.get("text"), time(row.get("start"), "start")
    if not isinstance(text, str):
        raise UpstreamInvalid("The upstream vendor's transcript has broken parts.", detail="text")
    speaker = speakers.letter(row.get("speaker_id")) if speakers is not None else None
    return Word(text, start, max(start, time(row.get("end"), "end")), speaker)


def _pairs(table: str) -> Mapping[str, str]:
    return MappingProxyType(dict(pair.split() for pair in table.split(",")))


#: What Scribe answers (ISO-639-3), as whisper spells it.
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
    """``detail`` where it is an object, as ElevenLabs has it; empty for FastAPI's list, and for anything else."""
    try:
        document = from_json(body)
    except ValueError:
        return {}
    detail = document.get("detail") if isinstance(document, dict) else None
    return detail if isinstance(detail, dict) else {}


def _shaped(body: bytes, detail: Mapping[str, Any], kind: Any, message: str) -> bytes:
    """ElevenLabs' ``detail`` in OpenAI's shape."""
    if not detail:
        return body
    error = {"message": message, "code": kind, "type": detail.get("type"), "param": detail.get("param")}
    return to_json({"error": error}, inf_nan_mode="null")


ELEVENLABS = Vendor(
    name="elevenlabs",
    base_url="https://api.elevenlabs.io/v1",
    #: ElevenLabs' own name, and LiveKit's.
    key_variables=("ELEVENLABS_API_KEY", "ELEVEN_API_KEY"),
    models=MODELS,
    adapter=ElevenLabsAdapter,
    find=find,
)
