"""OpenAI's models for live transcription, ``gpt-live-transcribe`` and ``gpt-realtime-whisper``, for files.

They exist only in the Realtime API. Audio is sent as 24 kHz PCM, as fast as the socket takes it, and text arrives
meanwhile. Turn detection is off, so a file would be one turn of any length. A long file is cut into turns of at most
five minutes (after four minutes at the first silence), so that no turn is longer than a model can take and few words
are cut in two. The texts of the turns may arrive in any order; they are output in the order of the audio.

Sources: OpenAI's guide to realtime transcription (November 2026: ``?intent=transcription`` and no model in the URL, no
turn detection, turns completed in any order); openapi.yaml (2026-08-21): ``languages`` and ``keywords`` belong to
gpt-live-transcribe, while gpt-realtime-whisper takes ``language`` and no prompt. The maximum length of a turn is not
documented; an append may have 15 MiB, and a commit needs 100 ms. Never tried against the real service.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json, to_json

from proxy.audio.languages import language_code
from proxy.audio.source import READABLE_CONTAINERS
from proxy.config import Deployment
from proxy.domain.requests import Mode, TranscriptionRequest
from proxy.domain.transcript import Transcript
from proxy.domain.usage import Usage
from proxy.errors import InvalidAudio, UpstreamInvalid
from proxy.http.messages import Request
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    StreamedTranscript,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.sockets.conversation import NOTHING, Message, Turn
from proxy.providers.sockets.events import (
    as_object,
    encode_event,
    invalid_answer,
    parse_event,
    text_field,
    token_count,
    vendor_error,
)
from proxy.providers.sockets.realtime import socket_base
from proxy.providers.wire.target import Target

RATE = 24_000
_BYTES_A_SECOND = RATE * 2
#: Bytes of PCM in one append: one second.
PIECE = _BYTES_A_SECOND
MIN_TURN = _BYTES_A_SECOND // 10
#: Bytes after which a turn ends at the next silence, and at the latest.
LONG_TURN = 4 * 60 * _BYTES_A_SECOND
MAX_TURN = 5 * 60 * _BYTES_A_SECOND
#: The loudest sample of a silence, of 32,768.
SILENCE = 500

_COMMON = frozenset({
    "temperature", "include", "known_speaker_names", "known_speaker_references", "chunking_strategy",
})  # fmt: skip
LIVE = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text"),
    containers=READABLE_CONTAINERS,
    streams=True,
    max_file_mb=25,
    ignores=_COMMON,
    extras=frozenset(),
)
MODELS: Mapping[str, Capabilities] = {
    "gpt-live-transcribe": LIVE,
    "gpt-realtime-whisper": replace(LIVE, ignores=_COMMON | {"prompt", "keywords"}),
}


def declared_of(model: str) -> Capabilities | None:
    """The capabilities of the model that ``model`` is, or that a deployment's name contains."""
    return next((declared for name, declared in MODELS.items() if name in model.lower()), None)


class LiveAdapter(Adapter):
    """One live model. ``/v1/realtime`` is appended to ``base``."""

    over_socket = True

    def __init__(
        self, deployment: Deployment, *, base: str, authorization: Mapping[str, str], declared: Capabilities
    ) -> None:
        target = Target(deployment, base=socket_base(base), authorization=authorization)
        known = declared if declared.response_formats is not None else declared_of(deployment.model) or LIVE
        super().__init__(known, secrets=target.secrets)
        self._deployment = deployment
        self._target = target
        self._url = self._target.url("/v1/realtime", {"intent": "transcription"})

    def transcription(self, request: TranscriptionRequest) -> TranscriptionFlow:
        dictation = Dictation(self._settings(request), self._target.secrets)
        opening = Request(
            "GET",
            self._url,
            headers=self._target.headers,
            extensions={"conversation": dictation, "audio": request.file},
        )
        if request.stream:
            yield opening
            return StreamedTranscript(JsonLines(), metadata=dictation)
        yield BufferedRequest(opening)
        return WholeTranscript(dictation.transcript, metadata=dictation)

    def _settings(self, request: TranscriptionRequest) -> dict[str, Any]:
        settings: dict[str, Any] = {"model": self._deployment.model}
        languages = [language_code(name) for name in (request.language, *request.languages) if name]
        if languages and "keywords" in self.capabilities.ignores:
            settings["language"] = languages[0]
        elif languages:
            settings["languages"] = list(dict.fromkeys(languages))
        if request.prompt:
            settings["prompt"] = request.prompt
        if request.keywords:
            settings["keywords"] = list(request.keywords)
        return settings


