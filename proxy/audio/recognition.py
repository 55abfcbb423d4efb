"""What a vendor's answer to a speech request is, by its first bytes: content types are often wrong.

Headerless PCM may begin with any bytes, so whatever else is recognized must be beyond doubt where PCM is expected.
"""

from __future__ import annotations

import re
from typing import Final

from proxy.audio import duration, formats, wav

#: Results of `recognized` that are no format: server-sent events, any other text, and bytes that no known format begins
#: with.
EVENTS: Final = "events"
DOCUMENT: Final = "document"
UNKNOWN: Final = ""

#: More bytes than this are never needed: three frames of MPEG audio, and a wav file's chunks before its samples.
MAX_BYTES: Final = 8192
_MAGICS: Final = (
    b"ID3",
    b"fLaC",
    b"OggS",
    b"RIFF",
    b"RIFX",
    b"RF64",
    b"BW64",
    b"FORM",
    b"\x1a\x45\xdf\xa3",
    b"caff",
    b"#!AMR",
)
_FIRST_BYTES: Final = frozenset(magic[0] for magic in _MAGICS)
#: How a file goes on behind these magic bytes. Samples may begin with the same four.
_CONFIRMED: Final = {
    b"fLaC": re.compile(rb"fLaC[\x00\x80]\x00\x00\x22"),
    b"OggS": re.compile(rb"OggS\x00[\x00-\x07]"),
    b"RIFX": re.compile(rb"RIFX.{4}WAVE", re.DOTALL),
    b"\x1a\x45\xdf\xa3": re.compile(rb".{4,60}(?:webm|matroska)", re.DOTALL),
    b"caff": re.compile(rb"caff\x00\x01"),
    b"#!AMR": re.compile(rb"#!AMR(?:-WB)?(?:_MC1\.0)?\n"),
}
_MP4_BRAND: Final = re.compile(rb".{4}(?!ftyp)|.{8}[\w .-]{4}", re.DOTALL)
_MP4_BOX: Final = 8
_MP4_BOXES: Final = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
#: mp4 begins with a small box.
_MAX_FIRST_BOX: Final = 1 << 24
_MPEG_PACK: Final = 0x000001BA
_MPEG_HEADER: Final = 4
_FRAMES: Final = 3
#: The bits of a header that are the same in every frame: version, layer, sample rate; in aac also the profile.
_SAME_IN_MP3: Final = (0xFF, 0xFE, 0x0C)
_SAME_IN_AAC: Final = (0xFF, 0xFF, 0xFC)
#: So many printable characters that are no format's beginning are text, such as ``Bad Gateway``.
_MIN_TEXT: Final = 8
#: So much text that begins like an event is one: some are short, and none is held back.
_MIN_EVENT: Final = 16
_BLANK: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_CONTROL: Final = bytes(byte for byte in range(32) if byte not in b"\t\r\n")
_EVENT: Final = re.compile(rb"(?:data|event|id|retry):|: ")
_MARKUP: Final = re.compile(rb'\{\s*["}]|\[\s*[\[{"\]]|<[!?a-zA-Z]')


def recognized(head: bytes, expected: str, *, is_whole: bool = False, may_be_text: bool = True) -> str | None:
    """A format as `formats.sniff` names it, EVENTS, DOCUMENT or UNKNOWN; None while more bytes are needed.

    ``expected`` is the format that was requested; ``is_whole``: nothing follows ``head``;
    ``may_be_text``: the bytes are a body, not what was extracted from one as audio.
    """
    is_whole = is_whole or len(head) >= MAX_BYTES
    first = head[0]
    if first == 0xFF:
        return _mpeg_audio(head, expected, is_whole)
    if first in _FIRST_BYTES and (magic := _magic(head)):
        if len(head) < formats.SNIFF_BYTES and not is_whole:
            return None
        return _marked(head, magic, expected, is_whole)
    if first < 0x20 and first not in _BLANK:
        return _binary(head, is_whole)
    return _text(head, is_whole) if may_be_text else UNKNOWN


def _magic(head: bytes) -> bytes:
    """The magic bytes that the head begins with, or begins to spell."""
    return next((magic for magic in _MAGICS if magic.startswith(head[: len(magic)])), b"")


