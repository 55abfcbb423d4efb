"""Google's Gemini API: gemini-3.8 speaks, gemini-3.5-transcribe transcribes.

Sources: google-genai 3.4.0 (2026-11) for requests, answers, reasons and the Files API; @ai-sdk/google 4.0.121 for
``speechMetadata`` and ``responseFormat`` of speech; Google's pages on speech generation and on Chirp 3's voices for the
thirty voices and their genders; google.rpc's ``ErrorInfo`` and ``RetryInfo`` for errors. Speech is requested as a
stream of 24 kHz samples; the API's enumeration has compressed formats, but nothing shows that they work for speech.
The limit of 20 MB per request is from Gemini's audio guide, that of 2 GB from its Files API. Google retired the 2.5 and
3.1 speech models on 2026-11-17. The text is sent in its own part, so that it is not read as an instruction.

Not tested against the real service.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic_core import from_json, to_json

from proxy.audio import wav
from proxy.audio.languages import LanguageCodes
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest, Upload
from proxy.domain.results import StaticMetadata
from proxy.domain.transcript import Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import UpstreamInvalid, UpstreamRejected
from proxy.http.errors import InvalidURL
from proxy.http.messages import URL, ByteStream, Request, Response
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    Step,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import Voice, Voices
from proxy.providers.wire import errors, sse, terms, usage
from proxy.providers.wire.errors import ErrorDetails
from proxy.providers.wire.headers import header
from proxy.providers.wire.streams import Failure, decoded
from proxy.providers.wire.target import Target, segment, without_version
from proxy.providers.wire.transcripts import Speakers, document_of, rows
from proxy.providers.wire.upload import Base64Stream, UploadStream

_WOMEN = """
Achernar Aoede Autonoe Callirrhoe Despina Erinome Gacrux Kore Laomedeia Leda Pulcherrima Sulafat Vindemiatrix Zephyr
"""
_MEN = """
Achird Algenib Algieba Alnilam Charon Enceladus Fenrir Iapetus Orus Puck Rasalgethi Sadachbia Sadaltager Schedar
Umbriel Zubenelgenubi
"""
VOICES = Voices(
    catalogue=(
        *(Voice(name, name, None, "female") for name in _WOMEN.split()),
        *(Voice(name, name, None, "male") for name in _MEN.split()),
    ),
    openai={
        "alloy": "Kore", "ash": "Orus", "ballad": "Umbriel", "cedar": "Iapetus", "coral": "Aoede", "echo": "Puck",
        "fable": "Sadaltager", "marin": "Sulafat", "nova": "Leda", "onyx": "Charon", "sage": "Vindemiatrix",
        "shimmer": "Zephyr", "verse": "Fenrir",
    },
)  # fmt: skip
RATE = 24_000
LANGUAGES = LanguageCodes("", others="BCP 47")
SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    speed=(1, 1),
    formats=("pcm",),
    sse=False,
    needs_words=True,
    voices=VOICES,
    extras=frozenset({"language_code"}),
)
#: Gemini's content types, by container.
_MIME_TYPES = {
    "aac": "audio/aac", "aiff": "audio/aiff", "flac": "audio/flac", "m4a": "audio/m4a", "mp3": "audio/mp3",
    "mp4": "audio/m4a", "mpeg": "audio/mpeg", "ogg": "audio/ogg", "wav": "audio/wav", "webm": "audio/webm",
}  # fmt: skip
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    containers=tuple(_MIME_TYPES),
    max_file_mb=2048,
    languages=LANGUAGES,
    ignores=frozenset({
        "temperature", "include", "known_speaker_names", "known_speaker_references", "chunking_strategy",
    }),
    extras=frozenset(),
)  # fmt: skip
MODELS: Mapping[str, Capabilities] = {
    "gemini-3.8-flash-tts": SPEECH,
    "gemini-3.8-flash-lite-tts": SPEECH,
    "gemini-3.5-transcribe": TRANSCRIPTION,
}

#: A larger file is sent to the Files API: base64 adds a third, and a request may have 20 MB.
INLINE_BYTES = 14_000_000
#: Seconds before each poll of a file that is being processed; the last one is repeated.
WAITS = (0.5, 1.0, 2.0, 4.0)
MAX_TERMS = 1000
WITH_WORDS = ("srt", "verbose_json", "vtt", "diarized_json")
#: Reasons of the vendor's policies: the speech would be refused with any other key, too.
REFUSED = frozenset({
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "JAILBREAK",
})  # fmt: skip
KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED"})

_OFFSET = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_DELAY = re.compile(r"(\d{1,5}(?:\.\d{1,9})?)s")
_FILE = re.compile(r"files/[a-z0-9-]{1,64}")
_RATE = re.compile(r"rate=(\d+)")


class GeminiAdapter(Adapter):
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        authorization = {"x-goog-api-key": key} if key is not None else {}
        target = Target(deployment, base=without_version(base), authorization=authorization)
        super().__init__(declared, secrets=target.secrets)
        self._model = deployment.model
        self._target = target
        model = segment(deployment.model, param="model")
        self._speech_url = self._target.url(f"/v1beta/models/{model}:streamGenerateContent", {"alt": "sse"})
        self._interactions_url = self._target.url("/v1beta/interactions")

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        part: dict[str, Any] = {"text": request.input}
        if request.instructions is not None:
            part["speechMetadata"] = {"style": request.instructions}
        speech: dict[str, Any] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": request.voice}}}
        if request.extra.get("language_code") is not None:
            name = str(request.extra["language_code"])
            if code := LANGUAGES.spell(name, param="language_code", model=request.model):
                speech["languageCode"] = code
        body = {
            "contents": [{"role": "user", "parts": [part]}],
            "generationConfig": {
                "responseModalities": ["AUDIO"],
                "speechConfig": speech,
                "responseFormat": {"audio": {"mimeType": "AUDIO_L16", "sampleRate": RATE}},
            },
        }
        yield self._target.post(self._speech_url, body)
        return SpeechAnswer("pcm", rate=RATE, decoder=_Speech(self.event_error))

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        vocabulary, warnings = terms.key_terms(request, most=MAX_TERMS)
        body = {
            "model": self._model,
            "store": False,
            "generation_config": {"transcription_config": _settings(request, vocabulary)},
        }
        if request.file.size <= INLINE_BYTES:
            stream = _with_audio(body, request.file)
            response = yield BufferedRequest(self._json(stream, stream.length))
        else:
            response = yield from self._with_uploaded(body, request.file)
        transcript, used = _transcript(document_of(response.content))
        return WholeTranscript(transcript, metadata=StaticMetadata(used, warnings))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _with_uploaded(self, body: dict[str, Any], file: Upload) -> Generator[Step, Response, Response]:
        """Uploads the file, requests the transcript and deletes the file."""
        kind = mime_type(file)
        response = yield BufferedRequest(self._upload_start(file, kind))
        response = yield BufferedRequest(self._upload(self._upload_url(response), file))
        uploaded = _Uploaded.of(document_of(response.content).get("file"))
        url = self._target.url(f"/v1beta/{uploaded.name}")
        delete: Request | None = self._target.send("DELETE", url)
        polls = 0
        while uploaded.state not in ("ACTIVE", "FAILED"):
            wait = WAITS[min(polls, len(WAITS) - 1)]
            response = yield BufferedRequest(self._target.send("GET", url), wait=wait, cleanup=delete)
            uploaded, delete, polls = _Uploaded.of(document_of(response.content)), None, polls + 1
        if uploaded.state == "FAILED":
            if delete is not None:
                yield BufferedRequest(delete)
            raise UpstreamInvalid("The upstream vendor could not process the file.")
        audio = {"type": "audio", "uri": uploaded.uri, "mime_type": kind}
        content = to_json(body | {"input": [audio]})
        response = yield BufferedRequest(self._json(content, len(content)), cleanup=delete)
        return response

    def _upload_start(self, file: Upload, kind: str) -> Request:
        content = to_json({"file": {"display_name": "audio"}})
        headers = {
            "x-goog-upload-protocol": "resumable",
            "x-goog-upload-command": "start",
            "x-goog-upload-header-content-length": str(file.size),
            "x-goog-upload-header-content-type": kind,
        }
        return self._target.send(
            "POST",
            self._target.url("/upload/v1beta/files"),
            body=content,
            content_type="application/json",
            length=len(content),
            headers=headers,
        )

    def _upload_url(self, response: Response) -> URL:
        """The URL for the bytes. It must be on the vendor's own host, because the key is sent there, too."""
        try:
            url = URL(header(response, b"x-goog-upload-url"))
        except InvalidURL:
            url = URL("")
        own = self._interactions_url
        if (url.scheme, url.host, url.port) != (own.scheme, own.host, own.port) or url.userinfo:
            raise UpstreamInvalid("The upstream vendor named an upload address that is not its own.")
        return url

    def _upload(self, url: URL, file: Upload) -> Request:
        return self._target.send(
            "POST",
            url,
            body=UploadStream(file),
            length=file.size,
            headers={"x-goog-upload-offset": "0", "x-goog-upload-command": "upload, finalize"},
        )

    def _json(self, body: bytes | ByteStream, length: int) -> Request:
        return self._target.send(
            "POST", self._interactions_url, body=body, content_type="application/json", length=length
        )

    # -- errors --------------------------------------------------------------------------------------------------------

    def error_details(self, response: Response, body: bytes) -> ErrorDetails:
        return _error_details(errors.of_response(response, body), _error_object(body))

    def event_error_details(self, event: bytes) -> ErrorDetails:
        error = _error_object(event)
        code = error.get("code")
        status = code if type(code) is int and 400 <= code < 600 else 500
        return _error_details(replace(errors.of_event(event), status=status), error)


