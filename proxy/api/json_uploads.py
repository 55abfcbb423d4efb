"""Uploads as JSON: the audio as base64, decoded as it arrives into a spool, the other fields into memory within bounds.

``{"model": …, "input_audio": {"data": "UklGR…", "format": "wav"}}``, as OpenRouter documents it and Open WebUI sends it
("JSON Base64"), or ``{"model": …, "file": "data:audio/wav;base64,UklGR…"}``.

Only the string of the audio is taken out of the document as it arrives. It is found by its key: within a string of
JSON, every quotation mark has a backslash before it, so that text never looks like a key.
"""

from __future__ import annotations

import binascii
import re
from contextlib import suppress
from itertools import islice
from typing import Any

from proxy import parse
from proxy.api.uploads import MAX_FIELD_BYTES, MAX_FIELDS, FileLimit, UploadedFile
from proxy.errors import BadRequest, RequestTooLarge, invalid_value
from proxy.storage.spool import Spool, SpoolRoom

#: The beginning of the audio. Before ``data``, ``input_audio`` may have plain members, such as the format.
_AUDIO = re.compile(rb'(?<!\\)"(?:input_audio"\s*:\s*\{(?:[^{}"]*"[^"\\{}]*")*?[^{}"]*"data|file)"\s*:\s*"', re.DOTALL)
#: Bytes before the end of what was searched, in which the beginning of the audio may be.
_OVERLAP = 1024
_ESCAPE = re.compile(rb"\\(?:u00([0-9a-fA-F]{2})|(.))", re.DOTALL)
_ESCAPES = {b"/": b"/", b"n": b"", b"r": b"", b"t": b""}
_CUT_ESCAPE = re.compile(rb"\\(?:u[0-9a-fA-F]{0,3})?$")
_DATA_URL = re.compile(rb"data:([\w.+-]+/[\w.+-]+)?(?:;[^,;]*)*;base64,", re.IGNORECASE)
_MAX_DATA_URL_HEAD = 256
_DATA_URL_EXAMPLE = "'data:audio/wav;base64,…'"
#: The name of a format, a content type, or nothing.
_FORMAT = re.compile(r"[a-z0-9_]{0,20}|[a-z]{1,20}/[\w.+-]{1,40}(?:[ \t]*;[ -~]{0,80})?", re.ASCII)
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_AUDIO_FIELDS = frozenset({"input_audio", "file"})


class JsonReader:
    """`feed` it the body, then `finish`; the counterpart of `FormReader`, with the same limits."""

    def __init__(self, room: SpoolRoom, file_limit: FileLimit) -> None:
        self.file = UploadedFile(room, file_limit)
        #: The document, with an empty string in place of the audio.
        self._rest = bytearray()
        self._searched = 0
        self._audio: _Base64 | None = None
        self._in_audio = False

    async def feed(self, data: bytes) -> None:
        """Raises BadRequest for invalid base64, RequestTooLarge beyond the limits, Overloaded if there is no room."""
        if self._audio is not None and self._in_audio:
            data = self._feed_audio(self._audio, data)
        self._rest += data
        if self._audio is None and (found := _AUDIO.search(self._rest, self._searched)):
            audio = bytes(self._rest[found.end() :])
            del self._rest[found.end() :]
            is_file = self._rest[found.start() :].startswith(b'"file"')
            self._rest += self._feed_audio(self._begin(_model_before(self._rest), is_file=is_file), audio)
        self._searched = max(0, len(self._rest) - _OVERLAP)
        if len(self._rest) > MAX_FIELD_BYTES:
            raise RequestTooLarge(f"The fields besides the audio have more than {MAX_FIELD_BYTES} bytes.")
        await self.file.settle()

    async def finish(self) -> tuple[list[tuple[str, str]], Spool]:
        """The other fields as those of a form, and the file."""
        document = parse.json_object(bytes(self._rest))
        if self._audio is None and (text := _taken_audio(document)):
            self._feed_audio(self._begin(document.get("model"), is_file="file" in document), text + b'"')
        label = _check_audio(document, is_found=self._audio is not None)
        if self._in_audio or self._audio is None:
            raise BadRequest("The body ends within the audio.", code="invalid_json")
        self.file.write(memoryview(self._audio.end()))
        is_type = "/" in label
        filename = "audio" if is_type or not label else f"audio.{label}"
        file = await self.file.finish(filename, self._audio.content_type or (label if is_type else ""))
        others = ((name, value) for name, value in document.items() if name not in _AUDIO_FIELDS)
        rows = (row for name, value in others for row in parse.form_rows(name, value))
        fields = list(islice(rows, MAX_FIELDS + 1))
        if len(fields) > MAX_FIELDS:
            raise RequestTooLarge(f"The body has more than {MAX_FIELDS} fields and items of arrays.")
        return fields, file

    def _begin(self, model: Any, *, is_file: bool) -> _Base64:
        self._audio, self._in_audio = _Base64(is_file=is_file), True
        self.file.open(model if isinstance(model, str) else None)
        return self._audio

    def _feed_audio(self, audio: _Base64, data: bytes) -> bytes:
        """Takes the audio, up to the quotation mark that ends it; returns what follows, from that mark."""
        end = data.find(b'"')
        self._in_audio = end < 0
        self.file.write(memoryview(audio.feed(data if end < 0 else data[:end])))
        return b"" if end < 0 else data[end:]


