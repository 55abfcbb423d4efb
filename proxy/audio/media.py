"""FFmpeg, through PyAV. Only this module imports PyAV, and only worker processes import this module."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Final, NoReturn, Protocol, cast

import av
import av.error
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph

from proxy.audio.channel import JobRefused
from proxy.audio.limits import Limits

#: FFmpeg's demuxer for each of `source.READABLE`. No other is used: no playlists, no probing.
DEMUXERS: Final = {
    "wav": "wav",
    "mp3": "mp3",
    "flac": "flac",
    "opus": "ogg",
    "ogg": "ogg",
    "aac": "aac",
    "mp4": "mov",
    "m4a": "mov",
    "3gp": "mov",
    "webm": "matroska",
    "aiff": "aiff",
    "caf": "caf",
    "amr": "amr",
    "mpeg": "mpeg",
}
_CODECS: Final = (
    "aac,aac_fixed,alac,amrnb,amrwb,flac,libopus,libopencore_amrnb,libopencore_amrwb,mp1,mp1float,mp2,mp2float,mp3,mp3float,"
    "opus,vorbis,libvorbis,gsm,gsm_ms,adpcm_ima_qt,adpcm_ima_wav,adpcm_ms,pcm_alaw,pcm_mulaw,pcm_f32be,pcm_f32le,pcm_f64be,"
    "pcm_f64le,pcm_s16be,pcm_s16le,pcm_s24be,pcm_s24le,pcm_s32be,pcm_s32le,pcm_s8,pcm_u8"
)
#: target → (muxer, its options, encoder, its options, bits per second or None)
_ENCODERS: Final[dict[str, tuple[str, dict[str, str], str, dict[str, str], int | None]]] = {
    "mp3": ("mp3", {"write_xing": "0", "id3v2_version": "0"}, "libmp3lame", {}, 96_000),
    "opus": ("ogg", {"page_duration": "60000"}, "libopus", {}, 48_000),
    "aac": ("adts", {}, "aac", {}, 96_000),
    "flac": ("flac", {}, "flac", {"frame_size": "1152"}, None),
}
#: Accepts files whose tags are not UTF-8. From version 19, PyAV always does, and no longer has the option.
_ANY_TAGS: Final[dict[str, Any]] = {"metadata_errors": "ignore"} if int(av.__version__.split(".")[0]) < 19 else {}
_OPUS_RATE: Final = 48_000
_MAX_PACKET_SECONDS: Final = 30
_WARM_UP_RATE: Final = 24_000


class Readable(Protocol):
    """What PyAV needs. A source that also has `seek` and `tell` is random access."""

    def read(self, size: int, /) -> bytes: ...


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    raise JobRefused("The file refers to other files, which is not supported.")


def open_input(
    source: Readable, container: str, limits: Limits, *, live: bool = False
) -> tuple[InputContainer, AudioStream]:
    """The demuxer and its first audio stream, within the limits. ``live``: read ahead as little as possible."""
    options = {
        "protocol_whitelist": "none",
        "format_whitelist": DEMUXERS[container],
        "codec_whitelist": _CODECS,
        "max_streams": "32",
        "fflags": "-genpts+bitexact",
    }
    if live:
        options |= {"probesize": "2048", "analyzeduration": "100000"}
    if container == "wav":
        options["max_size"] = "4096" if live else "65536"
    try:
        opened = av.open(
            source,
            "r",
            format=DEMUXERS[container],
            options=options,
            io_open=_refuse_to_open,
            buffer_size=4096 if live else 65536,
            **_ANY_TAGS,
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise JobRefused("The file cannot be read as audio; it may be damaged or incomplete.") from error
    return opened, _audio_stream(opened, limits)


def _audio_stream(container: InputContainer, limits: Limits) -> AudioStream:
    if not container.streams.audio:
        raise JobRefused("The file contains no audio.")
    stream = container.streams.audio[0]
    context = stream.codec_context
    if context is None or context.name not in _CODECS.split(","):
        raise JobRefused("The file's audio codec is not supported.")
    _check_shape(context.layout.nb_channels, context.sample_rate, limits)
    context.thread_count = 1
    return stream


def _check_shape(channels: int, rate: int, limits: Limits) -> None:
    if not 1 <= channels <= limits.channels:
        raise JobRefused(f"The audio has {channels} channels; at most {limits.channels} are supported.")
    if not 1 <= rate <= limits.rate:
        raise JobRefused(f"The audio has a sample rate of {rate} Hz; at most {limits.rate} Hz are supported.")


def measure(source: Readable, container: str, limits: Limits) -> dict[str, Any]:
    """The fields of `probe.AudioInfo`. The duration is measured from the packets: headers are not trusted."""
    opened, stream = open_input(source, container, limits)
    with opened:
        context = stream.codec_context
        info = {
            "duration": _packets_duration(opened, stream),
            "channels": context.layout.nb_channels,
            "rate": context.sample_rate,
            "codec": context.codec.canonical_name,
            "container": "ogg" if container == "opus" else container,
        }
    if info["duration"] == 0:
        raise JobRefused("The file contains no audio.")
    return info


def _packets_duration(container: InputContainer, stream: AudioStream) -> float | None:
    """Seconds: the sum of the packets' durations if they have them (bit rates are not trusted), else their span."""
    if stream.time_base is None:
        return None
    longest = _MAX_PACKET_SECONDS / stream.time_base
    total = unknown = 0
    times: list[int] = []  # the start of the first packet and the end of the last one
    for packet in _packets(container, stream):
        duration = packet.duration or 0
        if not 0 < duration <= longest:  # wrong, or miscalculated by FFmpeg at the end of an Ogg stream
            duration = 0
            unknown += 1
        total += duration
        if packet.pts is not None:
            end = packet.pts + duration
            times = [min(times[0], packet.pts), max(times[1], end)] if times else [packet.pts, end]
    if unknown <= 1:
        return float(total * stream.time_base)
    return float((times[1] - times[0]) * stream.time_base) if times else None