def _error_object(body: bytes) -> Mapping[str, Any]:
    """``{"error": {"code": 429, "message", "status": "RESOURCE_EXHAUSTED", "details": […]}}``, alone or in a list."""
    try:
        document = from_json(body)
    except ValueError:
        return {}
    document = document[0] if isinstance(document, list) and document else document
    return _object(_object(document).get("error"))


def _error_details(general: ErrorDetails, error: Mapping[str, Any]) -> ErrorDetails:
    if not error:
        return general
    details = error.get("details")
    details = [row for row in details if isinstance(row, dict)] if isinstance(details, list) else []
    reasons = {row["reason"] for row in details if isinstance(row.get("reason"), str)}
    if general.status == 400 and reasons & KEY_REASONS:
        return ErrorDetails(400, effective_status=401, log=", ".join(sorted(reasons)))
    # The numeric code repeats the HTTP status, so the name of the status is the code. A rate limit keeps OpenAI's code.
    name = error.get("status")
    return errors.of_object(
        general.status,
        {"message": error.get("message"), "code": name if name != "RESOURCE_EXHAUSTED" else None},
        retry_after=_retry_delay(details) if general.retry_after is None else general.retry_after,
    )


def _retry_delay(details: Sequence[Mapping[str, Any]]) -> float | None:
    """Seconds from ``RetryInfo``."""
    delays = [row["retryDelay"] for row in details if isinstance(row.get("retryDelay"), str)]
    match = _DELAY.fullmatch(delays[0]) if delays else None
    return float(match[1]) if match else None


