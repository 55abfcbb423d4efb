"""AssemblyAI: speech by its OpenAI-compatible route, transcription by upload, job and polling.

Speech and transcription are on two hosts; ``api_base`` replaces the one of the deployment's mode. In the EU that is
``https://tts.eu.assemblyai.com`` or ``https://api.eu.assemblyai.com``.

Sources: assemblyai 1.8.2 (SDK, 2026-10-23), AssemblyAI's OpenAPI file as of 2026-08-17, its pages "Create speech
(OpenAI compatible)", "What audio and video file types are supported" and "Combine Keyterms Prompting with Prompts" (a
request has either, so the terms are added to the prompt). The formats of the OpenAI-compatible route are assumed to be
those of the native one: pcm, mp3 and wav. Deleting a job while it runs is not documented; an upload without a job
expires within two days. Its translation (``speech_understanding``) is not supported: the file does not say where the
translated text of a segment is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json

from proxy.audio.languages import language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest
from proxy.domain.results import StaticMetadata
from proxy.domain.transcript import Segment, Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import UnsupportedValue, UpstreamInvalid
from proxy.http.errors import InvalidURL
from proxy.http.messages import URL, Request, Response
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import NAMES, Voice, Voices
from proxy.providers.wire import errors, usage
from proxy.providers.wire.errors import ErrorDetails
from proxy.providers.wire.headers import header
from proxy.providers.wire.target import Target, segment, without_version
from proxy.providers.wire.terms import key_terms
from proxy.providers.wire.transcripts import Speakers, document_of, rows, time
from proxy.providers.wire.upload import ANY_BYTES, UploadStream

SPEECH_BASE = "https://tts.us.assemblyai.com/v1/openai"
TRANSCRIPTION_BASE = "https://api.assemblyai.com/v2"
#: Uploads are on the host that accepted them, or on another one in this domain.
_OWN_HOSTS = ".assemblyai.com"
#: Seconds before a job is polled first, the factor by which the pause grows, and the longest pause.
FIRST_WAIT, GROWTH, MAX_WAIT = 0.3, 1.5, 3.0

_VOICES = "jane alba anna charles eve george jean mary michael paul vera"
#: Each speaks every language of the models. AssemblyAI itself maps OpenAI's names.
VOICES = Voices(
    catalogue=tuple(Voice(f"aai-{name}", name.capitalize()) for name in _VOICES.split()),
    openai=MappingProxyType({name: name for name in NAMES}),
)
SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    max_characters=5000,
    splits=True,
    speed=(1, 1),
    formats=("pcm", "mp3", "wav"),
    sse=False,
    voices=VOICES,
    ignores=frozenset({"instructions"}),
    extras=frozenset(),
)
#: OpenAPI file, ``TranscriptLanguageCode``, without the regions of English.
LANGUAGES = """
en es fr de it pt nl af sq am ar hy as az ba eu be bn bs br bg my ca zh hr cs da et fo fi gl ka el gu ht ha haw he hi hu
is id ja jw kn kk km ko lo la lv ln lt lb mk mg ms ml mt mi mr mn ne no nn oc pa ps fa pl ro ru sa sr sn sd si sk sl so
su sw sv tl tg ta tt te th bo tr tk uk ur uz vi cy yi yo
"""
_ENGLISH = {"en-us": "en_us", "en-gb": "en_uk", "en-uk": "en_uk", "en-au": "en_au"}
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    containers=(
        "3gp", "aac", "aiff", "amr", "ape", "asf", "au", "avi", "flac", "flv", "m4a", "mp3", "mp4", "mpeg", "ogg", "ts",
        "wav", "wavpack", "webm",
    ),
    max_file_mb=2098,  # 2.2 GB
    max_seconds=36_000,
    languages=tuple(LANGUAGES.split()),
    ignores=frozenset({"chunking_strategy", "include", "known_speaker_names", "known_speaker_references"}),
    extras=frozenset({
        "custom_spelling", "disfluencies", "domain", "filter_profanity", "format_text", "keyterms_prompt",
        "language_confidence_threshold", "punctuate", "redact_pii", "redact_pii_policies", "redact_pii_sub",
        "remove_audio_tags", "speakers_expected",
    }),
)  # fmt: skip
#: Universal-2 has no prompt and no temperature.
UNIVERSAL_2 = replace(TRANSCRIPTION, ignores=TRANSCRIPTION.ignores | {"temperature"})
#: ``best`` and ``nano`` are LiteLLM's names, of models that were retired.
MODELS: Mapping[str, Capabilities] = {
    "assemblyai-tts-1": SPEECH,
    "universal-3-5-pro": TRANSCRIPTION,
    "universal-2": UNIVERSAL_2,
    "best": TRANSCRIPTION,
    "nano": UNIVERSAL_2,
}
#: The names of a model in a job; later ones are used for languages that the first does not support.
_SPEECH_MODELS: Mapping[str, tuple[str, ...]] = {
    "universal-3-5-pro": ("universal-3-5-pro", "universal-2"),
    "best": ("universal-3-5-pro", "universal-2"),
    "nano": ("universal-2",),
}
#: Terms that a model accepts.
_MAX_TERMS: Mapping[str, int] = {"universal-2": 200}
MAX_TERMS = 1000


def find(model: str) -> Capabilities | None:
    """The models of one language, such as ``assemblyai-tts-en``."""
    return SPEECH if re.fullmatch(r"assemblyai-tts-[a-z0-9]{1,20}", model) else None


class AssemblyAIAdapter(Adapter):
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        if deployment.mode == Mode.SPEECH:
            base = SPEECH_BASE if base == TRANSCRIPTION_BASE else base
            base, scheme = without_version(base.rstrip("/").removesuffix("/openai")), "Bearer "
        else:
            base, scheme = without_version(base), ""
        authorization = {"authorization": f"{scheme}{key}"} if key is not None else {}
        target = Target(deployment, base=base, authorization=authorization)
        super().__init__(declared, secrets=target.secrets)
        self._model = deployment.model
        self._base = URL(base)
        self._target = target

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        format = request.response_format if request.response_format in ("pcm", "mp3", "wav") else "pcm"
        body = {
            "model": self._model,
            "input": request.input,
            "voice": request.voice,
            "response_format": format,
            **request.extra,
        }
        response = yield self._target.post(self._target.url("/v1/openai/audio/speech"), body)
        return SpeechAnswer(format, metadata=StaticMetadata(_billed(response)))

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        job, warnings = self._job(request)
        upload = self._target.send(
            "POST",
            self._target.url("/v2/upload"),
            body=UploadStream(request.file),
            content_type=ANY_BYTES,
            length=request.file.size,
        )
        uploaded = yield BufferedRequest(upload)
        job["audio_url"] = self._upload_url(document_of(uploaded.content).get("upload_url"))
        created = yield BufferedRequest(self._target.post(self._target.url("/v2/transcript"), job), creates=True)
        url = self._target.url(f"/v2/transcript/{_id(document_of(created.content).get('id'))}")
        cleanup: Request | None = self._target.send("DELETE", url)
        wait = FIRST_WAIT
        while True:
            polled = yield BufferedRequest(self._target.send("GET", url), wait=wait, cleanup=cleanup)
            answer = document_of(polled.content)
            if self._is_over(answer, job["audio_url"]):
                break
            wait, cleanup = min(wait * GROWTH, MAX_WAIT), None
        transcript = _transcript(answer, request)
        used = Usage(seconds_in=transcript.duration) if transcript.duration is not None else None
        return WholeTranscript(transcript, StaticMetadata(used, [*warnings, *self._other_model(answer)]))

    def _is_over(self, answer: Mapping[str, Any], upload: str) -> bool:
        """Whether the transcript is complete. Raises the error that ended the job; it may quote the audio's URL."""
        status = answer.get("status")
        if status in ("queued", "processing"):
            return False
        if status == "completed":
            return True
        if status != "error":
            raise _broken("status")
        message = errors.redacted(_text(answer.get("error") or "", "error"), (upload, *self._secrets))
        if _NO_SPEECH.search(message):
            # With OpenAI that is a transcript without words.
            return True
        raise errors.to_error(_job_error(message))

    def _upload_url(self, value: Any) -> str:
        """The URL from which AssemblyAI fetches the audio; only its own hosts are accepted."""
        try:
            url = URL(_text(value, "upload_url"))
        except InvalidURL:
            raise _broken("upload_url") from None
        is_base = (url.scheme, url.host, url.port) == (self._base.scheme, self._base.host, self._base.port)
        is_own = url.scheme == "https" and url.port is None and url.host.endswith(_OWN_HOSTS)
        if not (is_base or is_own) or url.userinfo:
            raise _broken("upload_url on another host")
        return str(url)

    def _job(self, request: TranscriptionRequest) -> tuple[dict[str, Any], list[str]]:
        """The job without the audio, and warnings. Raises UnsupportedValue, before anything is uploaded."""
        extra = _typed(request)
        models = _SPEECH_MODELS.get(self._model, (self._model,))
        has_prompt = models[0] != "universal-2"
        most = _MAX_TERMS.get(models[0], MAX_TERMS)
        # Only the newer models take a prompt that is prose.
        source = replace(request, prompt=None) if has_prompt else request
        terms, warnings = key_terms(source, most=most, further=extra.pop("keyterms_prompt", ()))
        job: dict[str, Any] = {"speech_models": models, **_language(request)}
        if has_prompt and request.prompt:
            job["prompt"] = "\n\nContext: ".join((request.prompt, ", ".join(terms))) if terms else request.prompt
        elif terms:
            job["keyterms_prompt"] = terms
        if has_prompt and request.temperature is not None:
            job["temperature"] = request.temperature
        if request.response_format == "diarized_json":
            job["speaker_labels"] = True
        elif extra.pop("speakers_expected", None) is not None:
            warnings.append(f"speakers_expected has no effect on {request.response_format}")
        return job | extra, warnings

    def _other_model(self, answer: Mapping[str, Any]) -> list[str]:
        if self._model != "universal-3-5-pro" or answer.get("speech_model_used") != "universal-2":
            return []
        return ["universal-2 was used: universal-3-5-pro does not support the language"]

    def error_details(self, response: Response, body: bytes) -> ErrorDetails:
        details = errors.of_response(response, body)
        if details.retry_after is None:
            details = replace(details, retry_after=_retry_after(body))
        if not details.is_rejection:
            return details
        if details.code in ("model_not_found", "voice_not_found"):
            return replace(details, type=None, retry_after=None, effective_status=404, log=details.summary)
        if _NO_MONEY.search(details.message):
            return ErrorDetails(
                details.status, details.message, code="insufficient_quota", effective_status=429, log=details.summary
            )
        return details


