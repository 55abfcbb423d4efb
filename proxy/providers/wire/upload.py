"""Request bodies around an upload, for vendors that take something other than a form."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator

from proxy.domain.requests import Upload
from proxy.http.messages import ByteStream

#: The content type of bytes whose format is unknown.
ANY_BYTES = "application/octet-stream"


class UploadStream(ByteStream):
    """The bytes of an upload and nothing else; it may be read from the beginning as often as needed."""

    replayable = True

    def __init__(self, file: Upload) -> None:
        self._file = file
        self.length = file.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._file.chunks():
            yield chunk


class Base64Stream(ByteStream):
    """An upload as base64 between ``head`` and ``tail``, encoded while it is sent; it may be read repeatedly."""

    replayable = True

    def __init__(self, head: bytes, file: Upload, tail: bytes) -> None:
        self._head = head
        self._file = file
        self._tail = tail
        self.length = len(head) + 4 * -(-file.size // 3) + len(tail)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        rest = b""
        async for chunk in self._file.chunks():
            data = rest + bytes(chunk)
            whole = len(data) - len(data) % 3
            rest = data[whole:]
            yield b64encode(data[:whole])
        yield b64encode(rest) + self._tail