def _marked(head: bytes, magic: bytes, expected: str, is_whole: bool) -> str | None:
    if magic == b"ID3":
        return _behind_tag(head, expected, is_whole)
    if magic in _CONFIRMED and not _CONFIRMED[magic].match(head):
        return UNKNOWN
    found = formats.sniff(head) or UNKNOWN
    return None if found == "wav" and not is_whole and _is_incomplete_wav(head) else found


def _is_incomplete_wav(head: bytes) -> bool:
    try:
        return wav.parse(head) is None
    except ValueError:
        return False


def _behind_tag(head: bytes, expected: str, is_whole: bool) -> str | None:
    """An ID3 tag may precede mp3, aac and flac. If the tag is too long to see its end, it is mp3's."""
    if len(head) < 10 or not 2 <= head[3] <= 4 or any(byte > 0x7F for byte in head[6:10]):
        return UNKNOWN
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte
    behind = head[10 + size :]
    if len(behind) < _MPEG_HEADER:
        return "mp3" if is_whole or 10 + size > MAX_BYTES else None
    return formats.sniff(behind) or (UNKNOWN if expected == "pcm" else "mp3")


def _mpeg_audio(head: bytes, expected: str, is_whole: bool) -> str | None:
    """mp3 and aac without a tag have no magic bytes, only headers that recur where the one before says."""
    if len(head) < _MPEG_HEADER:
        return UNKNOWN if is_whole else None
    found = formats.sniff(head)
    if found is None or found == expected:
        return found or UNKNOWN
    return {True: found, False: UNKNOWN, None: None}[_recurs(head, found, is_whole)]


def _recurs(head: bytes, format: str, is_whole: bool) -> bool | None:
    """Whether the head is a sequence of frames; None if it is too short to tell."""
    frames: duration.Mp3 | duration.Aac = duration.Aac() if format == "aac" else duration.Mp3()
    same = _SAME_IN_AAC if format == "aac" else _SAME_IN_MP3
    place = 0
    for number in range(_FRAMES):
        if place == len(head) and is_whole and number > 1:
            return True
        if place + frames.HEAD > len(head):
            return False if is_whole else None
        frame = frames.frame(head, place)
        is_like_first = all(head[place + n] & mask == head[n] & mask for n, mask in enumerate(same))
        if frame is None or not is_like_first or frame[0] < _MPEG_HEADER:
            return False
        place += frame[0]
    return True


def _binary(head: bytes, is_whole: bool) -> str | None:
    """mp4, which begins with the size and the name of a box, and MPEG program streams."""
    size, name = int.from_bytes(head[:4], "big"), head[4:8]
    is_box = _MP4_BOX <= size < _MAX_FIRST_BOX and any(box.startswith(name) for box in _MP4_BOXES)
    if len(head) < 4 or (is_box and len(head) < _MP4_BOX):
        return UNKNOWN if is_whole or not head.startswith(b"\x00") else None
    if is_box and len(head) < formats.SNIFF_BYTES and not is_whole:
        return None
    is_box = is_box and _MP4_BRAND.match(head) is not None
    return formats.sniff(head) or UNKNOWN if is_box or size == _MPEG_PACK else UNKNOWN


def _text(head: bytes, is_whole: bool) -> str | None:
    """Events, JSON, HTML or plain words, if there is enough of it to tell."""
    begin = head[: formats.SNIFF_BYTES]
    text = begin.removeprefix(_BOM).lstrip(_BLANK)
    if begin.translate(None, _CONTROL) != begin or not _is_utf8(begin):
        return UNKNOWN
    if _EVENT.match(text) and (len(begin) >= _MIN_EVENT or is_whole):
        return EVENTS
    if len(begin) < formats.SNIFF_BYTES and not is_whole:
        return None
    return DOCUMENT if _MARKUP.match(text) or len(begin) >= _MIN_TEXT or is_whole else UNKNOWN


def _is_utf8(begin: bytes) -> bool:
    """The last character may be incomplete."""
    try:
        begin.decode()
    except UnicodeDecodeError as error:
        return error.end == len(begin) and error.reason == "unexpected end of data"
    return True