# -- requests ----------------------------------------------------------------------------------------------------------


def _language(request: TranscriptionRequest) -> dict[str, Any]:
    languages = [request.language] if request.language else list(request.languages)
    if len(languages) == 1:
        return {"language_code": _code(languages[0])}
    job: dict[str, Any] = {"language_detection": True}
    if languages:
        job["language_detection_options"] = {"expected_languages": [_code(language) for language in languages]}
    return job


def _code(language: str) -> str:
    """``German`` and ``de-AT`` → ``de``; English has regions."""
    return _ENGLISH.get(language.strip().lower().replace("_", "-")) or language_code(language)


def _typed(request: TranscriptionRequest) -> dict[str, Any]:
    """Form fields, which are strings, as JSON values. Raises UnsupportedValue for a value of the wrong type."""
    extra: dict[str, Any] = {}
    for field, value in request.extra:
        name = field.partition("[")[0]
        if name in ("keyterms_prompt", "redact_pii_policies"):
            extra.setdefault(name, []).append(value)
            continue
        try:
            extra[name] = _TYPES.get(name, str)(value)
        except ValueError:
            raise UnsupportedValue(f"{name} '{value[:50]}' is of the wrong type.", param=name) from None
    return extra


def _boolean(value: str) -> bool:
    word = value.strip().lower()
    if word in ("true", "1"):
        return True
    if word in ("false", "0"):
        return False
    raise ValueError


