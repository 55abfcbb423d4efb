"""Which container an upload is, from its bytes alone: names and content types are often wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final, TypeAlias

from proxy.audio import formats
from proxy.audio.duration import adts_frame, mpeg_frame

#: Reads at most so many bytes from an offset.
Read: TypeAlias = Callable[[int, int], bytes]

#: Within so many bytes, audio begins, whatever precedes it.
_WINDOW: Final = 16_384
_JUNK: Final = 4096
_ID3_HEADER: Final = 10
_ID3_FOOTER: Final = 0x10
#: AC-3 and E-AC-3: the version of the bit stream, in the upper bits of the sixth byte.
_AC3_SYNC: Final = b"\x0b\x77"
_AC3_VERSIONS: Final = (6, 8, 16)
_MAX_TAGS: Final = 8

_MAGICS: Final = (
    (b"RIFX", "wav"),
    (b".snd", "au"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (b"FLV\x01", "flv"),
    (b"ADIF", "aac"),
    (b"wvpk", "wavpack"),
    (b"MAC ", "ape"),
    (b"riff\x2e\x91\xcf\x11", "w64"),
    (b"DSD ", "dsf"),
    (b"TTA1", "tta"),
    (b"Creative Voice File\x1a", "voc"),
    (b"\x7f\xfe\x80\x01", "dts"),
    (b"MPCK", "musepack"),
    (b"MP+", "musepack"),
    (b".RMF", "realmedia"),
    (b".ra\xfd", "realmedia"),
    (b"#!SILK", "silk"),
    (b"\x02#!SILK", "silk"),
    (b"MThd", "midi"),
    (b"%PDF-", "pdf"),
    (b"PK\x03\x04", "zip"),
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x89PNG", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"GIF8", "gif"),
)
#: Apple's brands of audio files; every other file of the family is ``mp4``.
_M4A_BRANDS: Final = (b"M4A ", b"M4B ", b"M4P ")
#: What begins a file in no other place: audio is searched for it behind a line of text, a BOM, a piece of HTTP.
_BEGINNING: Final = re.compile(
    rb"ID3[\x02-\x04]\x00|(?:RIFF|RIFX|RF64|BW64)....WAVE|OggS\x00|fLaC\x00\x00\x00\x22|\x00\x00..ftyp|\x1aE\xdf\xa3|"
    rb"FORM....AIF[FC]|caff\x00\x01|#!AMR",
    re.DOTALL,
)
_SYNC: Final = re.compile(rb"\xff[\xe2-\xe5\xf0-\xf5\xf8-\xfd][^\xf0-\xff]|\x56[\xe0-\xff].", re.DOTALL)
#: So many frames in a row are no coincidence.
_FRAMES: Final = 3
#: Places that look like the beginning of a frame. Between two frames there are a few; samples may have thousands.
_MAX_CANDIDATES: Final = 64
_TEXT_BYTES: Final = 16
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")


def container_of(read: Read) -> str | None:
    """The container that ``read`` shows; None if it is unknown, as with headerless samples.

    Audio: the names of `formats.sniff` without ``opus``, which is ``ogg``, and m4a, 3gp, ac3, ape, asf, au, avi, dsf,
    dts, flv, latm, musepack, realmedia, silk, ts, tta, voc, w64, wavpack. Not audio: midi, json, html, text, pdf, zip,
    gzip, png, jpeg, gif.
    """
    name = _magic(read(formats.SNIFF_BYTES, 0))
    if name == "id3":
        return _tagged(read, 0)
    if name is not None:
        return name
    data = read(_WINDOW, 0)
    if (name := _frames(data, 0)) is not None:
        return name
    name, place = _behind_junk(data)
    return _tagged(read, place) if name == "id3" else name or _document(data)


def _magic(head: bytes) -> str | None:
    """``id3`` for a tag, which may precede several containers."""
    if head[4:8] == b"ftyp":
        return "3gp" if head[8:10] == b"3g" else "m4a" if head[8:12] in _M4A_BRANDS else "mp4"
    if head.startswith(b"ID3"):
        return "id3"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    for magic, name in _MAGICS:
        if head.startswith(magic):
            return name
    if head.startswith(_AC3_SYNC) and len(head) > 5 and head[5] >> 3 in _AC3_VERSIONS:
        return "ac3"
    found = formats.sniff(head)
    # Those that `sniff` recognizes by two bytes need a closer look.
    return None if found in ("mp3", "aac", "json", "html") else "ogg" if found == "opus" else found


def _tagged(read: Read, start: int) -> str:
    """What begins behind ID3v2 tags, whose size is stored in four bytes of seven bits."""
    for _ in range(_MAX_TAGS):
        header = read(_ID3_HEADER, start)
        if len(header) < _ID3_HEADER or not header.startswith(b"ID3"):
            break
        size = 0
        for byte in header[6:]:
            size = size << 7 | byte & 0x7F
        start += _ID3_HEADER + size + (_ID3_HEADER if header[5] & _ID3_FOOTER else 0)
    data = read(_WINDOW, start)
    name = _magic(data) or _frames(data, 0) or _behind_junk(data)[0]
    return "mp3" if name is None or name == "id3" else name


def _behind_junk(data: bytes) -> tuple[str | None, int]:
    """Audio that begins soon, but not at once, or a tag, and where."""
    begins = _BEGINNING.search(data, 0, _JUNK)
    if begins is not None:
        return _magic(data[begins.start() :]), begins.start()
    if data[::188][:3] == b"\x47\x47\x47":
        return "ts", 0
    return next(_frames_behind(data), None), 0


def _frames_behind(data: bytes) -> Iterator[str]:
    candidates = islice(_SYNC.finditer(data, 1, _JUNK), _MAX_CANDIDATES)
    return filter(None, (_frames(data, candidate.start()) for candidate in candidates))


def _frames(data: bytes, place: int) -> str | None:
    """mp3, aac or latm if frames follow each other from there. At the beginning, a file of fewer frames counts, too."""
    first = kind = _frame(data, place)
    begin, count = place, 0
    while first is not None and kind is not None and kind[0] == first[0]:
        count += 1
        place += kind[1]
        if count == _FRAMES or (begin == 0 and place >= len(data) < _WINDOW):
            return first[0]
        kind = _frame(data, place)
    return None


def _frame(data: bytes, place: int) -> tuple[str, int] | None:
    """The kind of the frame, and its bytes."""
    if place + 6 > len(data) or not _SYNC.match(data, place):
        return None
    if data[place] == 0x56:
        return "latm", ((data[place + 1] & 0x1F) << 8 | data[place + 2]) + 3
    if data[place + 1] & 0xF6 == 0xF0:
        adts = adts_frame(data, place)
        return ("aac", adts[0]) if adts is not None else None
    mpeg = mpeg_frame(data, place)
    return ("mp3", mpeg[0]) if mpeg is not None else None


def _document(data: bytes) -> str | None:
    """json, html (any document that begins with ``<``) or text."""
    text = data.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if len(text) < _TEXT_BYTES or _CONTROL.search(text):
        return None
    try:
        text[:_JUNK].decode()
    except UnicodeDecodeError as error:
        if error.start < len(text[:_JUNK]) - 3:  # not a character that was cut
            return None
    return "json" if text[:1] in (b"{", b"[") else "html" if text[:1] == b"<" else "text"