def _packets(container: InputContainer, stream: AudioStream) -> Iterator[Any]:
    """Packets up to the end, or up to where the file breaks off."""
    try:
        for packet in container.demux(stream):
            if packet.size:
                yield packet
    except (av.error.InvalidDataError, av.error.EOFError):
        return


def decode(source: Readable, container: str, limits: Limits, *, live: bool = False) -> Iterator[AudioFrame]:
    """Decoded frames of the first audio stream. Damaged packets are skipped; a file without good ones is refused."""
    opened, stream = open_input(source, container, limits, live=live)
    seconds = 0.0
    with opened:
        for packet in _packets_and_flush(opened, stream):
            for frame in _decode_packet(stream, packet):
                _check_shape(frame.layout.nb_channels, frame.sample_rate, limits)
                seconds += frame.samples / frame.sample_rate
                if seconds > limits.decoded_seconds:
                    raise JobRefused(f"The audio is longer than {limits.decoded_seconds:g} seconds.")
                yield frame
    if not seconds:
        raise JobRefused("The file contains no audio that can be decoded.")


def _packets_and_flush(container: InputContainer, stream: AudioStream) -> Iterator[Any]:
    yield from _packets(container, stream)
    yield None


def _decode_packet(stream: AudioStream, packet: Any) -> list[AudioFrame]:
    try:
        return stream.codec_context.decode(packet)
    except (av.error.InvalidDataError, av.error.EOFError):
        return []


class Resampler:
    """Any frames → s16 mono frames at one rate, even if the format of the input changes midway."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._shape: tuple[str, str, int] | None = None
        self._resampler = AudioResampler(format="s16", layout="mono", rate=rate)

    def feed(self, frame: AudioFrame) -> list[AudioFrame]:
        """The output that is ready after this frame."""
        ready: list[AudioFrame] = []
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            ready = self.finish() if self._shape else []
            self._shape = shape
            self._resampler = AudioResampler(format="s16", layout="mono", rate=self._rate)
        frame.pts = None
        return ready + self._resampler.resample(frame)

    def finish(self) -> list[AudioFrame]:
        """The remaining output."""
        return [frame for frame in self._resampler.resample(None) if frame is not None]


def frame_bytes(frame: AudioFrame) -> bytes:
    """The samples of an s16 mono frame as s16le, without FFmpeg's padding."""
    return bytes(memoryview(frame.planes[0])[: frame.samples * 2])


class PcmReader:
    """s16le bytes in chunks of any size → frames."""

    def __init__(self, rate: int, channels: int) -> None:
        self._rate = rate
        self._layout = "mono" if channels == 1 else "stereo"
        self._sample_bytes = 2 * channels
        self._rest = b""

    def feed(self, data: bytes) -> AudioFrame | None:
        """A frame with all complete samples so far; an incomplete one is kept for the next call."""
        data = self._rest + data
        samples = len(data) // self._sample_bytes
        self._rest = data[samples * self._sample_bytes :]
        if not samples:
            return None
        frame = AudioFrame(format="s16", layout=self._layout, samples=samples)
        frame.sample_rate = self._rate
        plane = frame.planes[0]
        plane.update(data[: samples * self._sample_bytes].ljust(plane.buffer_size, b"\x00"))
        return frame