def _fraction(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _spellings(value: str) -> list[dict[str, Any]]:
    """``[{"from": ["Decarlo"], "to": "DeCarlo"}]``"""
    spellings = from_json(value)
    if not isinstance(spellings, list) or not all(
        isinstance(row, dict) and {*row} == {"from", "to"} for row in spellings
    ):
        raise ValueError
    return spellings


_TYPES: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("disfluencies", "filter_profanity", "format_text", "punctuate", "redact_pii"), _boolean),
    "custom_spelling": _spellings,
    "language_confidence_threshold": _fraction,
    "speakers_expected": int,
}

# -- answers -----------------------------------------------------------------------------------------------------------

_NO_SPEECH = re.compile(r"no spoken audio|no speech", re.IGNORECASE)
_SERVER_FAULT = re.compile(r"server error|internal|try again|contact support|developers have been", re.IGNORECASE)
_BAD_AUDIO = re.compile(r"transcod|audio|file|language|duration|too short|too long", re.IGNORECASE)
_NO_MONEY = re.compile(r"account balance|top up|insufficient (funds|credit|balance)", re.IGNORECASE)


def _id(value: Any) -> str:
    if not isinstance(value, str) or re.fullmatch(r"[\w-]{1,100}", value, re.ASCII) is None:
        raise _broken("id")
    return segment(value, param="transcript")


