"""Paths, bytes and open files as uploads that can be sent more than once.

Every upload becomes bytes in memory or a descriptor of a regular file, which is read block by block. Files are sent
from their beginning, whatever their position is; the position of a file on disk does not change.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import os
import re
import stat
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import IO, Any, Final, TypeAlias

from proxy.audio.labels import label
from proxy.errors import BadRequest

Content: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]
#: A path, bytes, an open binary file, or one of these with a name, perhaps a content type, and headers, which the
#: `openai` package allows and which have no effect.
File: TypeAlias = (
    Content
    | tuple[str | None, Content]
    | tuple[str | None, Content, str | None]
    | tuple[str | None, Content, str | None, Mapping[str, str]]
)

BLOCK: Final = 1 << 20

_CONTENT_TYPE: Final = re.compile(r"[\w.+-]+/[\w.+-]+(?:[ \t]*;[ -~]*)?", re.ASCII)


class FileUpload:
    """A `proxy.domain.requests.Upload`. ``descriptor`` is None if ``content`` is the whole file."""

    def __init__(
        self, content: bytes, name: str | None, content_type: str | None, *, descriptor: int | None = None
    ) -> None:
        self.size = len(content) if descriptor is None else os.fstat(descriptor).st_size
        if self.size == 0:
            raise BadRequest("The file is empty.", param="file", code="invalid_value")
        self._content = content
        self._descriptor = descriptor
        self.filename, self.content_type, self.container = label(self.read_at, name or "", content_type or "")

    def read_at(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``."""
        if self._descriptor is None:
            return self._content[offset : offset + size]
        return os.pread(self._descriptor, size, offset)

    def fileno(self) -> int | None:
        return self._descriptor

    def getbuffer(self) -> bytes:
        """The whole file, if `fileno` is None."""
        return self._content

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises BadRequest if the file on disk has become shorter, or cannot be read."""
        for offset in range(0, self.size, BLOCK):
            size = min(BLOCK, self.size - offset)
            if self._descriptor is None:
                yield self._content[offset : offset + size]
            else:
                yield await asyncio.to_thread(_block, self._descriptor, size, offset)


@asynccontextmanager
async def opened(file: File) -> AsyncIterator[FileUpload]:
    """Raises BadRequest if it is not a binary file or is empty, and OSError as ``open`` does."""
    with ExitStack() as stack:
        yield await asyncio.to_thread(_upload, file, stack)


def _upload(file: File, stack: ExitStack) -> FileUpload:
    name, content, content_type = _parts(file)
    if content_type and not _CONTENT_TYPE.fullmatch(content_type):
        raise BadRequest("The content type of 'file' must look like 'audio/wav'.", param="file", code="invalid_value")
    if isinstance(content, str | os.PathLike):
        path = os.fspath(content)
        content = stack.enter_context(open(path, "rb"))  # noqa: SIM115
        name = name or os.path.basename(path)
    elif isinstance(content, bytes | bytearray | memoryview):
        return FileUpload(bytes(content), name, content_type)
    else:
        _check_open_binary(content)
        name = name or _name_of(content)
    if isinstance(content, io.BytesIO):
        return FileUpload(content.getvalue(), name, content_type)
    if not _is_regular(content):
        content = _copied(content, stack)
    if isinstance(content, bytes):
        return FileUpload(content, name, content_type)
    # A descriptor of our own, since the caller may close the file while we read it.
    descriptor = os.dup(content.fileno())
    stack.callback(os.close, descriptor)
    return FileUpload(b"", name, content_type, descriptor=descriptor)


def _parts(file: File) -> tuple[str | None, Content, str | None]:
    if not isinstance(file, tuple):
        return None, file, None
    match file:
        case (str() | None as name, content):
            return name, content, None
        case (str() | None as name, content, str() | None as content_type, *_) if len(file) <= 4:
            return name, content, content_type
    raise _no_file("A tuple must be (name, file) or (name, file, content type).")


def _check_open_binary(file: Any) -> None:
    if isinstance(file, io.TextIOBase):
        raise _no_file("This file is open as text; open it with mode 'rb'.")
    if inspect.iscoroutinefunction(getattr(file, "read", None)):
        raise _no_file(f"{type(file).__name__} is read asynchronously; pass the file behind it (such as its .file).")
    if not callable(getattr(file, "read", None)):
        raise _no_file(f"It must be a path, bytes, a file open for reading or a tuple, not {type(file).__name__}.")
    if getattr(file, "closed", False):
        raise _no_file("This file is closed.")
    if isinstance(file, io.IOBase) and not file.readable():
        raise _no_file("This file is not open for reading.")


def _is_regular(file: IO[bytes]) -> bool:
    """Whether the descriptor has the content that the object reads; not so for a GzipFile or a pipe."""
    raw = getattr(file, "raw", file)
    if not isinstance(file, io.BufferedReader | io.BufferedRandom | io.FileIO) or not isinstance(raw, io.FileIO):
        return False
    if file.writable():
        file.flush()
    return stat.S_ISREG(os.fstat(raw.fileno()).st_mode)


def _copied(file: IO[bytes], stack: ExitStack) -> IO[bytes] | bytes:
    """The content of any other object: as bytes if it is small, else in an unlinked temporary file."""
    if not isinstance(file, io.IOBase) or file.seekable():
        seek = getattr(file, "seek", None)
        if seek is not None:
            seek(0)
    spool = stack.enter_context(tempfile.SpooledTemporaryFile(BLOCK))  # noqa: SIM115
    while chunk := file.read(BLOCK):
        if not isinstance(chunk, bytes | bytearray | memoryview):
            raise _no_file("Its read() does not return bytes; open it with mode 'rb'.")
        spool.write(chunk)
    if spool.tell() > BLOCK:
        spool.flush()
        return spool
    spool.seek(0)
    return spool.read()


def _block(descriptor: int, size: int, offset: int) -> bytes:
    block = bytearray()
    try:
        while len(block) < size and (read := os.pread(descriptor, size - len(block), offset + len(block))):
            block += read
    except OSError as error:
        raise BadRequest("The file cannot be read.", param="file", detail=str(error)) from error
    if len(block) < size:
        raise BadRequest("The file became shorter while it was sent.", param="file")
    return bytes(block)


def _name_of(file: Any) -> str | None:
    """The file name; None if there is none (the name of a temporary file is a number)."""
    name = getattr(file, "name", None)
    return os.path.basename(name) if isinstance(name, str) else None


def _no_file(why: str) -> BadRequest:
    return BadRequest(f"'file' cannot be sent. {why}", param="file", code="invalid_type")
