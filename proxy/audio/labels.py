"""The file name and content type under which an upload goes on: what its bytes are, whatever the client called them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from proxy.audio.container import Read, container_of

#: What an upload without a name or a content type is called if its bytes say nothing.
UNNAMED: Final = "upload"
ANY_BYTES: Final = "application/octet-stream"

MAX_NAME_LENGTH: Final = 255


class _True(NamedTuple):
    """The extensions and content types that are true of a container; the first ones are given to wrong labels."""

    extensions: tuple[str, ...]
    types: tuple[str, ...]


_MP4_TYPES: Final = ("audio/mp4", "video/mp4", "audio/m4a", "audio/x-m4a", "audio/mp4a-latm")
#: Only names that the strictest vendors know: they refuse Ogg named ``.oga`` or ``.opus``, MP4 named ``.mov`` and
#: Matroska named ``.mkv``, but read the same bytes under the first name.
_LABELS: Final[Mapping[str, _True]] = {
    "wav": _True(("wav",), ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-pn-wav")),
    "mp3": _True(
        ("mp3", "mpga", "mpeg"),
        ("audio/mpeg", "audio/mp3", "audio/x-mp3", "audio/x-mpeg", "audio/mpeg3", "audio/x-mpeg-3", "audio/mpa"),
    ),
    "ogg": _True(("ogg",), ("audio/ogg", "application/ogg", "audio/x-ogg", "video/ogg")),
    "m4a": _True(("m4a", "mp4"), _MP4_TYPES),
    "mp4": _True(("mp4", "m4a"), _MP4_TYPES),
    "webm": _True(("webm",), ("audio/webm", "video/webm")),
    "flac": _True(("flac",), ("audio/flac", "audio/x-flac")),
    "mpeg": _True(("mpeg",), ("video/mpeg", "audio/mpeg")),
    "aac": _True(("aac",), ("audio/aac", "audio/x-aac", "audio/aacp", "audio/vnd.dlna.adts")),
    "aiff": _True(("aiff", "aif", "aifc"), ("audio/aiff", "audio/x-aiff")),
    "amr": _True(("amr", "awb"), ("audio/amr", "audio/amr-wb")),
    "3gp": _True(("3gp", "3g2", "3gpp", "3ga"), ("audio/3gpp", "video/3gpp", "audio/3gpp2", "video/3gpp2")),
    "caf": _True(("caf",), ("audio/x-caf", "audio/caf")),
    "au": _True(("au", "snd"), ("audio/basic", "audio/x-au", "audio/au")),
    "asf": _True(("wma", "asf", "wmv"), ("audio/x-ms-wma", "video/x-ms-wmv", "video/x-ms-asf", "audio/wma")),
    "avi": _True(("avi",), ("video/x-msvideo", "video/avi", "video/msvideo")),
    "flv": _True(("flv",), ("video/x-flv",)),
    "ts": _True(("ts", "mts", "m2ts"), ("video/mp2t",)),
    "wavpack": _True(("wv",), ("audio/x-wavpack", "audio/wavpack")),
    "ape": _True(("ape",), ("audio/x-ape",)),
    "w64": _True(("w64",), ("audio/x-w64",)),
    "ac3": _True(("ac3", "eac3", "ec3"), ("audio/ac3", "audio/eac3", "audio/vnd.dolby.dd-raw")),
    "dts": _True(("dts",), ("audio/vnd.dts", "audio/x-dts")),
    "dsf": _True(("dsf",), ("audio/x-dsf",)),
    "tta": _True(("tta",), ("audio/x-tta",)),
    "voc": _True(("voc",), ("audio/x-voc",)),
    "musepack": _True(("mpc",), ("audio/x-musepack",)),
    "realmedia": _True(("rm", "ra"), ("application/vnd.rn-realmedia", "audio/x-pn-realaudio")),
}
#: Every container of audio that has a header.
CONTAINERS: Final = tuple(_LABELS)
#: Headerless samples, which only their label shows: content types, and extensions.
_HEADERLESS: Final[Mapping[str, str]] = {
    "audio/basic": "mulaw", "audio/mulaw": "mulaw", "audio/x-mulaw": "mulaw", "audio/ulaw": "mulaw",
    "audio/x-ulaw": "mulaw", "audio/pcmu": "mulaw", "audio/g711-mulaw": "mulaw", "ulaw": "mulaw", "mulaw": "mulaw",
    "ul": "mulaw", "au": "mulaw", "snd": "mulaw", "g711_ulaw": "mulaw", "audio/alaw": "alaw", "audio/x-alaw": "alaw",
    "audio/pcma": "alaw", "audio/g711-alaw": "alaw", "alaw": "alaw", "al": "alaw", "g711_alaw": "alaw",
    "audio/pcm": "pcm", "audio/x-pcm": "pcm", "audio/l16": "pcm", "audio/l8": "pcm", "audio/l24": "pcm",
    "audio/x-l16": "pcm", "audio/raw": "pcm", "audio/x-raw": "pcm", "pcm": "pcm", "pcm16": "pcm", "pcm_s16le": "pcm",
    "raw": "pcm", "s16le": "pcm", "l16": "pcm", "sln": "pcm", "audio/gsm": "gsm", "audio/x-gsm": "gsm", "gsm": "gsm",
    "audio/g722": "g722", "g722": "g722", "audio/g729": "g729", "g729": "g729",
}  # fmt: skip
#: Of files whose container is known under another extension; a wrong one of these is replaced, others go with the name.
_EXTENSIONS: Final = frozenset(extension for true in _LABELS.values() for extension in true.extensions) | {
    "aifc", "m4b", "m4p", "m4r", "m4v", "mka", "mkv", "mov", "mp2", "mpa", "mpg", "oga", "ogv", "ogx", "opus", "qt",
    "spx", "wave", "weba", *(name for name in _HEADERLESS if "/" not in name),
}  # fmt: skip
#: For an upload of which nothing but the extension is known.
_TYPES: Final = {extension: true.types[0] for true in reversed(list(_LABELS.values())) for extension in true.extensions}
#: What is not audio.
_DOCUMENTS: Final = ("text", "json", "html", "pdf", "zip", "gzip", "png", "jpeg", "gif", "midi")
#: How messages call what is not named after its extension.
_WORDS: Final[Mapping[str, str]] = {
    "aac": "AAC in ADTS", "asf": "Windows Media", "latm": "AAC in LATM", "mulaw": "headerless µ-law",
    "alaw": "headerless A-law", "pcm": "headerless PCM", "ts": "MPEG-TS", "mpeg": "MPEG-PS", "wavpack": "WavPack",
    "gsm": "headerless GSM", "g722": "headerless G.722", "g729": "headerless G.729",
    "ac3": "AC-3", "musepack": "Musepack", "realmedia": "RealMedia", "silk": "SILK",
    "text": "text", "json": "a JSON document", "html": "an HTML or XML document", "pdf": "a PDF document",
    "midi": "a MIDI file", "zip": "a ZIP archive", "gzip": "a gzip archive", "png": "an image", "jpeg": "an image",
    "gif": "an image",
}  # fmt: skip
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


class Label(NamedTuple):
    filename: str
    content_type: str
    #: As `container_of`, also mulaw, alaw, pcm, gsm, g722 or g729 if only the label says so; None if it is unknown.
    container: str | None


def label(read: Read, filename: str, content_type: str) -> Label:
    """What an upload is called. What is true of the bytes stays as it is, and everything does if they say nothing."""
    name = _bare(filename)
    stem, dot, extension = name.rpartition(".")
    media_type = content_type.partition(";")[0].strip().lower()
    container = container_of(read)
    if container is None:
        container = _HEADERLESS.get(media_type) or _HEADERLESS.get(extension.lower() if dot else "")
    true = _LABELS.get(container or "")
    if true is None:
        return Label(name or UNNAMED, content_type or _TYPES.get(extension.lower(), ANY_BYTES), container)
    if not stem or extension not in true.extensions:
        known = extension.lower()
        if known not in true.extensions:
            stem = stem if known in _EXTENSIONS and stem else "audio"
            known = true.extensions[0]
        name = f"{stem or 'audio'}.{known}"
    return Label(name, content_type if media_type in true.types else true.types[0], container)


def described(container: str) -> str:
    """For messages: ``AMR (.amr)``, ``headerless µ-law``, ``a PDF document``."""
    words, true = _WORDS.get(container, container.upper()), _LABELS.get(container)
    return words if true is None else f"{words} (.{true.extensions[0]})"


def is_audio(container: str) -> bool:
    return container not in _DOCUMENTS


def extensions_of(containers: tuple[str, ...]) -> list[str]:
    """The extensions of files in these containers, for messages."""
    return sorted({extension for name in containers for extension in _LABELS[name].extensions})


def _bare(name: str) -> str:
    """Without folders, control characters and what UTF-8 cannot encode."""
    name = _CONTROL.sub("", name).replace("\\", "/").rpartition("/")[2]
    return name.encode("utf-8", "replace").decode()[-MAX_NAME_LENGTH:]
