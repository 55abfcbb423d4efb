"""Server-sent events as OpenAI frames them: ``data: <json>`` and a blank line, ended by ``data: [DONE]``."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from proxy.errors import ProxyError, UpstreamInvalid

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
LONGEST_EVENT = 16 * 1024 * 1024

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")
#: OpenAI's events begin with their type; a vendor's error may do without.
_TYPE = re.compile(rb'\s*\{\s*"type"\s*:\s*"([\w.]*)"')
_ERROR = re.compile(rb'\s*\{\s*"error"\s*:')


def event(payload: Mapping[str, Any]) -> bytes:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode("utf-8", "replace") + b"\n\n"


def audio_delta(audio: bytes) -> bytes:
    return b'data: {"type":"speech.audio.delta","audio":"' + b64encode(audio) + b'"}\n\n'


class Relay:
    """Passes events on as soon as each is complete, byte for byte, so that a cut stream never ends inside of one.

    Events with empty data are left out: they crash OpenAI's SDKs. An error event is raised, as ``failure`` reads it.
    """

    def __init__(self, failure: Callable[[bytes], ProxyError]) -> None:
        self._failure = failure
        self._rest = bytearray()
        self._begun = False
        self._said_done = False
        self._said_end = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        searched = max(0, len(self._rest) - 3)
        self._rest += data
        if not self._begun and len(self._rest) >= 3:
            self._begun = True
            if self._rest.startswith(b"\xef\xbb\xbf"):
                del self._rest[:3]
                searched = 0
        start = 0
        while match := _END_OF_EVENT.search(self._rest, max(start, searched)):
            block = bytes(self._rest[start : match.end()])
            start = match.end()
            if self._wanted(block):
                yield block
        del self._rest[:start]
        if len(self._rest) > LONGEST_EVENT:
            raise UpstreamInvalid("The upstream vendor sent an event that does not end.")

    def end(self) -> Iterator[bytes]:
        """What is missing at the end of the stream; raises UpstreamInvalid where the stream never said its end."""
        if not self._said_done and not self._said_end:
            raise UpstreamInvalid("The upstream vendor's stream ended before it was complete.")
        if not self._said_end:
            yield DONE

    def _wanted(self, block: bytes) -> bool:
        lines = block.splitlines()
        data = b"\n".join(line[5:].strip() for line in lines if line.startswith(b"data:"))
        if not data:
            return any(line.startswith(b":") for line in lines)
        if data == b"[DONE]":
            self._said_end = True
            return True
        found = _TYPE.match(data)
        kind = found[1] if found else b""
        if kind == b"error" or _ERROR.match(data):
            raise self._failure(data)
        self._said_done = self._said_done or kind.endswith(b".done")
        return True
