"""Google's Gemini API: gemini-3.8 speaks, gemini-3.5-transcribe transcribes.

Sources: google-genai 3.4.0 (2026-11) for requests, answers, reasons and the Files API; @ai-sdk/google 4.0.121 for
``speechMetadata`` and ``responseFormat`` of speech; Google's pages of speech generation and of Chirp 3's voices for
the thirty voices and their genders; google.rpc's ``ErrorInfo`` and ``RetryInfo`` for errors. Speech is asked for as a
stream of 24 kHz samples; the compressed formats of the API's enumeration are not proven for speech and left alone. The
limit of 20 MB for a request is that of Gemini's audio guide, 2 GB that of its Files API. The 2.5 and 3.1 models of
speech ended on 2026-11-17. The text goes out alone in its part, so that nothing of it reads as an instruction.

None of it was tried against the real service.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from proxy.audio import formats, wav
from proxy.audio.languages import language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, SpeechRequest, TranscriptionRequest, Upload
from proxy.domain.transcript import Transcript, Word
from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UnsupportedValue, UpstreamCredentials, UpstreamInvalid, UpstreamRejected
from proxy.http.errors import InvalidURL
from proxy.http.messages import URL, ByteStream, Request, Response
from proxy.providers.base import (
    BufferedRequest,
    Capabilities,
    SpeechAnswer,
    SpeechFlow,
    StaticMetadata,
    Step,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.vendor import Vendor
from proxy.providers.voices import Voice, Voices
from proxy.providers.wire import failures, sse, terms, usage
from proxy.providers.wire.requests import header
from proxy.providers.wire.streams import Failure, decoded
from proxy.providers.wire.target import Target, segment, without_version
from proxy.providers.wire.transcripts import Speakers, document_of, rows
from proxy.providers.wire.upload import UploadStream

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
SPEECH = Capabilities(
    modes=frozenset({Mode.SPEECH}),
    speed=(1, 1),
    formats=("pcm",),
    sse=False,
    voices=VOICES,
    extras=frozenset({"language_code"}),
)
TRANSCRIPTION = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text", "srt", "verbose_json", "vtt", "diarized_json"),
    max_file_mb=2048,
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

#: A larger file goes to the Files API; base64 makes a third more of it, and a request has 20 MB.
INLINE_BYTES = 14_000_000
#: Seconds before each look at a file that is being made ready: the first ones, and the last again and again.
WAITS = (0.5, 1.0, 2.0, 4.0)
MAX_TERMS = 1000
WITH_WORDS = ("srt", "verbose_json", "vtt", "diarized_json")
#: The vendor's policies end the speech, here or for another key alike.
REFUSED = frozenset({
    "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "JAILBREAK",
})  # fmt: skip
KEY_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "API_KEY_HTTP_REFERRER_BLOCKED"})

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[a-z0-9]{2,8}){0,3}", re.IGNORECASE)
_OFFSET = re.compile(r"(\d{1,6}(?:\.\d{1,9})?)s")
_DELAY = re.compile(r"(\d{1,5}(?:\.\d{1,9})?)s")
_FILE = re.compile(r"files/[a-z0-9-]{1,64}")
_RATE = re.compile(r"rate=(\d+)")


class GeminiAdapter:
    def __init__(self, deployment: Deployment, *, base: str, key: str | None, declared: Capabilities) -> None:
        self.capabilities = declared
        self._model = deployment.model
        authorization = {"x-goog-api-key": key} if key is not None else {}
        self._target = Target(deployment, base=without_version(base), authorization=authorization)
        model = segment(deployment.model, param="model")
        self._speech_url = self._target.url(f"/v1beta/models/{model}:streamGenerateContent", {"alt": "sse"})
        self._interactions_url = self._target.url("/v1beta/interactions")

    def speech(self, request: SpeechRequest) -> SpeechFlow:
        part: dict[str, Any] = {"text": request.input}
        if request.instructions is not None:
            part["speechMetadata"] = {"style": request.instructions}
        speech: dict[str, Any] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": request.voice}}}
        if request.extra.get("language_code") is not None:
            speech["languageCode"] = _language(request.extra["language_code"], param="language_code")
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
        known = terms.key_terms(request, most=MAX_TERMS)
        body = {
            "model": self._model,
            "store": False,
            "generation_config": {"transcription_config": _settings(request, known.terms)},
        }
        if request.file.size <= INLINE_BYTES:
            stream = _AroundFile(body, request.file, mime_type(request.file))
            response = yield BufferedRequest(self._json(stream, stream.length))
        else:
            response = yield from self._with_uploaded(body, request.file)
        found, used = _transcript(document_of(response.content))
        return WholeTranscript(found, metadata=StaticMetadata(used, known.warnings))

    # -- files ---------------------------------------------------------------------------------------------------------

    def _with_uploaded(self, body: dict[str, Any], file: Upload) -> Generator[Step, Response, Response]:
        """Asks with the file uploaded before, which is deleted in the end."""
        kind = mime_type(file)
        response = yield BufferedRequest(self._upload_start(file, kind))
        response = yield BufferedRequest(self._upload(self._upload_url(response), file))
        uploaded = _Uploaded.of(document_of(response.content).get("file"))
        url = self._target.url(f"/v1beta/{uploaded.name}")
        delete: Request | None = self._target.send("DELETE", url)
        look = 0
        while uploaded.state not in ("ACTIVE", "FAILED"):
            wait = WAITS[min(look, len(WAITS) - 1)]
            response = yield BufferedRequest(self._target.send("GET", url), wait=wait, cleanup=delete)
            uploaded, delete, look = _Uploaded.of(document_of(response.content)), None, look + 1
        if uploaded.state == "FAILED":
            if delete is not None:
                yield BufferedRequest(delete)
            raise UpstreamInvalid("The upstream vendor could not take the file in.")
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
        """Where the vendor wants the bytes: at its own address, for the key goes along."""
        try:
            url = URL(header(response, b"x-goog-upload-url"))
        except InvalidURL:
            url = URL("")
        own = self._interactions_url
        if (url.scheme, url.host, url.port) != (own.scheme, own.host, own.port) or url.userinfo:
            raise UpstreamInvalid("The upstream vendor named no address of its own for the upload.")
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

    def error(self, response: Response, body: bytes) -> ProxyError:
        return self._failure(response, _Stated(body), body)

    def event_error(self, event: bytes) -> ProxyError:
        stated = _Stated(event)
        return self._failure(Response(stated.http_status), stated, event)

    def _failure(self, response: Response, stated: _Stated, body: bytes) -> ProxyError:
        """A bad key is a 400 here; the code is a number that repeats the status, so the name of the status is told."""
        if response.status_code == 400 and stated.reasons & KEY_REASONS:
            return UpstreamCredentials(
                "The upstream vendor refused the credentials of this deployment.", detail=", ".join(stated.reasons)
            )
        error = failures.from_response(response, stated.as_openai or body, secrets=self._target.secrets)
        if error.retry_after is None:
            error.retry_after = stated.delay
        return error


class _Stated:
    """``{"error": {"code": 429, "message", "status": "RESOURCE_EXHAUSTED", "details": […]}}``, or parts of it."""

    def __init__(self, body: bytes) -> None:
        try:
            document = from_json(body)
        except ValueError:
            document = None
        document = document[0] if isinstance(document, list) and document else document
        error = document.get("error") if isinstance(document, dict) else None
        self._error: dict[str, Any] = error if isinstance(error, dict) else {}
        found = self._error.get("details")
        self._details = [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    @property
    def http_status(self) -> int:
        code = self._error.get("code")
        return code if type(code) is int and 400 <= code < 600 else 500

    @property
    def reasons(self) -> frozenset[str]:
        return frozenset(row["reason"] for row in self._details if isinstance(row.get("reason"), str))

    @property
    def delay(self) -> float | None:
        """Seconds of ``RetryInfo``."""
        delays = [row["retryDelay"] for row in self._details if isinstance(row.get("retryDelay"), str)]
        found = _DELAY.fullmatch(delays[0]) if delays else None
        return float(found[1]) if found else None

    @property
    def as_openai(self) -> bytes | None:
        """The error in OpenAI's shape, with the name of the status as its code; a rate limit has OpenAI's own."""
        status = self._error.get("status")
        if not self._error:
            return None
        code = status if isinstance(status, str) and status != "RESOURCE_EXHAUSTED" else None
        return to_json({"error": {"message": self._error.get("message"), "code": code}}, inf_nan_mode="null")


# -- speech ------------------------------------------------------------------------------------------------------------


class _Speech:
    """Events with audio as base64; complete once a reason to stop has come that is none to complain of."""

    def __init__(self, failure: Failure) -> None:
        self._reader = sse.Reader()
        self._failure = failure
        self._stopped = False
        self._heard = False
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for event in self._reader.feed(data):
            document = document_of(event)
            if document.get("error") is not None:
                raise self._failure(event)
            self.usage = _speech_usage(document.get("usageMetadata")) or self.usage
            _refuse(_object(document.get("promptFeedback")).get("blockReason"))
            for candidate in rows(document, "candidates")[:1]:
                for audio in _audio(candidate):
                    self._heard = True
                    yield audio
                self._note(candidate.get("finishReason"))

    def end(self) -> Iterator[bytes]:
        self._reader.end()
        if not self._stopped or not self._heard:
            raise UpstreamInvalid("The upstream vendor's speech ended before it was complete.")
        return iter(())

    def _note(self, reason: Any) -> None:
        if reason in (None, "", "FINISH_REASON_UNSPECIFIED"):
            return
        _refuse(reason)
        if reason != "STOP":
            raise UpstreamInvalid(
                "The upstream vendor stopped in the middle.", detail=f"finishReason {str(reason)[:40]}"
            )
        self._stopped = True


def _refuse(reason: Any) -> None:
    """Raises UpstreamRejected for what the vendor will not say."""
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
    """s16le of 24 kHz, out of a file of its own each time where the vendor sends wav all the same."""
    rate = _RATE.search(kind)
    if audio.startswith(b"RIFF"):
        try:
            head = wav.parse(audio)
        except ValueError as error:
            raise UpstreamInvalid("The upstream vendor sent samples of another kind.", detail=kind[:60]) from error
        if head is None or (head.rate, head.channels) != (RATE, 1):
            raise UpstreamInvalid("The upstream vendor sent samples of another kind.", detail=kind[:60])
        return audio[head.offset : None if head.size is None else head.offset + head.size]
    if not kind.lower().startswith(("audio/l16", "audio/pcm")) or (rate is not None and int(rate[1][:7]) != RATE):
        raise UpstreamInvalid("The upstream vendor sent another format than was asked for.", detail=kind[:60])
    return audio


def _speech_usage(metadata: Any) -> Usage | None:
    if not isinstance(metadata, dict):
        return None
    asked, spoken = metadata.get("promptTokenCount"), metadata.get("candidatesTokenCount")
    return usage.of_speech({"usage": {"input_tokens": asked, "output_tokens": spoken}})


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
    named = (request.language, *request.languages)
    if languages := list(dict.fromkeys(_language(name) for name in named if name)):
        settings["language_codes"] = languages
    if vocabulary:
        settings["custom_vocabulary"] = list(vocabulary)
    return settings


def _language(name: Any, *, param: str = "language") -> str:
    """BCP-47, of a code or of a language's English name. Raises UnsupportedValue for anything else."""
    given = name.strip() if isinstance(name, str) else ""
    code = given if _LANGUAGE.fullmatch(given) and not given.isalpha() else language_code(given)
    if not _LANGUAGE.fullmatch(code) or (code.isalpha() and len(code) > 3):
        raise UnsupportedValue(f"{param} {given[:40]!a} is not a language that is known here.", param=param)
    return code


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
        raise UpstreamInvalid("The upstream vendor's answer is no transcript.")
    speakers = Speakers()
    infos = [row for block in blocks for row in rows(block, "annotations") if row.get("type") == "word_info"]
    words = [_word(row, speakers) for row in infos]
    used = _transcript_usage(document.get("usage"))
    return Transcript(
        text="".join(block["text"] for block in blocks).strip(),
        # Words without times are of no use to anybody who wants words.
        words=tuple(word for word in words if word is not None) if None not in words else (),
        usage=usage.shown(used),
    ), used