def _model_before(start: bytearray) -> Any:
    """The model, if it stands before the audio, whose string ``start`` has just opened."""
    for end in (b'"}}', b'"}'):
        with suppress(BadRequest, RequestTooLarge):
            return parse.json_object(bytes(start + end)).get("model")
    return None


def _taken_audio(document: dict[str, Any]) -> bytes | None:
    """Takes the audio out of a document in which it could not be found before, such as one with an escaped key."""
    parent, name = document, "file"
    if isinstance(document.get("input_audio"), dict):
        parent, name = document["input_audio"], "data"
    text = parent.get(name)
    if not isinstance(text, str) or not text or (name == "file" and not text.lower().startswith("data:")):
        return None
    parent[name] = ""
    return text.encode("ascii", "replace").replace(b"\\", b"?").replace(b'"', b"?")


def _check_audio(document: dict[str, Any], *, is_found: bool) -> str:
    """The format or content type that the document names. Raises BadRequest if there is no audio where it was found."""
    for name in _AUDIO_FIELDS:
        if document.get(name, "") is None:
            del document[name]
    audio = document.get("input_audio")
    if isinstance(audio, dict) and "url" in audio:
        raise invalid_value("input_audio", "URLs are not fetched: send the audio as base64 in 'data'")
    if "file" in document and "input_audio" in document:
        raise invalid_value("file", "send either 'file' or 'input_audio'")
    if is_found and (document.get("file") == "" or (isinstance(audio, dict) and audio.get("data") == "")):
        format = (audio.get("format") if isinstance(audio, dict) else None) or ""
        if not isinstance(format, str) or not _FORMAT.fullmatch(format := format.strip().removeprefix(".").lower()):
            raise invalid_value("input_audio", "'format' is the name of a format, such as 'wav' or 'mp3'")
        return format
    if "file" in document:
        raise invalid_value("file", f"a file in JSON is a data URL, {_DATA_URL_EXAMPLE}")
    if audio is not None:
        raise invalid_value("input_audio", "it is an object with 'data', the audio as base64, and 'format'")
    raise BadRequest(
        "Missing required parameter: 'input_audio', with 'data', the audio as base64, and 'format'. "
        "Or send a form with the field 'file'.",
        param="input_audio",
        code="missing_required_parameter",
    )


class _Base64:
    """Decodes a string of JSON in pieces: base64 of either alphabet, with or without padding, line breaks, data URL.

    A ``file`` has to be a data URL; another text is probably a path or a URL.
    """

    def __init__(self, *, is_file: bool) -> None:
        self._is_file = is_file
        #: That of a data URL.
        self.content_type: str | None = None
        self._head: bytes | None = b""
        self._escape = b""
        self._rest = b""
        self._padded = False

    def feed(self, data: bytes) -> bytes:
        data = self._escape + data
        self._escape = b""
        if b"\\" in data:
            if cut := _CUT_ESCAPE.search(data):
                data, self._escape = data[: cut.start()], cut[0]
            data = _ESCAPE.sub(_unescaped, data)
        if self._head is not None:
            data = self._without_head(self._head + data)
        return self._decoded(data)

    def end(self) -> bytes:
        """What is left. Raises BadRequest if characters are missing."""
        data = b""
        if self._head is not None:
            data, self._head = self._head, None
            self._check_head(data)
        decoded = self._decoded(data)
        if self._escape or len(self._rest) == 1:
            raise self._invalid()
        rest, self._rest = self._rest, b""
        return decoded + self._base64(rest + b"=" * (-len(rest) % 4))

    def _without_head(self, data: bytes) -> bytes:
        """Without ``data:audio/wav;base64,``; nothing as long as that may be incomplete."""
        found = _DATA_URL.match(data)
        if found is None and b"data:".startswith(data[:5].lower()):
            if len(data) > _MAX_DATA_URL_HEAD:
                raise self._invalid()
            self._head = data
            return b""
        self._head = None
        if found is None:
            self._check_head(data)
            return data
        self.content_type = found[1].decode() if found[1] else None
        return data[found.end() :]

    def _check_head(self, data: bytes) -> None:
        if self._is_file and data:
            raise invalid_value(
                "file", f"a file in JSON is a data URL, {_DATA_URL_EXAMPLE}; other URLs are not fetched"
            )

    def _invalid(self) -> BadRequest:
        return invalid_value("file" if self._is_file else "input_audio", "the audio is not valid base64")

    def _decoded(self, data: bytes) -> bytes:
        data = self._rest + data.translate(_URL_SAFE, b" \r\n\t")
        if not data:
            return b""
        if self._padded:
            raise self._invalid()
        whole = len(data) - len(data) % 4
        self._rest = data[whole:]
        self._padded = data.endswith(b"=", 0, whole)
        return self._base64(data[:whole])

    def _base64(self, data: bytes) -> bytes:
        try:
            return binascii.a2b_base64(data, strict_mode=True)
        except binascii.Error:
            raise self._invalid() from None


def _unescaped(escape: re.Match[bytes]) -> bytes:
    if escape[1]:
        return bytes.fromhex(escape[1].decode())
    return _ESCAPES.get(escape[2], b"!")
