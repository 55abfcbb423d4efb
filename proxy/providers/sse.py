"""Server-sent events as OpenAI frames them: ``data: <json>`` and a blank line, ended by ``data: [DONE]``."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

from proxy.errors import UpstreamInvalid

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"
LONGEST_EVENT = 16 * 1024 * 1024

_END_OF_EVENT = re.compile(rb"\r\n\r\n|\n\n|\r\r|\n\r\n")


def event(payload: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def audio_delta(audio: bytes) -> bytes:
    return b'data: {"type":"speech.audio.delta","audio":"' + b64encode(audio) + b'"}\n\n'


class Relay:
    """Passes events on as soon as each is complete, byte for byte, so that a cut stream never ends inside of one.

    Events with empty data are left out: they crash OpenAI's SDKs. ``finished`` tells whether the stream said its end.
    """

    def __init__(self) -> None:
        self._rest = bytearray()
        self._said_done = False
        self._said_end = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        searched = max(0, len(self._rest) - 3)
        self._rest += data
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
        lines = [line for line in block.splitlines() if line.startswith(b"data:")]
        if not lines:
            return any(line.startswith(b":") for line in block.splitlines())
        data = b"\n".join(line[5:].strip() for line in lines)
        if data == b"[DONE]":
            self._said_end = True
        elif b'.done"' in data[:200] or b'"error"' in data[:200]:
            self._said_done = True
        return bool(data)