def _word(row: Mapping[str, Any], speakers: Speakers) -> Word | None:
    text, start, end = row.get("text"), _offset(row.get("start_offset")), _offset(row.get("end_offset"))
    if not isinstance(text, str) or start is None or end is None:
        return None
    return Word(text, start, max(start, end), speakers.letter(row.get("speaker")))


def _offset(value: Any) -> float | None:
    """Seconds of ``1.2s``."""
    found = _OFFSET.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) if found else None


def _transcript_usage(stated: Any) -> Usage | None:
    if not isinstance(stated, dict):
        return None
    kinds = stated.get("input_tokens_by_modality")
    by_kind = {
        str(row.get("modality")).lower(): row.get("tokens")
        for row in (kinds if isinstance(kinds, list) else ())
        if isinstance(row, dict)
    }
    return usage.of_transcript(
        {
            "usage": {
                "input_tokens": stated.get("total_input_tokens"),
                "input_token_details": {"text_tokens": by_kind.get("text"), "audio_tokens": by_kind.get("audio")},
                "output_tokens": stated.get("total_output_tokens"),
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
    def of(cls, stated: Any) -> _Uploaded:
        file = _object(stated)
        name, uri, state = file.get("name"), file.get("uri"), file.get("state", "ACTIVE")
        if not isinstance(name, str) or not isinstance(uri, str) or not isinstance(state, str):
            raise UpstreamInvalid("The upstream vendor's file is none.")
        if not _FILE.fullmatch(name):
            raise UpstreamInvalid("The upstream vendor's file has no name that could be one.")
        return cls(name, uri, state)


#: By what `formats.sniff` finds; the names are those of the API.
_KINDS = {
    "mp3": "audio/mp3", "aac": "audio/aac", "opus": "audio/ogg", "ogg": "audio/ogg", "flac": "audio/flac",
    "wav": "audio/wav", "mp4": "audio/m4a", "webm": "audio/webm", "aiff": "audio/aiff", "mpeg": "audio/mpeg",
}  # fmt: skip


def mime_type(file: Upload) -> str:
    """What the bytes say they are, since neither a name nor a client's word for it says anything."""
    descriptor = file.fileno()
    size = formats.SNIFF_BYTES
    begin = bytes(file.getbuffer()[:size]) if descriptor is None else os.pread(descriptor, size, 0)
    return _KINDS.get(formats.sniff(begin) or "", "audio/wav")


class _AroundFile(ByteStream):
    """A JSON document with a file in it as base64, made as it is sent."""

    replayable = True

    def __init__(self, document: Mapping[str, Any], file: Upload, kind: str) -> None:
        opening = to_json(document)[:-1]
        self._head = opening + b',"input":[{"type":"audio","mime_type":' + to_json(kind) + b',"data":"'
        self._file = file
        self._tail = b'"}]}'
        self.length = len(self._head) + 4 * -(-file.size // 3) + len(self._tail)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        rest = b""
        async for chunk in self._file.chunks():
            data = rest + bytes(chunk)
            whole = len(data) - len(data) % 3
            rest = data[whole:]
            yield b64encode(data[:whole])
        yield b64encode(rest) + self._tail


GEMINI = Vendor(
    name="gemini",
    base_url="https://generativelanguage.googleapis.com/v1beta",
    key_variables=("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
    models=MODELS,
    adapter=GeminiAdapter,
    others={Mode.SPEECH: SPEECH, Mode.TRANSCRIPTION: TRANSCRIPTION},
)
