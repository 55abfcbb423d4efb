"""A few hundred milliseconds of silence in each format of ``/v1/audio/speech``: valid files, 24 kHz mono."""

from __future__ import annotations

import base64
import struct

_MP3_FRAME = bytes.fromhex("fff344c4000000034800000000") + b"U" * 83
_OPUS = (
    "T2dnUwACAAAAAAAAAAACXPRrAAAAAOZm5UEBE09wdXNIZWFkAQE4AcBdAAAAAABPZ2dTAAAAAAAAAAAAAAJc9GsBAAAAWTtBvgE2"
    "T3B1c1RhZ3MNAAAATGF2ZjYyLjEyLjEwMgEAAAAVAAAAZW5jb2Rlcj1MYXZmNjIuMTIuMTAyT2dnUwAEuBcAAAAAAAACXPRrAgAA"
    "AMpT0YMHAwMDAwMDA9j//tj//tj//tj//tj//tj//tj//g=="
)
_AAC = "//FYQAOf/N4CAExhdmM2Mi4yOC4xMDIAAjBADv/xWEABf/wBGCAH//FYQAF//AEYIAf/8VhAAX/8ARggBw=="
_FLAC = "ZkxhQ4AAACIJAAkAAAALAAALBdwA8AAAC0AclPEAn/ZcCkmQQMDRrggv//hHCACyAAAAy1L/+CcIAXAAAACFCA=="

_RATE = 24000
_PCM = bytes(_RATE // 5 * 2)


def wav(pcm: bytes = _PCM, *, streamed: bool = False) -> bytes:
    """16-bit mono at 24 kHz; ``streamed`` writes the sizes as OpenAI does, which are 0xFFFFFFFF."""
    riff, data = (0xFFFFFFFF, 0xFFFFFFFF) if streamed else (36 + len(pcm), len(pcm))
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, _RATE, _RATE * 2, 2, 16)
    return struct.pack("<4sI4s", b"RIFF", riff, b"WAVE") + fmt + struct.pack("<4sI", b"data", data) + pcm


#: By ``response_format``.
SPEECH: dict[str, bytes] = {
    "mp3": _MP3_FRAME * 15,
    "opus": base64.b64decode(_OPUS),
    "aac": base64.b64decode(_AAC),
    "flac": base64.b64decode(_FLAC),
    "wav": wav(streamed=True),
    "pcm": _PCM,
}

#: By ``response_format``, as recorded.
SPEECH_TYPES: dict[str, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/opus",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
