"""Vendors' own framings of speech and transcripts as server-sent events."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic_core import from_json

from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import sse, usage

#: What an error event means; an adapter's ``event_error``.
Failure = Callable[[bytes], ProxyError]


class _Events:
    """What the framings share: events with JSON objects as data, any of which may be an error, and usage at the end."""

    def __init__(self, failure: Failure) -> None:
        self._failure = failure
        self._reader = sse.Reader()
        self._complete = False
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    def _documents(self, data: bytes) -> Iterator[dict[str, Any]]:
        for event in self._reader.feed(data):
            if event == b"[DONE]":
                self._complete = True
                continue
            document = _object(event)
            if (
                document.get("error") is not None
                or document.get("object") == "error"
                or document.get("type") == "error"
            ):
                raise self._failure(event)
            yield document

    def _finish(self) -> None:
        self._reader.end()
        if not self._complete:
            raise UpstreamInvalid("The upstream vendor's stream ended before it was complete.")


class AudioChunks(_Events):
    """Together's: ``{"object": "audio.tts.chunk", "b64": …}``, then ``[DONE]`` (together.openapi.yaml, 2026-04-28)."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for document in self._documents(data):
            if "b64" in document:
                yield decoded(document["b64"])

    def end(self) -> Iterator[bytes]:
        self._finish()
        return iter(())


class SpeechEvents(_Events):
    """OpenAI's: ``speech.audio.delta`` … ``speech.audio.done``, which reports the tokens."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        for document in self._documents(data):
            kind = document.get("type")
            if kind == "speech.audio.delta":
                yield decoded(document.get("audio"))
            elif kind == "speech.audio.done":
                self._complete = True
                self.usage = usage.of_speech(document)

    def end(self) -> Iterator[bytes]:
        self._finish()
        return iter(())


class TextChunks(_Events):
    """vLLM's chat-like chunks, then ``[DONE]`` (vllm/entrypoints/speech_to_text/transcription/protocol.py)."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self._text: list[str] = []

    def feed(self, data: bytes) -> Iterator[Mapping[str, Any]]:
        for document in self._documents(data):
            choices = document.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                delta = choice.get("delta") if isinstance(choice, dict) else None
                text = delta.get("content") if isinstance(delta, dict) else None
                if isinstance(text, str) and text:
                    self._text.append(text)
                    yield {"type": "transcript.text.delta", "delta": text}

    def end(self) -> Iterator[Mapping[str, Any]]:
        self._finish()
        yield {"type": "transcript.text.done", "text": "".join(self._text)}


class MistralEvents(_Events):
    """``transcription.text.delta`` … ``transcription.done`` (mistralai 3.7.0); segments and language are left out."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self._text: list[str] = []

    def feed(self, data: bytes) -> Iterator[Mapping[str, Any]]:
        for document in self._documents(data):
            kind, text = document.get("type"), document.get("text")
            if kind == "transcription.text.delta" and isinstance(text, str) and text:
                self._text.append(text)
                yield {"type": "transcript.text.delta", "delta": text}
            elif kind == "transcription.done":
                self._complete = True
                self._text = [text] if isinstance(text, str) else self._text
                self.usage = usage.of_transcript(document)

    def end(self) -> Iterator[Mapping[str, Any]]:
        self._finish()
        done: dict[str, Any] = {"type": "transcript.text.done", "text": "".join(self._text)}
        used = usage.as_openai(self.usage)
        yield done | {"usage": used} if used is not None else done


TranscriptEvents = TextChunks | MistralEvents


def decoded(text: Any) -> bytes:
    """Decodes base64; raises UpstreamInvalid for anything else."""
    try:
        return binascii.a2b_base64(text, strict_mode=True) if isinstance(text, str) and text else b""
    except ValueError as error:
        raise UpstreamInvalid("The upstream vendor sent audio that cannot be decoded.") from error


def _object(data: bytes) -> dict[str, Any]:
    try:
        document = from_json(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UpstreamInvalid("The upstream vendor sent an event that is not a JSON object.")
    return document
