"""Multipart forms with one file, parsed as they arrive: fields into memory within bounds, the file into a spool.

A file in another field than ``file``, and a text instead of the file, are usual mistakes: the errors name them.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from proxy import parse
from proxy.api.uploads import MAX_FIELD_BYTES, MAX_FIELDS, FileLimit, UploadedFile
from proxy.errors import BadRequest, RequestTooLarge
from proxy.storage.spool import Spool, SpoolRoom
from proxy.surrogates import decoded_utf8

_EXTENDED_NAME = re.compile(rb";\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]+)", re.IGNORECASE)
_CONTENT_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(?:[ \t]*;[ -~]*)?", re.ASCII)
#: Bytes that no text contains.
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
#: Bytes of a file without a name and a type from which it is decided whether it is a text.
_HEAD_BYTES = 256


class FormReader:
    """`feed` it the body, then `finish`. Whoever holds it closes ``file``."""

    def __init__(self, content_type: bytes, room: SpoolRoom, file_limit: FileLimit) -> None:
        self.file = UploadedFile(room, file_limit)
        self._fields: list[tuple[str, str]] = []
        #: The name and the content type of the file.
        self._label = ("", "")
        self._ended = False
        self._field_bytes = 0
        #: The beginning of the file, if nothing but the bytes can say that it is one.
        self._doubtful_head: bytes | None = None
        self._part: _Part = _Part()
        self._parser = self._new_parser(content_type)

    def _new_parser(self, content_type: bytes) -> MultipartParser:
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadRequest("The Content-Type of the form has no boundary.", code="invalid_multipart")
        callbacks = {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._part_data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }
        try:
            return MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
        except FormParserError as error:
            raise _broken(error) from None

    async def feed(self, data: bytes) -> None:
        """Raises BadRequest for a broken form, RequestTooLarge beyond its limits, Overloaded if there is no room."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise _broken(error) from None
        await self.file.settle()

    async def finish(self) -> tuple[list[tuple[str, str]], Spool]:
        """The fields in the client's order, and the file."""
        if not self._ended:
            raise BadRequest("The multipart form ends before its last boundary.", code="invalid_multipart")
        if self._doubtful_head is not None and _is_text(self._doubtful_head):
            raise BadRequest(
                "'file' must be a file, not text (curl: -F file=@audio.mp3). URLs are not fetched.",
                param="file",
                code="invalid_type",
            )
        return self._fields, await self.file.finish(*self._label)

    # -- what the parser calls -----------------------------------------------------------------------------------------

    def _part_begin(self) -> None:
        self._part = _Part()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._part.header_name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._part.header_value += data[start:end]

    def _header_end(self) -> None:
        part = self._part
        part.headers[bytes(part.header_name).lower()] = bytes(part.header_value)
        part.header_name.clear()
        part.header_value.clear()

    def _headers_finished(self) -> None:
        part = self._part
        disposition = part.headers.get(b"content-disposition", b"")
        kind, options = parse_options_header(disposition)
        part.name = options.get(b"name", b"").decode("utf-8", "replace")
        if not part.name or kind != b"form-data":
            raise BadRequest("A part of the form has no name.", code="invalid_multipart")
        if part.name == "file":
            if self.file.spool is not None:
                raise BadRequest("The form has more than one file.", param="file", code="invalid_value")
            self.file.open(dict(self._fields).get("model") or None)
            self._label = _filename(disposition, options), _content_type(part.headers)
            is_typed = not part.headers.get(b"content-type", b"text/").lower().startswith(b"text/")
            if not is_typed and not _has_filename(disposition, options):
                self._doubtful_head = b""
        elif _is_file(part, disposition, options):
            raise BadRequest(
                f"The form has a file in the field '{part.name[:80]}'; it must be in the field 'file'.",
                param="file",
                code="invalid_value",
            )
        elif len(self._fields) >= MAX_FIELDS:
            raise RequestTooLarge(f"The form has more than {MAX_FIELDS} fields.")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.name == "file":
            self._file_data(memoryview(data)[start:end])
            return
        self._count(end - start)
        self._part.value += data[start:end]

    def _count(self, size: int) -> None:
        """Count what is stored in memory: fields, and the headers of parts."""
        self._field_bytes += size
        if self._field_bytes > MAX_FIELD_BYTES:
            raise RequestTooLarge(f"The fields of the form have more than {MAX_FIELD_BYTES} bytes.")

    def _file_data(self, data: memoryview) -> None:
        if self._doubtful_head is not None and len(self._doubtful_head) < _HEAD_BYTES:
            self._doubtful_head += bytes(data[:_HEAD_BYTES])
        self.file.write(data)

    def _part_end(self) -> None:
        if self._part.name == "file":
            return
        try:
            self._fields.append((self._part.name, decoded_utf8(self._part.value)))
        except UnicodeDecodeError:
            raise BadRequest(
                f"The field '{self._part.name[:80]}' is not UTF-8 text; a file must be in the field 'file'.",
                param=self._part.name[:80],
            ) from None

    def _end(self) -> None:
        self._ended = True


class _Part:
    """The part that is being read."""

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.header_name = bytearray()
        self.header_value = bytearray()
        self.name = ""
        self.value = bytearray()


def _has_filename(disposition: bytes, options: dict[bytes, bytes]) -> bool:
    return bool(options.get(b"filename")) or _EXTENDED_NAME.search(disposition) is not None


def _is_file(part: _Part, disposition: bytes, options: dict[bytes, bytes]) -> bool:
    """Whether a part under another name than ``file`` is one. Some clients send every text as a file."""
    if part.name.partition("[")[0] in parse.TEXT_FIELDS:
        return False
    kind = part.headers.get(b"content-type", b"").lower().lstrip()
    return _has_filename(disposition, options) or kind.startswith((b"audio/", b"video/", b"application/octet-stream"))


def _is_text(head: bytes) -> bool:
    """Whether the beginning of a file is UTF-8 without control characters; an empty one is."""
    try:
        head[:_HEAD_BYTES].decode()
    except UnicodeDecodeError as error:
        # A character that is cut at the end is none that is wrong.
        return error.reason == "unexpected end of data" and _BINARY.search(head) is None
    return _BINARY.search(head) is None


def _filename(disposition: bytes, options: dict[bytes, bytes]) -> str:
    """``filename*`` (.NET) if present, else ``filename``."""
    extended = _EXTENDED_NAME.search(disposition)
    raw = unquote_to_bytes(extended[1]) if extended else options.get(b"filename", b"")
    return raw.decode("utf-8", "replace")


def _content_type(headers: dict[bytes, bytes]) -> str:
    sent = headers.get(b"content-type", b"").decode("latin-1").strip()
    return sent if len(sent) < 200 and _CONTENT_TYPE.fullmatch(sent) else ""


def _broken(error: Exception) -> BadRequest:
    return BadRequest(
        "We could not parse the multipart form of your request.", code="invalid_multipart", detail=str(error)
    )
