"""Deepgram: Aura and Flux speak, Nova and Whisper transcribe.

Sources: Deepgram's OpenAPI file (2026-07-15), deepgram-sdk 7.17.0, and its pages "TTS Voice Controls" (2026-05: a speed
of 0.7 to 1.5 for English and Spanish), "Flux TTS Voices", "Voices and Languages", "Keyterm Prompting", "Keywords" and
"Supported Audio Formats". The limits of 2,000 characters per request and 2 GB per file and the header
``dg-char-count`` are not in the OpenAPI file: the header appears in other programs, the limits in older pages. ``aac``
is assumed to arrive as ADTS; `calls` checks the bytes. Flux is assumed to have Aura's limit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from pydantic_core import from_json

from proxy.audio.labels import CONTAINERS
from proxy.audio.languages import WHISPER_AND_OTHERS, LanguageCodes, language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import StaticMetadata
from proxy.domain.transcript import Segment, Transcript, Word
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
from proxy.providers.voices import NAMES, Voice, Voices
from proxy.providers.wire import errors, usage
from proxy.providers.wire.errors import ErrorDetails
from proxy.providers.wire.headers import header
from proxy.providers.wire.target import Target, without_version
from proxy.providers.wire.terms import key_terms
from proxy.providers.wire.transcripts import Speakers, document_of, rows, time
from proxy.providers.wire.upload import ANY_BYTES, UploadStream

# -- voices ------------------------------------------------------------------------------------------------------------

_AURA_2: Mapping[tuple[str, str], str] = {
    ("en", "female"): "amalthea andromeda asteria athena aurora callista cora cordelia delia electra harmonia helena "
    "hera iris janus juno luna minerva ophelia pandora phoebe selene thalia theia vesta",
    ("en", "male"): "apollo arcas aries atlas draco hermes hyperion jupiter mars neptune odysseus orion orpheus pluto "
    "saturn zeus",
    ("es", "female"): "agustina antonia carina celeste diana estrella gloria olivia selena silvia",
    ("es", "male"): "alvaro aquila javier luciano nestor sirio valerio",
    ("de", "female"): "aurelia elara kara lara viktoria",
    ("de", "male"): "fabian julius",
    ("nl", "female"): "beatrix cornelia daphne hestia leda rhea",
    ("nl", "male"): "lars roman sander",
    ("fr", "female"): "agathe",
    ("fr", "male"): "hector",
    ("it", "female"): "cinzia demetra livia maia melia",
    ("it", "male"): "cesare dionisio elio flavio",
    ("ja", "female"): "ama izanami uzume",
    ("ja", "male"): "ebisu fujin",
}
_FLUX: Mapping[tuple[str, str], str] = {
    ("en", "female"): "alexis bree brittany brooke elise gemma haley hannah heather kelsey maeve meena meghan paige "
    "priya sharon sienna",
    ("en", "male"): "bruce cliff cole colin conor donovan drew jack kai kit marcelo marcus miles naveen rufus sean "
    "tanner wade wes",
}


def _catalogue(model: str, names: Mapping[tuple[str, str], str]) -> tuple[Voice, ...]:
    return tuple(
        Voice(f"{model}-{name}-{language}", name.capitalize(), language, gender)
        for (language, gender), row in names.items()
        for name in row.split()
    )


def _english(model: str, names: str) -> Mapping[str, str]:
    """``names``: one for each of OpenAI's names, in the same order."""
    return {openai: f"{model}-{name}-en" for openai, name in zip(NAMES, names.split(), strict=True)}


#: OpenAI's names are mapped by the sound of the voices; the mapping is ours.
AURA_2_VOICES = Voices(
    catalogue=_catalogue("aura-2", _AURA_2),
    openai=_english(
        "aura-2", "thalia apollo draco arcas andromeda orpheus pandora helena luna zeus athena asteria orion"
    ),
)
FLUX_VOICES = Voices(
    catalogue=_catalogue("flux", _FLUX),
    openai=_english("flux", "alexis cole colin miles brooke bruce gemma hannah heather cliff sienna haley kit"),
)
#: A model whose id contains its voice; ``flux-general-…`` transcribes.
_FULL = re.compile(r"(?P<family>aura-2|aura|flux)-(?!general-)(?P<name>[a-z]{1,30})-(?P<language>[a-z]{2}|multi)")
#: Languages in which Aura's speed can be changed.
_PACED = ("en", "es")

# -- models -----------------------------------------------------------------------------------------------------------

