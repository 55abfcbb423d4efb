"""What both ways to upload a file have in common, a form and JSON: the limits, and the file as it arrives."""

from __future__ import annotations

from collections.abc import Callable

from proxy.errors import BadRequest
from proxy.matching import MEGABYTE, file_too_large
from proxy.storage.spool import Spool, SpoolRoom

#: Of the other fields, which are in memory.
MAX_FIELDS = 1000
MAX_FIELD_BYTES = 16 * MEGABYTE

#: Returns MB for a model, which is None if it is not known yet.
FileLimit = Callable[[str | None], float | None]


class UploadedFile:
    """`open`, `write` and `settle` it as it arrives, then `finish`; `close` it in any case.

    A file that exceeds its limit is not stored any more, only counted, so that the error can name its size.
    """

    def __init__(self, room: SpoolRoom, limit: FileLimit) -> None:
        #: None until the file begins.
        self.spool: Spool | None = None
        #: The limit that the file has exceeded, in MB.
        self.passed_limit: float | None = None
        self._room = room
        self._limit_of = limit
        self._limit: float | None = None
        self._size = 0

    def open(self, model: str | None) -> None:
        self._limit = self._limit_of(model)
        self.spool = self._room.open()

    def write(self, data: memoryview) -> None:
        """Raises Overloaded if there is no room."""
        self._size += len(data)
        if self.passed_limit is not None or self.spool is None or not data:
            return
        if self._limit is not None and self._size > self._limit * MEGABYTE:
            self.passed_limit = self._limit
            self.spool.close()
            return
        self.spool.write(data)

    async def settle(self) -> None:
        """Await it between writes. Raises Overloaded if the disk is full."""
        if self.spool is not None:
            await self.spool.settle()

    async def finish(self, filename: str, content_type: str) -> Spool:
        """The file, with a true label, of which the client's is a hint.

        Raises RequestTooLarge if the file exceeds its limit, BadRequest if it is empty or missing.
        """
        if self.passed_limit is not None:
            raise file_too_large(self.passed_limit, size=self._size)
        if self.spool is None:
            raise BadRequest("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
        if self._size == 0:
            raise BadRequest("The file is empty.", param="file", code="invalid_value")
        await self.spool.finish(filename, content_type)
        return self.spool

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()
