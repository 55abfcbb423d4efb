"""Frames between `pool` and `channel`: the kind (one byte), the length (four bytes, big endian) and the payload.

The worker pulls: it sends WANT when it can take more input. So neither side buffers more than one frame, and it is
always clear whose turn it is: a side that sends nothing during its turn has stalled.

proxy → worker: JOB (JSON, together with the upload's descriptor, if any), then one INPUT or INPUT_END for each WANT.
worker → proxy: READY once; then, for each job, any number of DATA and WANT, and finally DONE or FAILED (text).
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

#: Longest payload of any frame. A worker that sends a longer one is broken.
MAX_PAYLOAD: Final = 64 * 1024

_HEADER: Final = struct.Struct("!cI")
HEADER_BYTES: Final = _HEADER.size


def pack(kind: bytes, payload: bytes | memoryview = b"") -> bytes:
    """One frame."""
    return _HEADER.pack(kind, len(payload)) + payload


class Unpacker:
    """Turns bytes, as they arrive, into whole frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes from the socket."""
        self._buffer += data

    def next(self) -> tuple[bytes, bytes] | None:
        """The next (kind, payload), or None while it is incomplete. Raises ValueError if it is longer than allowed."""
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