AURA = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=2000,
    splits=True,
    speed=(0.7, 1.5),
    formats=("mp3", "opus", "aac", "flac", "wav", "pcm"),
    sse=False,
    voices=AURA_2_VOICES,
    ignores=frozenset({"instructions"}),
    extras=frozenset({"bit_rate", "mip_opt_out"}),
)
FLUX = replace(
    AURA, speed=(0.5, 1.5), voices=FLUX_VOICES, extras=frozenset({"bit_rate", "expressivity", "mip_opt_out"})
)
#: Deepgram's own fields, without those that cost more and have no effect on an answer in OpenAI's format.
_EXTRAS = frozenset({
    "dictation", "diarize_model", "filler_words", "measurements", "mip_opt_out", "numerals", "profanity_filter",
    "punctuate", "redact", "replace", "smart_format", "utt_split",
})  # fmt: skip
#: The regions that Deepgram's models know ("Models & Languages Overview", 2026), and codes that are not ISO 639-1.
LANGUAGES = LanguageCodes(
    """
    multi da-DK de-CH en-AU en-CA en-GB en-IE en-IN en-NZ en-US es-419 fr-CA hi-Latn ko-KR nl-BE no pt-BR pt-PT sv-SE
    th-TH tl zh zh-CN zh-HK zh-Hans zh-Hant zh-TW
    """,
    others="ISO 639-1",
)
ENGLISH = LanguageCodes("en en-AU en-CA en-GB en-IE en-IN en-NZ en-US")
NOVA_3 = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    containers=CONTAINERS,  # "nearly all audio formats"; headerless ones need fields that a form does not have
    max_file_mb=1907,  # 2 GB
    languages=LANGUAGES,
    ignores=frozenset({
        "chunking_strategy", "include", "known_speaker_names", "known_speaker_references", "temperature",
    }),
    extras=_EXTRAS | {"keyterm"},
)  # fmt: skip
NOVA_2 = replace(NOVA_3, extras=_EXTRAS)
NOVA_3_ENGLISH = replace(NOVA_3, languages=ENGLISH, ignores=NOVA_3.ignores | {"languages"})
NOVA_2_ENGLISH = replace(NOVA_3_ENGLISH, extras=_EXTRAS)
WHISPER = replace(NOVA_2, languages=WHISPER_AND_OTHERS, ignores=NOVA_2.ignores | {"keywords", "prompt"})
#: Models for one domain; English only.
_DOMAINS = "atc automotive conversationalai drivethru finance medical meeting phonecall video voicemail"
MODELS: Mapping[str, Capabilities] = {
    "aura-2": AURA,
    "flux": FLUX,
    "nova-3": NOVA_3,
    "nova-3-general": NOVA_3,
    "nova-3-medical": NOVA_3_ENGLISH,
    "nova-2": NOVA_2,
    "nova-2-general": NOVA_2,
    **{f"nova-2-{domain}": NOVA_2_ENGLISH for domain in _DOMAINS.split()},
    "whisper": WHISPER,
    **{f"whisper-{size}": WHISPER for size in ("tiny", "base", "small", "medium", "large")},
}


def find(model: str) -> Capabilities | None:
    """A full id fixes the voice, whichever of OpenAI's voices the caller names."""
    full = _FULL.fullmatch(model)
    if full is None:
        return None
    family, language = full["family"], full["language"]
    voices = {"aura-2": AURA_2_VOICES, "flux": FLUX_VOICES}.get(family)
    catalogue = {voice.id: voice for voice in voices.catalogue} if voices is not None else {}
    voice = catalogue.get(model) or Voice(model, full["name"].capitalize(), language if language != "multi" else None)
    voices = Voices(catalogue=(voice,), openai=dict.fromkeys(NAMES, model))
    if family == "flux":
        return replace(FLUX, voices=voices)
    paced = family == "aura-2" and language in _PACED
    return replace(AURA, voices=voices, speed=AURA.speed if paced else (1, 1))


_GENDERS = {"feminine": "female", "masculine": "male"}

# -- requests ----------------------------------------------------------------------------------------------------------

_OUTPUT: Mapping[str, tuple[tuple[str, str], ...]] = {
    "mp3": (("encoding", "mp3"),),
    "opus": (("encoding", "opus"), ("container", "ogg")),
    "aac": (("encoding", "aac"),),
    "flac": (("encoding", "flac"), ("sample_rate", "48000")),
    "wav": (("encoding", "linear16"), ("container", "wav"), ("sample_rate", "24000")),
    "pcm": (("encoding", "linear16"), ("container", "none"), ("sample_rate", "24000")),
}
_WITH_BIT_RATE = ("mp3", "opus", "aac")
#: Models that boost single words (``keywords``); later ones take phrases (``keyterm``).
_OLDER = re.compile(r"(nova|nova-2|enhanced|base)(-[a-z]+)?")
#: Of ``keyterm``, which allows 500 tokens, and of ``keywords``.
MAX_TERMS = 100
#: Accepted content types of the client's file: from ``application/json`` Deepgram would fetch a URL.
_MEDIA = re.compile(r"(audio|video)/[\w.+-]{1,60}", re.ASCII)


