"""An upload as the whole body of a request, for vendors that expect raw bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.domain.requests import Upload
from proxy.http.messages import ByteStream

#: The content type of bytes whose format is unknown.
ANY_BYTES = "application/octet-stream"


class UploadStream(ByteStream):
    """The bytes of an upload and nothing else."""

    replayable = True

    def __init__(self, file: Upload) -> None:
        self._file = file
        self.length = file.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._file.chunks():
            yield chunk
