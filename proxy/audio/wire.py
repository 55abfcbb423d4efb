"""Frames between `pool` and `channel`: one byte of kind, four bytes of length (big endian), the payload.

The worker pulls: it says WANT when it can take more input, so that neither side buffers more than a frame, and
whoever is silent while it is his turn has stalled.

proxy → worker: JOB (JSON, with the upload's descriptor beside it, if any), then for each WANT one INPUT or INPUT_END.
worker → proxy: READY once; then for each job any number of DATA and WANT, and at last DONE or FAILED (text).
"""

from __future__ import annotations

import struct
from typing import Final

JOB: Final = b"J"
INPUT: Final = b"I"
INPUT_END: Final = b"E"
READY: Final = b"R"
WANT: Final = b"W"
DATA: Final = b"D"
DONE: Final = b"O"
FAILED: Final = b"F"

#: Longest payload of INPUT and DATA; the proxy takes a worker that sends more for broken.
MAX_PAYLOAD: Final = 64 * 1024

_HEADER: Final = struct.Struct("!cI")
HEADER_BYTES: Final = _HEADER.size


def pack(kind: bytes, payload: bytes | memoryview = b"") -> bytes:
    """One frame."""
    return _HEADER.pack(kind, len(payload)) + payload


class Unpacker:
    """Bytes in as they come, whole frames out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self._buffer += data

    def next(self) -> tuple[bytes, bytes] | None:
        """The next (kind, payload), None while it is incomplete; ValueError when it is longer than any honest one."""
        if len(self._buffer) < HEADER_BYTES:
            return None
        kind, length = _HEADER.unpack_from(self._buffer)
        if length > MAX_PAYLOAD:
            raise ValueError(f"a frame of {length} bytes")
        end = HEADER_BYTES + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEADER_BYTES:end])
        del self._buffer[:end]
        return kind, payload
