"""Audio formats: names, content types and magic bytes. `sniff` runs on the first chunk of every answer."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

#: OpenAI's six speech formats and their content types in its API.
SPEECH_FORMATS: Final = MappingProxyType(
    {
        "mp3": "audio/mpeg",
        "opus": "audio/opus",  # Opus in Ogg
        "aac": "audio/aac",  # AAC-LC in ADTS
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",  # headerless s16le, 24 kHz, mono
    }
)

#: How many bytes `sniff` looks at. Fewer often suffice.
SNIFF_BYTES: Final = 64

_PREFIXES: Final = (
    (b"ID3", "mp3"),
    (b"fLaC", "flac"),
    (b"RF64", "wav"),
    (b"BW64", "wav"),
    (b"RIFX", "rifx"),
    (b"\x1a\x45\xdf\xa3", "webm"),
    (b"caff", "caf"),
    (b"#!AMR", "amr"),
    (b"\x00\x00\x01\xba", "mpeg"),
)
_MAGICS: Final = tuple(magic for magic, _ in _PREFIXES)
_MP4_BOXES: Final = frozenset((b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"))
_OPUS_HEAD: Final = slice(28, 36)  # after an Ogg page header of one segment
_CONTROL_BYTES: Final = bytes(byte for byte in range(32) if byte not in b"\t\n\r")


def content_type(format: str) -> str:
    """The content type of one of the six speech formats. Raises KeyError for any other name."""
    return SPEECH_FORMATS[format]


def sniff(first_bytes: bytes) -> str | None:
    """The format of what begins with these bytes; None for headerless PCM and anything unknown.

    aac, and mp3 without a tag, are recognized by two bytes only, and loud PCM can begin with the same two.

    Audio: mp3 (also layer II), aac (ADTS), opus, ogg (any other Ogg), flac, wav, rifx (big-endian wav), mp4, webm (any
    Matroska), aiff, caf, amr, mpeg (program stream). Not audio: json, html (any document that begins with ``<``).
    """
    head = bytes(first_bytes[:SNIFF_BYTES])
    if head.startswith(_MAGICS):
        return next(name for magic, name in _PREFIXES if head.startswith(magic))
    if head.startswith(b"OggS"):
        return "opus" if b"OpusHead".startswith(head[_OPUS_HEAD]) else "ogg"
    if head.startswith(b"RIFF"):
        return "wav" if b"WAVE".startswith(head[8:12]) else None
    if head.startswith(b"FORM"):
        return "aiff" if head[8:12] in (b"AIFF", b"AIFC") else None
    if head[4:8] in _MP4_BOXES:
        return "mp4"
    return _mpeg_audio(head.lstrip(b"\x00")) or _document(head)


def _mpeg_audio(head: bytes) -> str | None:
    """ADTS and MPEG audio have the same sync word; the two layer bits are 00 only in ADTS."""
    if len(head) < 2 or head[0] != 0xFF:
        return None
    if head[1] & 0xF6 == 0xF0:
        return "aac" if len(head) < 3 or head[2] >> 2 & 15 < 13 else None  # 13 sample rates
    layer, version = head[1] >> 1 & 3, head[1] >> 3 & 3
    if head[1] & 0xE0 != 0xE0 or layer not in (1, 2) or version == 1:
        return None
    if len(head) > 2 and (
        head[2] >> 4 == 15 or head[2] >> 2 & 3 == 3
    ):  # forbidden bit rate or sample rate: not a header
        return None
    return "mp3"


def _document(head: bytes) -> str | None:
    """Only if there are no control bytes: PCM may begin with the same byte, but nearly always has some soon."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n")
    if not text or len(text.translate(None, _CONTROL_BYTES)) < len(text):
        return None
    if text[:1] in (b"{", b"["):
        return "json"
    return "html" if text[:1] == b"<" else None