# -- speech ------------------------------------------------------------------------------------------------------------


class _Speech:
    """Events with audio as base64; complete after a ``finishReason`` of STOP."""

    def __init__(self, failure: Failure) -> None:
        self._reader = sse.Reader()
        self._failure = failure
        self._stopped = False
        self._has_audio = False
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    def feed(self, data: bytes) -> Iterator[bytes]:
        return self._read(self._reader.feed(data))

    def _read(self, events: Iterable[bytes]) -> Iterator[bytes]:
        for event in events:
            document = document_of(event)
            if document.get("error") is not None:
                raise self._failure(event)
            self.usage = _speech_usage(document.get("usageMetadata")) or self.usage
            _refuse(_object(document.get("promptFeedback")).get("blockReason"))
            for candidate in rows(document, "candidates")[:1]:
                for audio in _audio(candidate):
                    self._has_audio = True
                    yield audio
                self._note(candidate.get("finishReason"))

    def end(self) -> Iterator[bytes]:
        rest = [content for _, content in self._reader.end()]
        if any(document_of(content).get("error") is not None for content in rest):
            # A document with status 200, not an event.
            raise UpstreamInvalid("The upstream vendor sent an error instead of speech.")
        yield from self._read(rest)
        if not self._stopped or not self._has_audio:
            raise UpstreamInvalid("The upstream vendor's speech ended before it was complete.")

    def _note(self, reason: Any) -> None:
        if reason in (None, "", "FINISH_REASON_UNSPECIFIED"):
            return
        _refuse(reason)
        if reason != "STOP":
            raise UpstreamInvalid(
                "The upstream vendor stopped before the end of the text.", detail=f"finishReason {str(reason)[:40]}"
            )
        self._stopped = True