@dataclass(slots=True)
class _AudioTurn:
    """The transcript of one turn of the audio."""

    deltas: list[str] = field(default_factory=list)
    #: The final text.
    text: str | None = None
    #: The text that was passed on.
    emitted: str = ""


class Dictation:
    """One file, sent turn by turn. Outputs OpenAI's transcript events, one JSON document per line.

    session.updated makes it `accepted` and starts the audio; each turn ends with a commit. It is `done` when the audio
    has ended and the text of every committed turn is complete.
    """

    rate = RATE
    setting = None
    warnings: Sequence[str] = ()

    def __init__(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        self._settings = settings
        self._secrets = secrets
        self.done = False
        self._reset()

    def _reset(self) -> None:
        self.accepted = self._audio_ended = False
        self._bytes = self._turn_bytes = 0
        self._commits = 0
        #: By the vendor's id, in the order in which it first mentions them.
        self._turns: dict[str, _AudioTurn] = {}
        self._languages: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._seconds = 0.0

    # -- sending -------------------------------------------------------------------------------------------------------

    def start(self, *, resumed: bool) -> Sequence[str]:
        self._reset()
        audio_input = {
            "format": {"type": "audio/pcm", "rate": RATE},
            "transcription": self._settings,
            "turn_detection": None,
        }
        return [
            encode_event(
                {"type": "session.update", "session": {"type": "transcription", "audio": {"input": audio_input}}}
            )
        ]

    @property
    def wants_audio(self) -> bool:
        return self.accepted and not self._audio_ended

    def feed(self, pcm: bytes) -> Turn:
        if not pcm:
            return self._end_of_audio()
        messages = []
        for start in range(0, len(pcm), PIECE):
            piece = pcm[start : start + PIECE]
            messages.append(_append(piece))
            self._bytes += len(piece)
            self._turn_bytes += len(piece)
            if self._turn_bytes >= MAX_TURN or (self._turn_bytes >= LONG_TURN and _ends_silent(piece)):
                messages.append(self._commit())
        return Turn(send=messages)

    def cancel(self) -> Sequence[str]:
        return ()

    def _end_of_audio(self) -> Turn:
        self._audio_ended = True
        if not self._bytes:
            raise InvalidAudio("The file contains no audio.")
        if not self._turn_bytes:
            return self._output()
        missing = MIN_TURN - self._turn_bytes
        padding = [_append(bytes(missing))] if missing > 0 else []
        return Turn(send=[*padding, self._commit()])

    def _commit(self) -> str:
        self._commits += 1
        self._turn_bytes = 0
        return _COMMIT

    # -- events --------------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> Turn:
        event = parse_event(message)
        handler = _HANDLERS.get(event["type"])
        return handler(self, event) if handler is not None else NOTHING

    def _on_updated(self, event: dict[str, Any]) -> Turn:
        self.accepted = True
        return NOTHING

    def _on_committed(self, event: dict[str, Any]) -> Turn:
        self._turn_of(event)
        return NOTHING

    def _on_delta(self, event: dict[str, Any]) -> Turn:
        turn = self._turn_of(event)
        if turn.text is None:
            turn.deltas.append(text_field({"delta": ""} | event, "delta"))
        return self._output()

    def _on_completed(self, event: dict[str, Any]) -> Turn:
        turn = self._turn_of(event)
        if turn.text is None:
            turn.text = text_field(event, "transcript")
            self._record_languages(event)
            self._record_usage(event)
        return self._output()

    def _on_error(self, event: dict[str, Any]) -> Turn:
        raise vendor_error(event.get("error"), self._secrets)

    def _turn_of(self, event: Mapping[str, Any]) -> _AudioTurn:
        name = text_field(event, "item_id")
        if name not in self._turns and len(self._turns) > self._commits:
            raise invalid_answer("more turns than were sent")
        return self._turns.setdefault(name, _AudioTurn())

    def _record_languages(self, event: Mapping[str, Any]) -> None:
        languages = event.get("languages")
        for language in languages if isinstance(languages, list) else ():
            code = as_object(language).get("code")
            if isinstance(code, str):
                self._languages[code] = None

    def _record_usage(self, event: Mapping[str, Any]) -> None:
        usage = as_object(event.get("usage"))
        if usage.get("type") == "tokens":
            details = as_object(usage.get("input_token_details"))
            for counts, name in ((usage, "output_tokens"), (details, "text_tokens"), (details, "audio_tokens")):
                self._counts[name] = self._counts.get(name, 0) + token_count(counts, name)
        elif type(usage.get("seconds")) in (int, float) and 0 <= usage["seconds"] < 1e7:
            self._seconds += usage["seconds"]

    def _output(self) -> Turn:
        """The text that can be passed on: that of a turn only when all turns before it are complete."""
        events: list[Mapping[str, Any]] = []
        before = ""
        for turn in self._turns.values():
            text = "".join(turn.deltas) if turn.text is None else turn.text
            # If the final text differs from what was emitted, only the last event has it.
            if len(text) > len(turn.emitted) and text.startswith(turn.emitted):
                gap = "" if turn.emitted else _gap(before, text)
                events.append({"type": "transcript.text.delta", "delta": gap + text[len(turn.emitted) :]})
                turn.emitted = text
            if turn.text is None:
                break
            before = turn.text or before
        if self._audio_ended and len(self._turns) >= self._commits and self._all_complete:
            self.done = True
            events.append(self._done_event())
        return Turn(output=b"".join(to_json(event) + b"\n" for event in events))

    @property
    def _all_complete(self) -> bool:
        return all(turn.text is not None for turn in self._turns.values())

    # -- the result ----------------------------------------------------------------------------------------------------

    @property
    def transcript(self) -> Transcript:
        """Raises UpstreamInvalid if it is not complete."""
        if not self.done:
            raise invalid_answer("the transcript is not complete")
        return Transcript(
            text=self._text(),
            duration=self._bytes / _BYTES_A_SECOND,
            usage=self._usage_document(),
            languages=tuple(self._languages) or None,
        )

    @property
    def usage(self) -> Usage | None:
        """The seconds are those of the audio that was sent."""
        return Usage(
            seconds_in=self._bytes / _BYTES_A_SECOND,
            input_text_tokens=self._counts.get("text_tokens"),
            input_audio_tokens=self._counts.get("audio_tokens"),
            output_text_tokens=self._counts.get("output_tokens"),
        )

    def _text(self) -> str:
        whole = ""
        for turn in self._turns.values():
            whole += _gap(whole, turn.text or "") + (turn.text or "")
        return whole

    def _done_event(self) -> dict[str, Any]:
        event: dict[str, Any] = {"type": "transcript.text.done", "text": self._text()}
        if self._languages:
            event["languages"] = [{"code": code} for code in self._languages]
        return event | {"usage": self._usage_document()}

    def _usage_document(self) -> dict[str, Any]:
        """In OpenAI's format."""
        if not self._counts:
            seconds = self._seconds or self._bytes / _BYTES_A_SECOND
            return {"type": "duration", "seconds": -int(-seconds // 1)}
        text, audio, output = (self._counts.get(name, 0) for name in ("text_tokens", "audio_tokens", "output_tokens"))
        return {
            "type": "tokens",
            "total_tokens": text + audio + output,
            "input_tokens": text + audio,
            "input_token_details": {"text_tokens": text, "audio_tokens": audio},
            "output_tokens": output,
        }


_HANDLERS = {
    "session.updated": Dictation._on_updated,
    "input_audio_buffer.committed": Dictation._on_committed,
    "conversation.item.input_audio_transcription.delta": Dictation._on_delta,
    "conversation.item.input_audio_transcription.completed": Dictation._on_completed,
    "conversation.item.input_audio_transcription.failed": Dictation._on_error,
    "error": Dictation._on_error,
}
_COMMIT = encode_event({"type": "input_audio_buffer.commit"})


class JsonLines:
    """Decodes a `Dictation`'s output: OpenAI's events, one JSON document per line."""

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False

    @property
    def is_complete(self) -> bool:
        return self._ended

    def feed(self, data: bytes) -> Iterable[Mapping[str, Any]]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            event: dict[str, Any] = from_json(line)
            self._ended = self._ended or event["type"] == "transcript.text.done"
            yield event

    def end(self) -> Iterable[Mapping[str, Any]]:
        if not self._ended:
            raise UpstreamInvalid("The upstream vendor's stream ended before it was complete.")
        return ()


def _append(pcm: bytes) -> str:
    return encode_event({"type": "input_audio_buffer.append", "audio": b64encode(pcm).decode("ascii")})


def _ends_silent(pcm: bytes) -> bool:
    """Whether the last tenth of a second is silent."""
    tail = memoryview(pcm)[-MIN_TURN:]
    samples = tail[len(tail) % 2 :].cast("h")
    return len(samples) > 0 and max(samples) <= SILENCE and min(samples) >= -SILENCE


def _gap(before: str, text: str) -> str:
    """The space between two turns, in languages that have spaces."""
    if not before or not text or before[-1].isspace() or text[0].isspace() or not text[0].isalnum():
        return ""
    return "" if ord(text[0]) >= 0x0E00 and not 0xAC00 <= ord(text[0]) <= 0xD7AF else " "
