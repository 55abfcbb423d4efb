"""The head of an HTTP/1.1 message: start line and header fields as they go over the wire."""

from __future__ import annotations

from collections.abc import Iterable

RawHeaders = list[tuple[bytes, bytes]]


def encode_head(start: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """``start`` is the start line with its line end.

    Raises ValueError if the start line or a field holds a control character that would begin another one.
    """
    lines = [b": ".join(field) for field in headers]
    line_ends = len(lines) + 2
    lines.append(b"\r\n")
    block = start + b"\r\n".join(lines)
    if len(block) - len(block.translate(None, b"\r\n\0")) != 2 * line_ends:
        raise ValueError("a control character in the head of a message")
    return block
