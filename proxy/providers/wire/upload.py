"""An upload as the whole body of a request, as vendors take it that want raw bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from proxy.domain.requests import Upload

#: Of bytes that nobody vouches for.
ANY_BYTES = "application/octet-stream"


class UploadStream(httpx.AsyncByteStream):
    """The bytes of an upload and no more; it may be read from the beginning as often as needed."""

    replayable = True

    def __init__(self, file: Upload) -> None:
        self._file = file
        self.length = file.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._file.chunks():
            yield chunk
