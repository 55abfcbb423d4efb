"""Vendors' framings of speech as server-sent events."""

from __future__ import annotations

import binascii
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import sse, usage

#: What an error event means; an adapter's ``event_error``.
Failure = Callable[[bytes], ProxyError]


class _Events(ABC):
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

    def feed(self, data: bytes) -> Iterator[bytes]:
        return self._read_all(self._reader.feed(data))

    def end(self) -> Iterator[bytes]:
        """Raises UpstreamInvalid if the stream is incomplete."""
        if not self._complete:
            yield from self._read_all(content for _, content in self._reader.end())
        if not self._complete:
            raise UpstreamInvalid(sse.INCOMPLETE)

    def _read_all(self, events: Iterable[bytes]) -> Iterator[bytes]:
        for event in events:
            if event == sse.END:
                self._complete = True
            else:
                yield from self._read(sse.checked(event, self._failure))

    @abstractmethod
    def _read(self, document: Mapping[str, Any]) -> Iterator[bytes]:
        """The audio in one event."""


class AudioChunks(_Events):
    """Together's: ``{"object": "audio.tts.chunk", "b64": …}``, then ``[DONE]`` (together.openapi.yaml, 2026-04-28)."""

    def _read(self, document: Mapping[str, Any]) -> Iterator[bytes]:
        if "b64" in document:
            yield decoded(document["b64"])


class SpeechEvents(_Events):
    """OpenAI's: ``speech.audio.delta`` … ``speech.audio.done``, which reports the tokens."""

    def _read(self, document: Mapping[str, Any]) -> Iterator[bytes]:
        kind = document.get("type")
        if kind == "speech.audio.delta":
            yield decoded(document.get("audio"))
        elif sse.is_done(kind):
            self._complete = True
            self.usage = usage.of_speech(document)


def decoded(text: Any) -> bytes:
    """Decodes base64; raises UpstreamInvalid for anything else."""
    try:
        return binascii.a2b_base64(text, strict_mode=True) if isinstance(text, str) and text else b""
    except ValueError as error:
        raise UpstreamInvalid("The upstream vendor sent audio that cannot be decoded.") from error