def _refuse(reason: Any) -> None:
    """Raises UpstreamRejected if the vendor's policies are the reason."""
    if isinstance(reason, str) and reason in REFUSED:
        raise UpstreamRejected(
            f"The upstream vendor refused to speak this text: {reason}.", status=400, param="input", code=reason.lower()
        )


def _audio(candidate: Mapping[str, Any]) -> Iterator[bytes]:
    for part in rows(_object(candidate.get("content")), "parts"):
        blob = _object(part.get("inlineData"))
        kind = blob.get("mimeType")
        audio = decoded(blob.get("data"))
        if audio and isinstance(kind, str):
            yield _samples(audio, kind)


def _samples(audio: bytes, kind: str) -> bytes:
    """s16le at 24 kHz. If the vendor sends wav nevertheless, each part may be a whole file."""
    rate = _RATE.search(kind)
    if audio.startswith(b"RIFF"):
        try:
            head = wav.parse(audio)
        except ValueError as error:
            raise UpstreamInvalid("The upstream vendor sent samples of another kind.", detail=kind[:60]) from error
        if head is None or not head.is_s16 or (head.rate, head.channels) != (RATE, 1):
            raise UpstreamInvalid("The upstream vendor sent samples of another kind.", detail=kind[:60])
        return audio[head.offset : None if head.size is None else head.offset + head.size]
    if not kind.lower().startswith(("audio/l16", "audio/pcm")) or (rate is not None and int(rate[1][:7]) != RATE):
        raise UpstreamInvalid("The upstream vendor sent another format than the one requested.", detail=kind[:60])
    return audio


def _speech_usage(metadata: Any) -> Usage | None:
    if not isinstance(metadata, dict):
        return None
    text, audio = metadata.get("promptTokenCount"), metadata.get("candidatesTokenCount")
    return usage.of_speech({"usage": {"input_tokens": text, "output_tokens": audio}})


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


# -- transcription -----------------------------------------------------------------------------------------------------


def _settings(request: TranscriptionRequest, vocabulary: Sequence[str]) -> dict[str, Any]:
    mode: dict[str, Any] = {"type": "verbatim"}
    if request.response_format in WITH_WORDS:
        mode["timestamp_granularities"] = ["word"]
    if request.response_format == "diarized_json":
        mode["diarization_mode"] = "speaker"
    settings: dict[str, Any] = {"mode": mode}
    if languages := list(dict.fromkeys(filter(None, (request.language, *request.languages)))):
        settings["language_codes"] = languages
    if vocabulary:
        settings["custom_vocabulary"] = list(vocabulary)
    return settings


