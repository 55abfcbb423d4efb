"""Streams of events that are passed on: whatever form they arrive in, they leave in OpenAI's."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from proxy.domain.usage import NO_TOKENS, Usage, speech_tokens
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import json, sse, usage
from proxy.providers.wire.sse import DONE, END, INCOMPLETE, framed

Event = dict[str, Any]

#: Most events of speech, which begin with their type and need no parsing.
_AUDIO: Final = re.compile(rb'\{"type": ?"speech\.audio\.delta"')
#: Types of events that only keep the connection open.
_PINGS: Final = frozenset({"ping", "heartbeat", "keepalive", "keep-alive"})
_SPEECH_COUNTS: Final = ("input_tokens", "output_tokens", "total_tokens")


class Relay(ABC):
    """Passes events on as soon as each is complete, so that a cut stream never ends within one.

    The last event before ``[DONE]`` is OpenAI's done event, with its usage. An error event is raised, as ``failure``
    reads it.
    """

    #: The server has no last event: its stream is complete if its HTTP response is.
    _ends_silently = False

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._failure = failure
        self._reader = sse.Reader()
        self._is_done = False
        self._is_ended = False
        #: What the done event reports; known once that has passed.
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Everything that matters has arrived; a stream that breaks off now has lost nothing."""
        return self._is_done or self._is_ended

    def feed(self, data: bytes) -> Iterator[bytes]:
        for frame, content in self._reader.frames(data):
            yield from self._passed(frame, content)

    def end(self) -> Iterator[bytes]:
        """What is missing at the end of the stream; raises UpstreamInvalid if the stream did not announce its end."""
        if not self.is_complete:
            for frame, content in self._reader.end():
                yield from self._passed(frame, content)
        if not self.is_complete and self._ends_silently:
            yield from self._passed(DONE, END)
        if not self.is_complete:
            raise UpstreamInvalid(INCOMPLETE)
        if not self._is_ended:
            yield DONE

    def _passed(self, frame: bytes, content: bytes) -> Iterator[bytes]:
        if self._is_ended:
            return
        if content == END:
            self._is_ended = True
            if not self._is_done:
                yield framed(json.write(self._done({})))
            yield DONE
        elif self._is_plain(content):
            yield frame
        else:
            yield from self._translated(frame, content)

    def _translated(self, frame: bytes, content: bytes) -> Iterator[bytes]:
        event = sse.checked(content, self._failure)
        kind = event.get("type")
        if kind in _PINGS:
            return
        if sse.is_done(kind):
            self._is_done = True
            sent: Event | None = self._done(event)
        else:
            sent = self._event(event)
        if sent is not None:
            is_same = sent is event and json.strict(content) is not None
            yield frame if is_same else framed(json.write(sent))

    def _is_plain(self, content: bytes) -> bool:
        """Whether the event passes as it is, unread."""
        return False

    @abstractmethod
    def _done(self, event: Event) -> Event:
        """OpenAI's done event, made of the vendor's (empty if there was none); the same object if it is that."""

    def _event(self, event: Event) -> Event | None:
        """Any other event; None if OpenAI has nothing like it."""
        return event


class SpeechRelay(Relay):
    def _is_plain(self, content: bytes) -> bool:
        return _AUDIO.match(content) is not None and content[-1:] == b"}" and b'"error"' not in content

    def _done(self, event: Event) -> Event:
        self.usage, used = usage.of_speech(event), event.get("usage")
        extra = used if isinstance(used, dict) else {}
        is_whole = all(type(extra.get(name)) is int for name in _SPEECH_COUNTS)
        if is_whole and event.get("type") == "speech.audio.done":
            return event
        counted = extra if is_whole else extra | speech_tokens(self.usage)
        return event | {"type": "speech.audio.done", "usage": counted}


class TranscriptRelay(Relay):
    """Also of vLLM's chunks, which look like a chat's (vllm/entrypoints/speech_to_text/transcription/protocol.py), of
    Mistral's ``transcription.text.delta`` … ``transcription.done`` (mistralai 3.7.0), and of the bare ``{"text"}`` that
    faster-whisper-server sends for each segment.
    """

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        super().__init__(failure)
        self._text: list[str] = []

    def _event(self, event: Event) -> Event | None:
        if "usage" in event:
            self.usage = usage.of_transcript(event) or self.usage
        kind = event.get("type")
        text = event.get("delta") if kind == "transcript.text.delta" else _foreign_text(event)
        if isinstance(text, str):
            self._text.append(text)
            if kind == "transcript.text.delta":
                return event
            self._ends_silently = event.keys().isdisjoint({"type", "choices"})
            return {"type": "transcript.text.delta", "delta": text} if text else None
        is_foreign = not isinstance(kind, str) or kind.startswith("transcription.") or kind == "transcript.text.delta"
        return None if is_foreign else event

    def _done(self, event: Event) -> Event:
        self.usage = usage.of_transcript(event) or self.usage
        is_openais, text, used = event.get("type") == "transcript.text.done", event.get("text"), event.get("usage")
        if is_openais and isinstance(text, str) and isinstance(used, dict) and used:
            return event
        text = text if isinstance(text, str) else "".join(self._text)
        done = {"type": "transcript.text.done", "text": text, "usage": usage.as_openai(self.usage) or NO_TOKENS}
        return event | done if is_openais else done


class TranscriptParser:
    """A `TranscriptRelay` whose events are objects."""

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._relay = TranscriptRelay(failure)
        self.warnings: tuple[str, ...] = ()

    @property
    def usage(self) -> Usage | None:
        return self._relay.usage

    @property
    def is_complete(self) -> bool:
        return self._relay.is_complete

    def feed(self, data: bytes) -> Iterator[Event]:
        return _objects(self._relay.feed(data))

    def end(self) -> Iterator[Event]:
        """Raises UpstreamInvalid if the stream did not announce its end."""
        return _objects(self._relay.end())


def _objects(frames: Iterator[bytes]) -> Iterator[Event]:
    return (json.read(frame[5:]) for frame in frames if frame != DONE)


def _foreign_text(event: Mapping[str, Any]) -> Any:
    """The text of a delta that is not OpenAI's; None if it is none."""
    kind = event.get("type")
    if isinstance(kind, str):
        return event.get("text") if kind == "transcription.text.delta" else None
    if not isinstance(event.get("choices"), list):
        return event.get("delta", event.get("text"))
    deltas = [choice.get("delta") for choice in event["choices"] if isinstance(choice, dict)]
    texts = [delta.get("content") for delta in deltas if isinstance(delta, dict)]
    return "".join(text for text in texts if isinstance(text, str))
