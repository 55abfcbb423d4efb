"""Vendors' own framings of speech and transcripts as server-sent events."""

from __future__ import annotations

import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import sse, usage

T = TypeVar("T")
#: What an error event means; an adapter's ``event_error``.
Failure = Callable[[bytes], ProxyError]


class _Events(ABC, Generic[T]):
    """What the framings share: events with JSON objects as data, any of which may be an error, and usage at the end."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure
        self._reader = sse.Reader()
        self._complete = False
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        return self._complete

    def feed(self, data: bytes) -> Iterator[T]:
        return self._read_all(self._reader.feed(data))

    def end(self) -> Iterator[T]:
        """Raises UpstreamInvalid if the stream is incomplete."""
        if not self._complete:
            yield from self._read_all(content for _, content in self._reader.end())
        if not self._complete:
            raise UpstreamInvalid("The upstream vendor's stream ended before it was complete.")
        yield from self._last()

    def _read_all(self, events: Iterable[bytes]) -> Iterator[T]:
        for event in events:
            if event == sse.END:
                self._complete = True
            else:
                yield from self._read(sse.checked(event, self._failure))

    @abstractmethod
    def _read(self, document: Mapping[str, Any]) -> Iterator[T]:
        """What one event contains."""

    def _last(self) -> Iterable[T]:
        """What follows the vendor's last event."""
        return ()


class AudioChunks(_Events[bytes]):
    """Together's: ``{"object": "audio.tts.chunk", "b64": …}``, then ``[DONE]`` (together.openapi.yaml, 2026-04-28)."""

    def _read(self, document: Mapping[str, Any]) -> Iterator[bytes]:
        if "b64" in document:
            yield decoded(document["b64"])


class SpeechEvents(_Events[bytes]):
    """OpenAI's: ``speech.audio.delta`` … ``speech.audio.done``, which reports the tokens."""

    def _read(self, document: Mapping[str, Any]) -> Iterator[bytes]:
        kind = document.get("type")
        if kind == "speech.audio.delta":
            yield decoded(document.get("audio"))
        elif kind == "speech.audio.done":
            self._complete = True
            self.usage = usage.of_speech(document)


class _TextEvents(_Events[Mapping[str, Any]]):
    """Pieces of text, and the whole text at the end."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self._text: list[str] = []

    def _delta(self, text: Any) -> Iterator[Mapping[str, Any]]:
        if isinstance(text, str) and text:
            self._text.append(text)
            yield {"type": "transcript.text.delta", "delta": text}

    def _last(self) -> Iterable[Mapping[str, Any]]:
        done: dict[str, Any] = {"type": "transcript.text.done", "text": "".join(self._text)}
        used = usage.as_openai(self.usage)
        return [done | {"usage": used} if used is not None else done]


class TextChunks(_TextEvents):
    """vLLM's chat-like chunks, then ``[DONE]`` (vllm/entrypoints/speech_to_text/transcription/protocol.py)."""

    def _read(self, document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        choices = document.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            delta = choice.get("delta") if isinstance(choice, dict) else None
            yield from self._delta(delta.get("content") if isinstance(delta, dict) else None)


class MistralEvents(_TextEvents):
    """``transcription.text.delta`` … ``transcription.done`` (mistralai 3.7.0); segments and language are left out."""

    def _read(self, document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
        kind, text = document.get("type"), document.get("text")
        if kind == "transcription.text.delta":
            yield from self._delta(text)
        elif kind == "transcription.done":
            self._complete = True
            self._text = [text] if isinstance(text, str) else self._text
            self.usage = usage.of_transcript(document)


TranscriptEvents = TextChunks | MistralEvents


def decoded(text: Any) -> bytes:
    """Decodes base64; raises UpstreamInvalid for anything else."""
    try:
        return binascii.a2b_base64(text, strict_mode=True) if isinstance(text, str) and text else b""
    except ValueError as error:
        raise UpstreamInvalid("The upstream vendor sent audio that cannot be decoded.") from error