class _Sink:
    """A write-only file for FFmpeg. It cannot seek, so FFmpeg never rewrites a header."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        """Called by FFmpeg for each packet."""
        self._write(data)
        return len(data)


class Encoder:
    """Encodes frames in one of the six speech formats, and writes the bytes as soon as the codec returns them."""

    def __init__(self, target: str, rate: int, write: Callable[[bytes], None]) -> None:
        muxer, muxer_options, encoder, encoder_options, bit_rate = _ENCODERS[target]
        self._rate = _OPUS_RATE if target == "opus" else rate
        self._resampler = Resampler(self._rate)
        self._samples = 0
        self._container: OutputContainer = av.open(
            _Sink(write), "w", format=muxer, options={"flush_packets": "1", "fflags": "+bitexact"} | muxer_options
        )
        stream = self._container.add_stream(encoder, rate=self._rate, layout="mono", options=encoder_options)
        self._stream = cast(AudioStream, stream)
        self._stream.codec_context.thread_count = 1
        if bit_rate is not None:
            self._stream.codec_context.bit_rate = bit_rate

    def feed(self, frame: AudioFrame) -> None:
        """Encode one frame of any format."""
        self._encode(self._resampler.feed(frame))

    def finish(self) -> None:
        """Encode the rest and end the stream."""
        self._encode(self._resampler.finish())
        self._container.mux(self._stream.encode(None))
        self._container.close()

    def _encode(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            frame.pts = self._samples
            frame.time_base = Fraction(1, self._rate)
            self._samples += frame.samples
            self._container.mux(self._stream.encode(frame))


class PcmEncoder:
    """Like `Encoder`, for headerless s16le."""

    def __init__(self, rate: int, write: Callable[[bytes], None]) -> None:
        self._resampler = Resampler(rate)
        self._write = write

    def feed(self, frame: AudioFrame) -> None:
        """Resample one frame of any format."""
        for ready in self._resampler.feed(frame):
            self._write(frame_bytes(ready))

    def finish(self) -> None:
        """Write the rest."""
        for ready in self._resampler.finish():
            self._write(frame_bytes(ready))


class FrameSink(Protocol):
    """Receives frames, then `finish`."""

    def feed(self, frame: AudioFrame) -> None: ...

    def finish(self) -> None: ...


class Stretcher:
    """Passes frames on to `sink`, `tempo` times as fast at the same pitch.

    FFmpeg's atempo sounds best between half and twice the speed, so several of them are chained for other speeds.
    """

    def __init__(self, tempo: float, rate: int, sink: FrameSink) -> None:
        self._rate = rate
        self._sink = sink
        self._resampler = Resampler(rate)
        self._samples = 0
        self._graph = Graph()
        source = self._graph.add_abuffer(
            format="s16", sample_rate=rate, layout="mono", time_base=Fraction(1, rate), name="in"
        )
        steps = max(1, math.ceil(abs(math.log2(tempo)) - 1e-9))
        factor = tempo ** (1 / steps)
        chain = [self._graph.add("atempo", f"{factor:.9f}") for _ in range(steps)]
        self._graph.link_nodes(source, *chain, self._graph.add("abuffersink")).configure()

    def feed(self, frame: AudioFrame) -> None:
        """Stretch one frame of any format."""
        self._push(self._resampler.feed(frame))

    def finish(self) -> None:
        """Stretch the rest and finish the sink."""
        self._push(self._resampler.finish())
        self._graph.push(None)
        self._pull()
        self._sink.finish()

    def _push(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            frame.pts = self._samples
            frame.time_base = Fraction(1, self._rate)
            self._samples += frame.samples
            self._graph.push(frame)
            self._pull()

    def _pull(self) -> None:
        while True:
            try:
                frame = self._graph.pull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            self._sink.feed(cast(AudioFrame, frame))


def encoder(target: str, rate: int, write: Callable[[bytes], None]) -> Encoder | PcmEncoder:
    """The encoder of a target: pcm, or a key of `_ENCODERS`."""
    return PcmEncoder(rate, write) if target == "pcm" else Encoder(target, rate, write)


def warm_up() -> None:
    """Stretch, encode and decode 0.1 s, so that PyAV imports everything while the process may still open files."""
    written = bytearray()
    silence = PcmReader(_WARM_UP_RATE, 1).feed(bytes(_WARM_UP_RATE // 5))
    first = Stretcher(1.5, _WARM_UP_RATE, Encoder("mp3", _WARM_UP_RATE, written.extend))
    if silence is not None:
        first.feed(silence)
    first.finish()
    for frame in decode(io.BytesIO(written), "mp3", Limits()):
        frame_bytes(frame)
