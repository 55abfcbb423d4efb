"""Server-sent events as OpenAI writes them: ``data: <json>`` and a blank line, ended by ``data: [DONE]``."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

CONTENT_TYPE = "text/event-stream; charset=utf-8"
DONE = b"data: [DONE]\n\n"


def event(payload: Mapping[str, Any]) -> bytes:
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    return b"data: " + text.encode("utf-8", "replace") + b"\n\n"


def audio_delta(audio: bytes) -> bytes:
    return b'data: {"type":"speech.audio.delta","audio":"' + b64encode(audio) + b'"}\n\n'
