"""Encodes a form with one file as common clients do: fields first, the file last, a known length."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterable

from proxy.domain.requests import Upload
from proxy.http.messages import ByteStream


class MultipartStream(ByteStream):
    """The body of a multipart request around an upload; it may be read from the beginning as often as needed."""

    replayable = True

    def __init__(self, fields: Iterable[tuple[str, str]], file: Upload, *, file_field: str = "file") -> None:
        boundary = os.urandom(16).hex()
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{_quoted(name)}"\r\n\r\n{value}\r\n'
            for name, value in fields
        ]
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{file_field}"; filename="{_quoted(file.filename)}"'
            f"\r\nContent-Type: {file.content_type}\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._file = file
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self.length = len(self._head) + file.size + len(self._tail)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._head
        async for chunk in self._file.chunks():
            yield chunk
        yield self._tail


def _quoted(name: str) -> str:
    """As browsers do it (WHATWG HTML, "multipart form data"): quotes and line breaks are escaped, the rest is UTF-8."""
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