def _job_error(message: str) -> ErrorDetails:
    """A failed job has a message only. The status is what AssemblyAI should have answered."""
    log = "the job failed"
    if _NO_MONEY.search(message):
        return ErrorDetails(429, message, code="insufficient_quota", log=log)
    if _BAD_AUDIO.search(message) and not _SERVER_FAULT.search(message):
        return ErrorDetails(400, message, param="file", code="invalid_audio", log=log)
    return ErrorDetails(502, message or "The upstream vendor failed to transcribe the audio.", log=log)


def _retry_after(body: bytes) -> float | None:
    """``retry_after_seconds``, beside ``error`` or in it."""
    try:
        envelope = from_json(body)
        error = envelope.get("error") if isinstance(envelope, dict) else None
        return usage.seconds_of((error if isinstance(error, dict) else envelope).get("retry_after_seconds"))
    except (AttributeError, ValueError):
        return None


def _transcript(answer: Mapping[str, Any], request: TranscriptionRequest) -> Transcript:
    duration = usage.seconds_of(answer.get("audio_duration"))
    language = answer.get("language_code") or request.language
    text = answer.get("text")
    speakers = Speakers()
    return Transcript(
        # Null for silence.
        text=_text(text, "text") if text is not None or rows(answer, "words") else "",
        language=language_code(language.replace("_", "-")) if isinstance(language, str) else None,
        duration=duration,
        # One per turn of a speaker. A turn is too long for a subtitle, so subtitles are made from the words.
        segments=_turns(answer, speakers) if request.response_format == "diarized_json" else (),
        words=tuple(_word(row, speakers) for row in rows(answer, "words")),
        usage=usage.as_openai(Usage(seconds_in=duration)) if duration is not None else None,
    )


def _turns(answer: Mapping[str, Any], speakers: Speakers) -> tuple[Segment, ...]:
    return tuple(
        Segment(number, *_span(row), _text(row.get("text"), "text"), speakers.letter(row.get("speaker")))
        for number, row in enumerate(rows(answer, "utterances"))
    )


def _word(row: Mapping[str, Any], speakers: Speakers) -> Word:
    return Word(_text(row.get("text"), "text"), *_span(row), speakers.letter(row.get("speaker")))


def _span(row: Mapping[str, Any]) -> tuple[float, float]:
    """Milliseconds to seconds."""
    start = time(row.get("start"), "start")
    return start / 1000, max(start, time(row.get("end"), "end")) / 1000


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _broken(name)
    return value


def _broken(name: str) -> UpstreamInvalid:
    return UpstreamInvalid("The upstream vendor's answer is malformed.", detail=name)


def _billed(response: Response) -> Usage | None:
    value = header(response, b"x-tts-billed-characters").strip()
    return Usage(characters=int(value)) if re.fullmatch(r"[0-9]{1,9}", value) else None


ASSEMBLYAI = Vendor(
    name="assemblyai",
    base_url=TRANSCRIPTION_BASE,
    key_variables=("ASSEMBLYAI_API_KEY",),
    models=MODELS,
    adapter=AssemblyAIAdapter,
    find=find,
    others={Mode.SPEECH: SPEECH, Mode.TRANSCRIPTION: TRANSCRIPTION},
)