class DeepgramAdapter(Adapter):
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        authorization = {"authorization": f"Token {key}"} if key is not None else {}
        target = Target(deployment, base=without_version(base), authorization=authorization)
        super().__init__(declared, secrets=target.secrets)
        self._model = deployment.model
        self._kind = deployment.kind
        self._target = target

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        model, warnings = self._speaker(request.voice)
        format = request.response_format if request.response_format in _OUTPUT else "mp3"
        query = [("model", model), *_OUTPUT[format]]
        if request.speed not in (None, 1):
            query += self._speed(request.speed or 1.0, model, warnings)
        for name, value in request.extra.items():
            if name == "bit_rate" and format not in _WITH_BIT_RATE:
                warnings.append(f"bit_rate has no effect on {format}")
            else:
                query.append((name, _plain(name, value)))
        path = "/v2/speak" if self._kind.startswith("flux") else "/v1/speak"
        response = yield self._target.post(self._target.url(path, query), {"text": request.input})
        return SpeechAnswer(format, metadata=StaticMetadata(_billed(response), warnings))

    def _speaker(self, voice: str | None) -> tuple[str, list[str]]:
        """The model in Deepgram's notation, which contains the voice and its language, and warnings."""
        if _FULL.fullmatch(self._model):
            ignored = voice not in (None, self._model)
            return self._model, [f"voice has no effect on '{self._model}'"] if ignored else []
        if voice is None:
            return self._model, []
        model = voice if voice.startswith(f"{self._model}-") else f"{self._model}-{voice}"
        return (model if _FULL.fullmatch(model) else f"{model}-en"), []

    def _speed(self, speed: float, model: str, warnings: list[str]) -> list[tuple[str, str]]:
        if self._kind.startswith("flux"):
            step = round(speed * 20) / 20
            if abs(step - speed) > 1e-6:
                warnings.append(f"speed {speed:g} was rounded to {step:g}: the voice changes in steps of 0.05")
            return [("speed", f"{step:g}")] if step != 1 else []
        if model.rpartition("-")[2] not in _PACED:
            warnings.append(f"speed has no effect on '{model}'")
            return []
        return [("speed", f"{speed:g}")]

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        query, warnings = self._query(request)
        content_type = request.file.content_type.partition(";")[0].strip().lower()
        response = yield BufferedRequest(
            self._target.send(
                "POST",
                self._target.url("/v1/listen", query),
                body=UploadStream(request.file),
                content_type=content_type if _MEDIA.fullmatch(content_type) else ANY_BYTES,
                length=request.file.size,
            )
        )
        transcript = _transcript(document_of(response.content), request)
        used = Usage(seconds_in=transcript.duration) if transcript.duration is not None else None
        return WholeTranscript(transcript, StaticMetadata(used, warnings))

    def _query(self, request: TranscriptionRequest) -> tuple[list[tuple[str, str]], list[str]]:
        extra = [(name.partition("[")[0], value) for name, value in request.extra]
        terms, warnings = self._terms(request, [value for name, value in extra if name == "keyterm"])
        query = [("model", self._model), *self._language(request), *terms]
        set_by_caller = {name for name, _ in extra}
        if "smart_format" not in set_by_caller:
            query.append(("smart_format", "true"))
        if request.response_format == "diarized_json":
            query.append(("utterances", "true"))
            if "diarize_model" not in set_by_caller:
                query.append(("diarize_model", "latest"))
        return [*query, *((name, value) for name, value in extra if name != "keyterm")], warnings

    def _language(self, request: TranscriptionRequest) -> list[tuple[str, str]]:
        if request.language:
            return [("language", request.language)]
        if self.capabilities.languages is ENGLISH:
            return [("language", "en")]
        # One of these, or of all that Deepgram detects.
        return [("detect_language", language) for language in request.languages or ("true",)]

    def _terms(self, request: TranscriptionRequest, further: Iterable[str]) -> tuple[list[tuple[str, str]], list[str]]:
        """``keyterm`` or ``keywords``, by the model."""
        terms, warnings = key_terms(request, most=MAX_TERMS, further=tuple(further))
        if not _OLDER.fullmatch(self._kind):
            return [("keyterm", term) for term in terms], warnings
        # After a colon, Deepgram expects the number by which a word is boosted.
        words = dict.fromkeys(word for term in terms for word in re.split(r"[\s:]+", term) if word)
        return [("keywords", word) for word in list(words)[:MAX_TERMS]], warnings

    def voices(self) -> VoicesFlow | None:
        return self._list_voices() if Mode.SPEECH in self.capabilities.modes else None

    def _list_voices(self) -> VoicesFlow:
        """``GET /v1/models`` lists the public voices as models."""
        response = yield BufferedRequest(self._target.send("GET", self._target.url("/v1/models")))
        voices = tuple(map(_voice, rows(document_of(response.content), "tts")))
        return tuple(voice for voice in voices if f"{voice.id}-".startswith(f"{self._model}-"))

    def error_details(self, response: Response, body: bytes) -> ErrorDetails:
        details = _error_details(errors.of_response(response, body), body)
        if details.is_rejection and details.message.startswith("No such model"):
            return replace(details, code="model_not_found", effective_status=404, log=details.summary)
        return details