def _transcript(document: Mapping[str, Any]) -> tuple[Transcript, Usage | None]:
    status = document.get("status")
    if status not in (None, "completed"):
        raise UpstreamInvalid(
            "The upstream vendor did not complete the transcript.", detail=f"status {str(status)[:40]}"
        )
    blocks = [
        block
        for step in rows(document, "steps")
        if step.get("type") == "model_output"
        for block in rows(step, "content")
        if block.get("type") == "text" and isinstance(block.get("text"), str)
    ]
    if not blocks:
        raise UpstreamInvalid("The upstream vendor's answer is not a transcript.")
    speakers = Speakers()
    infos = [row for block in blocks for row in rows(block, "annotations") if row.get("type") == "word_info"]
    words = [_word(row, speakers) for row in infos]
    used = _transcript_usage(document.get("usage"))
    return Transcript(
        text="".join(block["text"] for block in blocks).strip(),
        # Words are requested for their timestamps; without those they are left out.
        words=tuple(word for word in words if word is not None) if None not in words else (),
        usage=usage.as_openai(used),
    ), used


def _word(row: Mapping[str, Any], speakers: Speakers) -> Word | None:
    text, start, end = row.get("text"), _offset(row.get("start_offset")), _offset(row.get("end_offset"))
    if not isinstance(text, str) or start is None or end is None:
        return None
    return Word(text, start, max(start, end), speakers.letter(row.get("speaker")))


def _offset(value: Any) -> float | None:
    """Seconds from ``1.2s``."""
    match = _OFFSET.fullmatch(value) if isinstance(value, str) else None
    return float(match[1]) if match else None


def _transcript_usage(block: Any) -> Usage | None:
    if not isinstance(block, dict):
        return None
    rows = block.get("input_tokens_by_modality")
    by_modality = {
        str(row.get("modality")).lower(): row.get("tokens")
        for row in (rows if isinstance(rows, list) else ())
        if isinstance(row, dict)
    }
    return usage.of_transcript(
        {
            "usage": {
                "input_tokens": block.get("total_input_tokens"),
                "input_token_details": {
                    "text_tokens": by_modality.get("text"),
                    "audio_tokens": by_modality.get("audio"),
                },
                "output_tokens": block.get("total_output_tokens"),
            }
        }
    )


@dataclass(frozen=True, slots=True)
class _Uploaded:
    """A file of the Files API."""

    name: str
    uri: str
    state: str

    @classmethod
    def of(cls, value: Any) -> _Uploaded:
        file = _object(value)
        name, uri, state = file.get("name"), file.get("uri"), file.get("state", "ACTIVE")
        if not isinstance(name, str) or not isinstance(uri, str) or not isinstance(state, str):
            raise UpstreamInvalid("The upstream vendor's answer does not describe a file.")
        if not _FILE.fullmatch(name):
            raise UpstreamInvalid("The upstream vendor's file has an invalid name.")
        return cls(name, uri, state)


def mime_type(file: Upload) -> str:
    """Gemini's name of the container. Unknown bytes are most likely to be wav."""
    return _MIME_TYPES.get(file.container or "", "audio/wav")


def _with_audio(body: Mapping[str, Any], file: Upload) -> Base64Stream:
    """The body, a JSON object, with the file as its ``input``."""
    head = to_json(body)[:-1] + b',"input":[{"type":"audio","mime_type":' + to_json(mime_type(file)) + b',"data":"'
    return Base64Stream(head, file, b'"}]}')


GEMINI = Vendor(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
    models=MODELS,
    adapter=GeminiAdapter,
    others={Mode.SPEECH: SPEECH, Mode.TRANSCRIPTION: TRANSCRIPTION},
)
