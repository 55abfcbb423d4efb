"""OpenAI's models for live transcription, ``gpt-live-transcribe`` and ``gpt-realtime-whisper``, fed with a file.

They exist only in the Realtime API: audio goes in as 24 kHz PCM, as fast as the socket takes it, and text comes out
while it does. There is no detection of turns, so a file would be one turn of any length; a long one is cut into turns
of at most five minutes, after four at the first silence, so that no turn comes near what a model may bear and few words
are cut in two. The turns' texts may come in any order and are given in that of the audio.

Sources: OpenAI's guide to realtime transcription (November 2026: ``?intent=transcription`` and no model in the URL, no
turn detection, turns completed in any order), openapi.yaml (2026-08-21), which says that ``languages`` and ``keywords``
are gpt-live-transcribe's, and that gpt-realtime-whisper takes ``language`` and no prompt. How long a turn may be is not
said anywhere; an append may have 15 MiB, and a commit needs 100 ms. Never tried against the real service.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx
from pydantic_core import from_json, to_json

from proxy.audio.languages import language_code
from proxy.config import Deployment
from proxy.domain.requests import Mode, TranscriptionRequest
from proxy.domain.transcript import Transcript
from proxy.domain.usage import Usage
from proxy.errors import InvalidAudio, UpstreamInvalid
from proxy.providers.base import (
    Adapter,
    BufferedRequest,
    Capabilities,
    StreamedTranscript,
    TranscriptionFlow,
    WholeTranscript,
)
from proxy.providers.sockets.conversation import NOTHING, Message, Turn
from proxy.providers.sockets.events import count_of, event_of, failure_of, message_of, nonsense, object_of, text_of
from proxy.providers.sockets.realtime import socket_base
from proxy.providers.wire.target import Target

RATE = 24_000
_BYTES_A_SECOND = RATE * 2
#: Bytes of PCM in one append: a second.
PIECE = _BYTES_A_SECOND
MIN_TURN = _BYTES_A_SECOND // 10
#: Bytes after which a turn ends at a silence, and in any case.
LONG_TURN = 4 * 60 * _BYTES_A_SECOND
MAX_TURN = 5 * 60 * _BYTES_A_SECOND
#: Of 32,768: no sample of a silence is louder.
SILENCE = 500

_COMMON = frozenset({
    "temperature", "include", "known_speaker_names", "known_speaker_references", "chunking_strategy",
})  # fmt: skip
LIVE = Capabilities(
    modes=frozenset({Mode.TRANSCRIPTION}),
    response_formats=("json", "text"),
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
    """By the model, or by what a deployment is called after."""
    return next((found for name, found in MODELS.items() if name in model.lower()), None)


class LiveAdapter(Adapter):
    """One live model. ``base`` is what ``/v1/realtime`` is added to."""

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
        ask = httpx.Request(
            "GET",
            self._url,
            headers=self._target.headers,
            extensions={"conversation": dictation, "audio": request.file},
        )
        if request.stream:
            yield ask
            return StreamedTranscript(JsonLines(), metadata=dictation)
        yield BufferedRequest(ask)
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
class _Piece:
    """One turn of the audio."""

    said: list[str] = field(default_factory=list)
    #: Its final text.
    text: str | None = None
    #: What was passed on.
    given: str = ""


class Dictation:
    """One file, dictated turn by turn; gives OpenAI's events, a JSON document a line."""

    rate = RATE
    setting = None
    warnings: Sequence[str] = ()

    def __init__(self, settings: Mapping[str, Any], secrets: Sequence[str]) -> None:
        self._settings = settings
        self._secrets = secrets
        self.done = False
        self._begin()

    def _begin(self) -> None:
        self._ready = self._ended = False
        self._bytes = self._turn_bytes = 0
        self._commits = 0
        self._pieces: dict[str, _Piece] = {}
        self._languages: dict[str, None] = {}
        self._counts: dict[str, int] = {}
        self._seconds = 0.0

    # -- what is sent --------------------------------------------------------------------------------------------------

    def start(self, *, resumed: bool) -> Sequence[str]:
        self._begin()
        sound = {"format": {"type": "audio/pcm", "rate": RATE}, "transcription": self._settings, "turn_detection": None}
        return [message_of({"type": "session.update", "session": {"type": "transcription", "audio": {"input": sound}}})]

    @property
    def begun(self) -> bool:
        return self._ready

    @property
    def hungry(self) -> bool:
        return self._ready and not self._ended

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

    def leave(self) -> Sequence[str]:
        return ()

    def _end_of_audio(self) -> Turn:
        self._ended = True
        if not self._bytes:
            raise InvalidAudio("The file holds no audio.")
        if not self._turn_bytes:
            return self._give()
        lacks = MIN_TURN - self._turn_bytes
        return Turn(send=[*([_append(bytes(lacks))] if lacks > 0 else []), self._commit()])

    def _commit(self) -> str:
        self._commits += 1
        self._turn_bytes = 0
        return _COMMIT

    # -- what is heard -------------------------------------------------------------------------------------------------

    def receive(self, message: Message) -> Turn:
        event = event_of(message)
        hear = _HEARD.get(event["type"])
        return hear(self, event) if hear is not None else NOTHING

    def _updated(self, event: dict[str, Any]) -> Turn:
        self._ready = True
        return NOTHING

    def _committed(self, event: dict[str, Any]) -> Turn:
        self._piece(event)
        return NOTHING

    def _said(self, event: dict[str, Any]) -> Turn:
        piece = self._piece(event)
        if piece.text is None:
            piece.said.append(text_of({"delta": ""} | event, "delta"))
        return self._give()

    def _completed(self, event: dict[str, Any]) -> Turn:
        piece = self._piece(event)
        if piece.text is None:
            piece.text = text_of(event, "transcript")
            self._note(event)
        return self._give()

    def _failed(self, event: dict[str, Any]) -> Turn:
        raise failure_of(event.get("error"), self._secrets)

    def _piece(self, event: Mapping[str, Any]) -> _Piece:
        """The turn of an event; turns are in the order in which they are first heard of."""
        name = text_of(event, "item_id")
        if name not in self._pieces and len(self._pieces) > self._commits:
            raise nonsense("more turns than there are")
        return self._pieces.setdefault(name, _Piece())

    def _note(self, event: Mapping[str, Any]) -> None:
        """What the turn was and cost."""
        stated = event.get("languages")
        for language in stated if isinstance(stated, list) else ():
            code = object_of(language).get("code")
            if isinstance(code, str):
                self._languages[code] = None
        usage = object_of(event.get("usage"))
        if usage.get("type") == "tokens":
            details = object_of(usage.get("input_token_details"))
            for counts, name in ((usage, "output_tokens"), (details, "text_tokens"), (details, "audio_tokens")):
                self._counts[name] = self._counts.get(name, 0) + count_of(counts, name)
        elif type(usage.get("seconds")) in (int, float) and 0 <= usage["seconds"] < 1e7:
            self._seconds += usage["seconds"]

    def _give(self) -> Turn:
        """What may be passed on: of a turn only once all before it are complete."""
        events: list[Mapping[str, Any]] = []
        before = ""
        for piece in self._pieces.values():
            text = "".join(piece.said) if piece.text is None else piece.text
            # What was given cannot be taken back where the final text is another; the last event has it.
            if len(text) > len(piece.given) and text.startswith(piece.given):
                gap = "" if piece.given else _gap(before, text)
                events.append({"type": "transcript.text.delta", "delta": gap + text[len(piece.given) :]})
                piece.given = text
            if piece.text is None:
                break
            before = piece.text or before
        if self._ended and len(self._pieces) >= self._commits and self._is_whole:
            self.done = True
            events.append(self._done_event())
        return Turn(output=b"".join(to_json(event) + b"\n" for event in events))

    @property
    def _is_whole(self) -> bool:
        return all(piece.text is not None for piece in self._pieces.values())

    # -- what came of it -----------------------------------------------------------------------------------------------

    @property
    def transcript(self) -> Transcript:
        """Raises UpstreamInvalid where it did not come to its end."""
        if not self.done:
            raise nonsense("the transcript is not complete")
        return Transcript(
            text=self._text(),
            duration=self._bytes / _BYTES_A_SECOND,
            usage=self._stated_usage(),
            languages=tuple(self._languages) or None,
        )

    @property
    def usage(self) -> Usage | None:
        """The seconds are those that were sent."""
        return Usage(
            seconds_in=self._bytes / _BYTES_A_SECOND,
            input_text_tokens=self._counts.get("text_tokens"),
            input_audio_tokens=self._counts.get("audio_tokens"),
            output_text_tokens=self._counts.get("output_tokens"),
        )

    def _text(self) -> str:
        whole = ""
        for piece in self._pieces.values():
            whole += _gap(whole, piece.text or "") + (piece.text or "")
        return whole

    def _done_event(self) -> dict[str, Any]:
        event: dict[str, Any] = {"type": "transcript.text.done", "text": self._text()}
        if self._languages:
            event["languages"] = [{"code": code} for code in self._languages]
        return event | {"usage": self._stated_usage()}

    def _stated_usage(self) -> dict[str, Any]:
        """As OpenAI writes it."""
        if not self._counts:
            seconds = self._seconds or self._bytes / _BYTES_A_SECOND
            return {"type": "duration", "seconds": -int(-seconds // 1)}
        text, audio, went = (self._counts.get(name, 0) for name in ("text_tokens", "audio_tokens", "output_tokens"))
        return {
            "type": "tokens",
            "total_tokens": text + audio + went,
            "input_tokens": text + audio,
            "input_token_details": {"text_tokens": text, "audio_tokens": audio},
            "output_tokens": went,
        }


_HEARD = {
    "session.updated": Dictation._updated,
    "input_audio_buffer.committed": Dictation._committed,
    "conversation.item.input_audio_transcription.delta": Dictation._said,
    "conversation.item.input_audio_transcription.completed": Dictation._completed,
    "conversation.item.input_audio_transcription.failed": Dictation._failed,
    "error": Dictation._failed,
}
_COMMIT = message_of({"type": "input_audio_buffer.commit"})


class JsonLines:
    """OpenAI's events, a JSON document a line."""

    def __init__(self) -> None:
        self._rest = b""
        self._ended = False

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
    return message_of({"type": "input_audio_buffer.append", "audio": b64encode(pcm).decode("ascii")})


def _ends_silent(pcm: bytes) -> bool:
    """Whether the last tenth of a second is silence."""
    tail = memoryview(pcm)[-MIN_TURN:]
    samples = tail[len(tail) % 2 :].cast("h")
    return len(samples) > 0 and max(samples) <= SILENCE and min(samples) >= -SILENCE


def _gap(before: str, text: str) -> str:
    """A space between two turns, in languages that have them."""
    if not before or not text or before[-1].isspace() or text[0].isspace() or not text[0].isalnum():
        return ""
    return "" if ord(text[0]) >= 0x0E00 and not 0xAC00 <= ord(text[0]) <= 0xD7AF else " "
