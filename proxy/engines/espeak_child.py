"""The program of the espeak-ng processes. Only it loads the library, which is under the GPL; the proxy never does.

Jobs: ``voices`` writes one JSON document. ``speak`` reads UTF-8 text as its input, writes ``{"rate"}``, then s16le mono
PCM while it is synthesized. The library and its data come from the package espeakng-loader, else from the system.
Source of the constants: espeak-ng's ``speak_lib.h``.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import importlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

from proxy.audio.channel import Channel, serve
from proxy.audio.limits import Limits
from proxy.engines.refusal import Refusal
from proxy.errors import BadRequest, NotInstalled, UnsupportedValue

#: Enough to open the data of one voice.
_DESCRIPTORS: Final = 64

_SYNCHRONOUS: Final = 2
_DONT_EXIT: Final = 0x8000
_BUFFER_MS: Final = 60
_CHARACTERS: Final = 1
_UTF8: Final = 1  # without SSML (0x10) and phonemes in brackets (0x100)
_RATE, _PITCH, _RANGE = 1, 3, 4
_GENDERS: Final = {1: "male", 2: "female"}

_WORDS_PER_MINUTE: Final = 175
_SLOWEST, _FASTEST = 80, 900
_PIECE_BYTES: Final = 16 * 1024

#: Control characters: some are commands to espeak-ng that would also affect later calls.
_CONTROLS: Final = {code: " " for code in (*range(0x00, 0x09), *range(0x0B, 0x20), *range(0x7F, 0xA0)) if code != 0x85}

_Write = Callable[[bytes], None]
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class _VoiceRecord(ctypes.Structure):
    """``espeak_VOICE``. ``languages`` is a sequence of (priority byte, name, NUL), ended by a NUL."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )

    def tags(self) -> list[str]:
        tags, at = [], self.languages
        while at and ctypes.string_at(at, 1) != b"\0":
            tag = ctypes.string_at(at + 1)
            tags.append(tag.decode().lower())
            at += len(tag) + 2
        return tags


class Library:
    """The initialized library and its lists of voices."""

    def __init__(self) -> None:
        self._library, data = _load()
        if data is not None:
            # espeak-ng cuts paths at 160 characters, so it gets a relative one.
            os.chdir(data)
        self._declare()
        self.rate: int = self._library.espeak_Initialize(_SYNCHRONOUS, _BUFFER_MS, b"." if data else None, _DONT_EXIT)
        if self.rate <= 0:
            raise Refusal(NotInstalled, "espeak-ng's data is missing: pip install 'audio-proxy[local]'.")
        self.sonic = _Sonic.of(self._library, self.rate)
        self.voices = self._voices(None)
        self._identifiers = {tag: voice["identifier"] for voice in reversed(self.voices) for tag in voice["tags"]}
        variants = self._voices(_VoiceRecord(languages=ctypes.cast(ctypes.c_char_p(b"variant"), ctypes.c_void_p)))
        self.variants = {path.rpartition("/")[2].lower(): path for path in (voice["identifier"] for voice in variants)}

    def _declare(self) -> None:
        library = self._library
        library.espeak_Initialize.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
        library.espeak_ListVoices.argtypes = (ctypes.POINTER(_VoiceRecord),)
        library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceRecord))
        library.espeak_SetVoiceByName.argtypes = (ctypes.c_char_p,)
        library.espeak_SetParameter.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int)
        library.espeak_SetSynthCallback.argtypes = (_Callback,)
        position = (ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint)
        library.espeak_Synth.argtypes = (ctypes.c_char_p, ctypes.c_size_t, *position, ctypes.c_void_p, ctypes.c_void_p)

    def _voices(self, pattern: _VoiceRecord | None) -> list[dict[str, Any]]:
        records = self._library.espeak_ListVoices(ctypes.byref(pattern) if pattern is not None else None)
        return [
            {
                "tags": record.tags(),
                "name": record.name.decode(),
                "gender": _GENDERS.get(record.gender, ""),
                "identifier": record.identifier.decode(),
            }
            for record in _until_null(records)
        ]

    def choose(self, language: str, variant: str, pitch: int, melody: int, speed: float) -> None:
        """Select the voice by espeak-ng's own file names: the client's text is only used to look them up."""
        if language not in self._identifiers:
            raise Refusal(UnsupportedValue, f"espeak-ng has no voice for the language '{language}'.", "voice")
        if variant and variant not in self.variants:
            raise Refusal(UnsupportedValue, f"espeak-ng has no voice variant '{variant}'.", "voice")
        identifier = self._identifiers[language]
        if variant:
            identifier += "+" + self.variants[variant].rpartition("/")[2]
        if self._library.espeak_SetVoiceByName(identifier.encode()) != 0:
            raise Refusal(UnsupportedValue, "espeak-ng cannot load this voice.", "voice")
        pace = round(_WORDS_PER_MINUTE * speed)
        if self.sonic is None and not _SLOWEST <= pace <= _FASTEST // 2:
            raise Refusal(UnsupportedValue, "This espeak-ng only supports speeds from 0.46 to 2.57.", "speed")
        for parameter, value in ((_RATE, max(pace, _SLOWEST)), (_PITCH, pitch), (_RANGE, melody)):
            self._library.espeak_SetParameter(parameter, value, 0)

    def synthesize(self, text: str, write: _Write) -> None:
        """Pass PCM to ``write`` as it is synthesized. If ``write`` raises, the synthesis stops, with that error."""
        failures: list[BaseException] = []

        def callback(samples: int | None, count: int, events: int) -> int:
            if not samples or not count:
                return 0
            try:
                write(ctypes.string_at(samples, count * 2))
            except BaseException as error:  # exceptions cannot pass through C
                failures.append(error)
                return 1
            return 0

        reference = _Callback(callback)  # must live as long as the library may call it
        self._library.espeak_SetSynthCallback(reference)
        plain = text.translate(_CONTROLS).encode(errors="replace")
        self._library.espeak_Synth(plain, len(plain) + 1, 0, _CHARACTERS, 0, _UTF8, None, None)
        if failures:
            raise failures[0]


