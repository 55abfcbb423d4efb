"""AssemblyAI: speech by its OpenAI-compatible route, transcription by upload, job and polling.

Speech and transcription live on two hosts; ``api_base`` replaces the one of the deployment's mode. In the EU that is
``https://tts.eu.assemblyai.com`` or ``https://api.eu.assemblyai.com``.

Sources: assemblyai 1.8.2 (SDK, 2026-10-23), AssemblyAI's OpenAPI file as of 2026-08-17, its page "Create speech (OpenAI
compatible)" and "Combine Keyterms Prompting with Prompts" (the two do not go into one request, so the terms join the
prompt). Which formats the OpenAI-compatible route makes is taken from the native one: pcm, mp3 and wav. That a job can
be deleted while it runs is not documented; an upload whose job was never made ages out within two days. Its translation
(``speech_understanding``) is left out: where the translated text stands for a segment is not clear from the file.
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
from proxy.domain.transcript import Segment, Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import (
    ProxyError,
    UnsupportedValue,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamUnavailable,
)
from proxy.http.errors import InvalidURL
from proxy.http.messages import URL, Request, Response
from proxy.providers.base import (
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    StaticMetadata,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import NAMES, Voice, Voices
from proxy.providers.wire import failures, usage
from proxy.providers.wire.requests import header
from proxy.providers.wire.target import Target, segment, without_version
from proxy.providers.wire.terms import key_terms
from proxy.providers.wire.transcripts import Speakers, document_of, rows, time
from proxy.providers.wire.upload import ANY_BYTES, UploadStream

SPEECH_BASE = "https://tts.us.assemblyai.com/v1/openai"
TRANSCRIPTION_BASE = "https://api.assemblyai.com/v2"
#: Where uploads lie: at the host that took them, or beside it.
_OWN_HOSTS = ".assemblyai.com"
#: Seconds before the first look at a job, the growth of the pause, and its longest.
FIRST_WAIT, GROWTH, MAX_WAIT = 0.3, 1.5, 3.0

_VOICES = "jane alba anna charles eve george jean mary michael paul vera"
#: They speak every language of the models. OpenAI's names are mapped by AssemblyAI itself.
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
#: Universal-2 takes no prompt and no temperature.
UNIVERSAL_2 = replace(TRANSCRIPTION, ignores=TRANSCRIPTION.ignores | {"temperature"})
#: ``best`` and ``nano`` are LiteLLM's names, of models that are no more.
MODELS: Mapping[str, Capabilities] = {
    "assemblyai-tts-1": SPEECH,
    "universal-3-5-pro": TRANSCRIPTION,
    "universal-2": UNIVERSAL_2,
    "best": TRANSCRIPTION,
    "nano": UNIVERSAL_2,
}
#: What a model is called in a job: those after the first transcribe what the first has not learnt (its languages).
_SPEECH_MODELS: Mapping[str, tuple[str, ...]] = {
    "universal-3-5-pro": ("universal-3-5-pro", "universal-2"),
    "best": ("universal-3-5-pro", "universal-2"),
    "nano": ("universal-2",),
}
#: Terms that a model takes.
_MAX_TERMS: Mapping[str, int] = {"universal-2": 200}
MAX_TERMS = 1000


def find(model: str) -> Capabilities | None:
    """The models of one language, such as ``assemblyai-tts-en``."""
    return SPEECH if re.fullmatch(r"assemblyai-tts-[a-z0-9]{1,20}", model) else None


class AssemblyAIAdapter:
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        self.capabilities = declared
        self._model = deployment.model
        if deployment.mode == Mode.SPEECH:
            base = SPEECH_BASE if base == TRANSCRIPTION_BASE else base
            base, scheme = without_version(base.rstrip("/").removesuffix("/openai")), "Bearer "
        else:
            base, scheme = without_version(base), ""
        authorization = {"authorization": f"{scheme}{key}"} if key is not None else {}
        self._base = URL(base)
        self._target = Target(deployment, base=base, authorization=authorization)
        self.event_error = self._target.event_error

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
        made = yield BufferedRequest(self._target.post(self._target.url("/v2/transcript"), job), creates=True)
        place = self._target.url(f"/v2/transcript/{_id(document_of(made.content).get('id'))}")
        cleanup: Request | None = self._target.send("DELETE", place)
        wait = FIRST_WAIT
        while True:
            looked = yield BufferedRequest(self._target.send("GET", place), wait=wait, cleanup=cleanup)
            answer = document_of(looked.content)
            if self._is_over(answer, job["audio_url"]):
                break
            wait, cleanup = min(wait * GROWTH, MAX_WAIT), None
        transcript = _transcript(answer, request)
        used = Usage(seconds_in=transcript.duration) if transcript.duration is not None else None
        return WholeTranscript(transcript, StaticMetadata(used, [*warnings, *self._other_model(answer)]))

    def _is_over(self, answer: Mapping[str, Any], upload: str) -> bool:
        """Whether the transcript is there. Raises what ended the job instead, which may repeat where the audio lies."""
        status = answer.get("status")
        if status in ("queued", "processing"):
            return False
        if status == "completed":
            return True
        if status != "error":
            raise _broken("status")
        message = failures.blotted(_text(answer.get("error") or "", "error"), (upload, *self._target.secrets))
        if _NO_SPEECH.search(message):
            # To OpenAI that is a transcript without a word.
            return True
        raise _job_error(message[: failures.MAX_MESSAGE_LENGTH])

    def _upload_url(self, stated: Any) -> str:
        """What AssemblyAI is to fetch: from nowhere but its own hosts, whatever the answer says."""
        try:
            url = URL(_text(stated, "upload_url"))
        except InvalidURL:
            raise _broken("upload_url") from None
        ours = (url.scheme, url.host, url.port) == (self._base.scheme, self._base.host, self._base.port)
        theirs = url.scheme == "https" and url.port is None and url.host.endswith(_OWN_HOSTS)
        if not (ours or theirs) or url.userinfo:
            raise _broken("upload_url on another host")
        return str(url)

    def _job(self, request: TranscriptionRequest) -> tuple[dict[str, Any], list[str]]:
        """All of it but the audio. Raises UnsupportedValue, and that before anything is uploaded."""
        extra = _typed(request)
        models = _SPEECH_MODELS.get(self._model, (self._model,))
        prompted = models[0] != "universal-2"
        most = _MAX_TERMS.get(models[0], MAX_TERMS)
        # A prompt of prose is for the newer models alone.
        asked = replace(request, prompt=None) if prompted else request
        terms, warnings = key_terms(asked, most=most, further=extra.pop("keyterms_prompt", ()))
        job: dict[str, Any] = {"speech_models": models, **_language(request)}
        if prompted and request.prompt:
            job["prompt"] = "\n\nContext: ".join((request.prompt, ", ".join(terms))) if terms else request.prompt
        elif terms:
            job["keyterms_prompt"] = terms
        if prompted and request.temperature is not None:
            job["temperature"] = request.temperature
        if request.response_format == "diarized_json":
            job["speaker_labels"] = True
        elif extra.pop("speakers_expected", None) is not None:
            warnings.append(f"speakers_expected has no effect on {request.response_format}")
        return job | extra, warnings

    def _other_model(self, answer: Mapping[str, Any]) -> list[str]:
        if self._model != "universal-3-5-pro" or answer.get("speech_model_used") != "universal-2":
            return []
        return ["universal-2 transcribed it: universal-3-5-pro does not know the language"]

    def error(self, response: Response, body: bytes) -> ProxyError:
        error = failures.from_response(response, body, secrets=self._target.secrets)
        if error.retry_after is None:
            error.retry_after = _retry_after(body)
        if not isinstance(error, UpstreamRejected):
            return error
        if error.code in ("model_not_found", "voice_not_found"):
            return UpstreamNotFound(error.message, param=error.param, code=error.code, detail=error.detail)
        return _over_quota(error.message) or error


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
    """Form fields, which are strings, as the JSON that a job takes. Raises UnsupportedValue for what is none."""
    extra: dict[str, Any] = {}
    for field, value in request.extra:
        name = field.partition("[")[0]
        if name in ("keyterms_prompt", "redact_pii_policies"):
            extra.setdefault(name, []).append(value)
            continue
        try:
            extra[name] = _KINDS.get(name, str)(value)
        except ValueError:
            raise UnsupportedValue(f"{name} '{value[:50]}' is of the wrong kind.", param=name) from None
    return extra


def _truth(value: str) -> bool:
    known = value.strip().lower()
    if known in ("true", "1"):
        return True
    if known in ("false", "0"):
        return False
    raise ValueError


def _share(value: str) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _spellings(value: str) -> list[dict[str, Any]]:
    """``[{"from": ["Decarlo"], "to": "DeCarlo"}]``"""
    found = from_json(value)
    if not isinstance(found, list) or not all(isinstance(row, dict) and {*row} == {"from", "to"} for row in found):
        raise ValueError
    return found


_KINDS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(("disfluencies", "filter_profanity", "format_text", "punctuate", "redact_pii"), _truth),
    "custom_spelling": _spellings,
    "language_confidence_threshold": _share,
    "speakers_expected": int,
}

# -- answers -----------------------------------------------------------------------------------------------------------

_NO_SPEECH = re.compile(r"no spoken audio|no speech", re.IGNORECASE)
_THEIR_FAULT = re.compile(r"server error|internal|try again|contact support|developers have been", re.IGNORECASE)
_BAD_AUDIO = re.compile(r"transcod|audio|file|language|duration|too short|too long", re.IGNORECASE)
_NO_MONEY = re.compile(r"account balance|top up|insufficient (funds|credit|balance)", re.IGNORECASE)


def _id(stated: Any) -> str:
    if not isinstance(stated, str) or re.fullmatch(r"[\w-]{1,100}", stated, re.ASCII) is None:
        raise _broken("id")
    return segment(stated, param="transcript")


def _job_error(message: str) -> ProxyError:
    over_quota = _over_quota(message)
    if over_quota is not None:
        return over_quota
    if _BAD_AUDIO.search(message) and not _THEIR_FAULT.search(message):
        return UpstreamRejected(message, status=400, param="file", code="invalid_audio")
    return UpstreamUnavailable(message or "The upstream vendor failed to transcribe the audio.")


def _over_quota(message: str) -> ProxyError | None:
    if not _NO_MONEY.search(message):
        return None
    return UpstreamRateLimited(message, code="insufficient_quota")


def _retry_after(body: bytes) -> float | None:
    """``retry_after_seconds``, in the envelope or within its ``error``."""
    try:
        envelope = from_json(body)
        error = envelope.get("error") if isinstance(envelope, dict) else None
        stated = (error if isinstance(error, dict) else envelope).get("retry_after_seconds")
        return usage.seconds_of(stated)
    except (AttributeError, ValueError):
        return None


def _transcript(answer: Mapping[str, Any], request: TranscriptionRequest) -> Transcript:
    duration = usage.seconds_of(answer.get("audio_duration"))
    language = answer.get("language_code") or request.language
    said = answer.get("text")
    speakers = Speakers()
    return Transcript(
        # Null for silence.
        text=_text(said, "text") if said is not None or rows(answer, "words") else "",
        language=language_code(language.replace("_", "-")) if isinstance(language, str) else None,
        duration=duration,
        # Turns of the speakers. A turn is too long for a subtitle: those are made of the words.
        segments=_turns(answer, speakers) if request.response_format == "diarized_json" else (),
        words=tuple(_word(row, speakers) for row in rows(answer, "words")),
        usage=usage.shown(Usage(seconds_in=duration)) if duration is not None else None,
    )


def _turns(answer: Mapping[str, Any], speakers: Speakers) -> tuple[Segment, ...]:
    return tuple(
        Segment(number, *_span(row), _text(row.get("text"), "text"), speakers.letter(row.get("speaker")))
        for number, row in enumerate(rows(answer, "utterances"))
    )


def _word(row: Mapping[str, Any], speakers: Speakers) -> Word:
    return Word(_text(row.get("text"), "text"), *_span(row), speakers.letter(row.get("speaker")))


def _span(row: Mapping[str, Any]) -> tuple[float, float]:
    """Milliseconds, as seconds."""
    start = time(row.get("start"), "start")
    return start / 1000, max(start, time(row.get("end"), "end")) / 1000


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise _broken(name)
    return value


def _broken(name: str) -> UpstreamInvalid:
    return UpstreamInvalid("The upstream vendor's answer makes no sense.", detail=name)


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