def _plain(name: str, value: Any) -> str:
    """A JSON value as it is written in a query."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise UnsupportedValue(f"{name} must be a string, a number or a boolean.", param=name)


# -- answers -----------------------------------------------------------------------------------------------------------


def _transcript(answer: Mapping[str, Any], request: TranscriptionRequest) -> Transcript:
    results = _part(answer, "results")
    channel = _first(results, "channels")
    alternative = _first(channel, "alternatives")
    duration = usage.seconds_of(_part(answer, "metadata").get("duration"))
    language = channel.get("detected_language") or request.language
    speakers = Speakers()
    return Transcript(
        text=_text(alternative.get("transcript")),
        language=language_code(language) if isinstance(language, str) and language != "multi" else None,
        duration=duration,
        # One per turn of a speaker. A turn is too long for a subtitle, so subtitles are made from the words.
        segments=_turns(results, speakers) if request.response_format == "diarized_json" else (),
        words=tuple(_word(row, speakers) for row in rows(alternative, "words")),
        usage=usage.as_openai(Usage(seconds_in=duration)) if duration is not None else None,
    )


def _turns(results: Mapping[str, Any], speakers: Speakers) -> tuple[Segment, ...]:
    return tuple(
        Segment(number, *_span(row), _text(row.get("transcript")), speakers.letter(row.get("speaker")))
        for number, row in enumerate(rows(results, "utterances"))
    )


def _word(row: Mapping[str, Any], speakers: Speakers) -> Word:
    return Word(_text(row.get("punctuated_word") or row.get("word")), *_span(row), speakers.letter(row.get("speaker")))


def _span(row: Mapping[str, Any]) -> tuple[float, float]:
    start = time(row.get("start"), "start")
    return start, max(start, time(row.get("end"), "end"))


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    if not isinstance(part, dict):
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail=name)
    return part


def _first(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    objects = rows(document, name)
    if not objects:
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail=name)
    return objects[0]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise UpstreamInvalid("The upstream vendor's transcript is malformed.", detail="text")
    return value


def _voice(row: Mapping[str, Any]) -> Voice:
    id = _text(row.get("canonical_name"))
    languages, metadata = row.get("languages"), row.get("metadata")
    codes = [language for language in languages if isinstance(language, str)] if isinstance(languages, list) else []
    tags = metadata.get("tags") if isinstance(metadata, dict) else None
    genders = [_GENDERS[tag] for tag in tags if tag in ("feminine", "masculine")] if isinstance(tags, list) else []
    name = row.get("name")
    title = name.capitalize() if isinstance(name, str) else None
    return Voice(id, title, max(codes, key=len, default=None), genders[0] if genders else None)


def _billed(response: Response) -> Usage | None:
    value = header(response, b"dg-char-count").strip()
    return Usage(characters=int(value)) if re.fullmatch(r"[0-9]{1,9}", value) else None


def _error_details(general: ErrorDetails, body: bytes) -> ErrorDetails:
    """Deepgram's own shapes: ``err_msg`` and ``err_code``, ``message`` and ``category``, a plain text."""
    status, wait = general.status, general.retry_after
    try:
        document = from_json(body)
    except ValueError:
        document = body.decode(errors="replace").strip()
    if isinstance(document, str):
        return ErrorDetails(status, "" if document.startswith("<") else document, retry_after=wait)
    if not isinstance(document, dict) or "error" in document:
        return general
    parts = [document.get("err_msg") or document.get("message"), document.get("details")]
    message = ": ".join(part for part in parts if isinstance(part, str) and part)
    # The status of these is clearer than the code.
    code = None if status in (402, 429) else document.get("err_code") or document.get("category")
    return errors.of_object(status, {"message": message, "code": code}, retry_after=wait)


DEEPGRAM = Vendor(
    name="deepgram",
    base_url="https://api.deepgram.com/v1",
    key_variables=("DEEPGRAM_API_KEY",),
    models=MODELS,
    adapter=DeepgramAdapter,
    find=find,
    # A model that is newer than this table has the voices that the operator names.
    others={Mode.SPEECH: replace(AURA, voices=Voices(catalogue=())), Mode.TRANSCRIPTION: NOVA_3},
)