class _Sonic:
    """libsonic inside espeak-ng. espeak-ng uses it above 450 words per minute, and we use it below 80."""

    def __init__(self, library: ctypes.CDLL, rate: int) -> None:
        self._library = library
        self._rate = rate
        library.sonicCreateStream.restype = ctypes.c_void_p
        library.sonicDestroyStream.argtypes = (ctypes.c_void_p,)
        library.sonicSetSpeed.argtypes = (ctypes.c_void_p, ctypes.c_float)
        library.sonicFlushStream.argtypes = (ctypes.c_void_p,)
        for function in (library.sonicWriteShortToStream, library.sonicReadShortFromStream):
            function.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int)

    @classmethod
    def of(cls, library: ctypes.CDLL, rate: int) -> _Sonic | None:
        """None if espeak-ng was built without it."""
        return cls(library, rate) if hasattr(library, "sonicCreateStream") else None

    def stretch(self, speed: float, run: Callable[[_Write], None], write: _Write) -> None:
        """Run a synthesis, and pass its PCM on, ``speed`` times as fast."""
        stream = self._library.sonicCreateStream(self._rate, 1)
        self._library.sonicSetSpeed(stream, speed)
        buffer = ctypes.create_string_buffer(_PIECE_BYTES)

        def drain() -> None:
            while count := self._library.sonicReadShortFromStream(stream, buffer, _PIECE_BYTES // 2):
                write(buffer.raw[: count * 2])

        def feed(data: bytes) -> None:
            self._library.sonicWriteShortToStream(stream, data, len(data) // 2)
            drain()

        try:
            run(feed)
            self._library.sonicFlushStream(stream)
            drain()
        finally:
            self._library.sonicDestroyStream(stream)


class _Output:
    """Sends the rate and the first PCM that is not silent at once, and the rest in larger pieces."""

    def __init__(self, channel: Channel, rate: int) -> None:
        self._channel = channel
        self._rate = rate
        self._buffer = bytearray()
        self.begun = False

    def write(self, data: bytes) -> None:
        self._buffer += data
        if not self.begun and any(data):
            self.begun = True
            self._channel.write_piece(json.dumps({"rate": self._rate}).encode())
            self.flush()
        elif self.begun and len(self._buffer) >= _PIECE_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._buffer:
            self._channel.write_piece(bytes(self._buffer))
            self._buffer.clear()


class EspeakEngine:
    """Does the jobs. The first one loads the library, so that a missing package is reported to the caller."""

    def __init__(self) -> None:
        self._library: Library | None = None

    def do(self, job: dict[str, Any], channel: Channel, limits: Limits) -> None:
        """Do the job that ``op`` names."""
        {"voices": self._voices, "speak": self._speak}[job["op"]](job, channel)

    def _voices(self, job: dict[str, Any], channel: Channel) -> None:
        library = self._loaded()
        document = json.dumps({"voices": library.voices, "variants": sorted(library.variants)}).encode()
        for start in range(0, len(document), _PIECE_BYTES):
            channel.write_piece(document[start : start + _PIECE_BYTES])

    def _speak(self, job: dict[str, Any], channel: Channel) -> None:
        library = self._loaded()
        library.choose(job["language"], job["variant"], job["pitch"], job["range"], job["speed"])
        text = b"".join(channel.input()).decode()
        output = _Output(channel, library.rate)
        stretching = job["speed"] * _WORDS_PER_MINUTE / _SLOWEST
        if stretching < 1 and library.sonic is not None:
            library.sonic.stretch(stretching, lambda write: library.synthesize(text, write), output.write)
        else:
            library.synthesize(text, output.write)
        if not output.begun:
            raise Refusal(BadRequest, "The input contains nothing that can be spoken.", "input")
        output.flush()

    def _loaded(self) -> Library:
        if self._library is None:
            self._library = Library()
        return self._library


def _until_null(records: Any) -> Iterator[_VoiceRecord]:
    index = 0
    while records[index]:
        yield records[index].contents
        index += 1


def _load() -> tuple[ctypes.CDLL, str | None]:
    """The library, and the directory of its data; None if the library finds it itself."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        loader = importlib.import_module("espeakng_loader")
        return ctypes.CDLL(loader.get_library_path()), os.path.dirname(loader.get_data_path())
    with contextlib.suppress(OSError):
        return ctypes.CDLL("libespeak-ng.so.1"), None
    # If there is a compiler, this search uses it to write a file, which this process may not do: an OSError, too.
    with contextlib.suppress(OSError):
        if name := ctypes.util.find_library("espeak-ng"):
            return ctypes.CDLL(name), None
    raise Refusal(
        NotInstalled,
        "espeak-ng is not installed on this server: pip install 'audio-proxy[local]', or install the system's package.",
    )


if __name__ == "__main__":
    serve(EspeakEngine().do, descriptors=_DESCRIPTORS)
