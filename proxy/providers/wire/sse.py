"""Server-sent events as vendors send them: ``data: <json>`` and a blank line, ended by ``data: [DONE]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from proxy.domain.usage import Usage
from proxy.errors import ProxyError, UpstreamInvalid
from proxy.providers.wire import usage

DONE = b"data: [DONE]\n\n"
MAX_EVENT_LENGTH = 16 * 1024 * 1024

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
#: OpenAI's events begin with their type; a vendor's error may do without.
_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]*)"')
_ERROR = re.compile(rb'\s*\{\s*"error"\s*:')


class Reader:
    """Takes the data out of a vendor's events as soon as each is complete; ``[DONE]`` is data too."""

    def __init__(self) -> None:
        self._blocks = _Blocks()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for block in self._blocks.feed(data):
            if content := _data(block):
                yield content

    def end(self) -> None:
        """Raises UpstreamInvalid if the stream broke off within an event."""
        if self._blocks.rest.strip():
            raise UpstreamInvalid("The upstream vendor's stream ended before it was complete.")


class Relay:
    """Passes events on as soon as each is complete, byte for byte, so that a cut stream never ends within one.

    Events with empty data are left out: they crash OpenAI's SDKs. An error event is raised, as ``failure`` reads it.
    """

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._failure = failure
        self._blocks = _Blocks()
        self._is_done = False
        self._is_ended = False
        #: What the last event reports; known once that has passed.
        self.usage: Usage | None = None
        self.warnings: tuple[str, ...] = ()

    def feed(self, data: bytes) -> Iterator[bytes]:
        for block in self._blocks.feed(data):
            if self._passes(block):
                yield block

    def end(self) -> Iterator[bytes]:
        """What is missing at the end of the stream; raises UpstreamInvalid if the stream did not announce its end."""
        if not self._is_done and not self._is_ended:
            raise UpstreamInvalid("The upstream vendor's stream ended before it was complete.")
        if not self._is_ended:
            yield DONE

    def _passes(self, block: bytes) -> bool:
        data = _data(block)
        if not data:
            return any(line.startswith(b":") for line in block.splitlines())
        if data == b"[DONE]":
            self._is_ended = True
            return True
        match = _TYPE.match(data)
        kind = match[1] if match else b""
        if kind == b"error" or _ERROR.match(data):
            raise self._failure(data)
        if kind.endswith(b".done"):
            self._is_done = True
            self.usage = _usage(kind, data)
        return True


class EventParser:
    """OpenAI's events of a transcript as objects. An error event is raised, as ``failure`` reads it."""

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._relay = Relay(failure)
        self.warnings: tuple[str, ...] = ()

    @property
    def usage(self) -> Usage | None:
        return self._relay.usage

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        for block in self._relay.feed(data):
            event = _data(block)
            if event and event != b"[DONE]":
                yield _object(event)

    def end(self) -> Iterator[dict[str, Any]]:
        """Nothing; raises UpstreamInvalid if the stream did not announce its end."""
        for _ in self._relay.end():
            pass
        return iter(())


class _Blocks:
    """Cuts a stream after each event, wherever its chunks were cut."""

    def __init__(self) -> None:
        self.rest = bytearray()
        self._begun = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        searched = max(0, len(self.rest) - 3)
        self.rest += data
        if not self._begun and len(self.rest) >= 3:
            self._begun = True
            if self.rest.startswith(b"\xef\xbb\xbf"):
                del self.rest[:3]
                searched = 0
        start = 0
        while match := _END_OF_EVENT.search(self.rest, max(start, searched)):
            block = bytes(self.rest[start : match.end()])
            start = match.end()
            yield block
        del self.rest[:start]
        if len(self.rest) > MAX_EVENT_LENGTH:
            raise UpstreamInvalid("The upstream vendor sent an event that does not end.")


def _data(block: bytes) -> bytes:
    return b"\n".join(line[5:].strip() for line in block.splitlines() if line.startswith(b"data:"))


def _object(data: bytes) -> dict[str, Any]:
    try:
        event = from_json(data)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise UpstreamInvalid("The upstream vendor sent an event that is not a JSON object.")
    return event


def _usage(kind: bytes, data: bytes) -> Usage | None:
    try:
        document = from_json(data)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    return usage.of_speech(document) if kind == b"speech.audio.done" else usage.of_transcript(document)
