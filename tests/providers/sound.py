"""One sound for the whole session, in every format that a vendor may send: made here, stored nowhere."""

from __future__ import annotations

import io
from functools import cache

import av

from tests.audio import sounds

SECONDS = 1.2
PIECES = 6
CONTENT_TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_MUXERS = {"mp3": ("mp3", "libmp3lame"), "opus": ("ogg", "libopus"), "aac": ("adts", "aac"), "flac": ("flac", "flac")}


@cache
def sound(format: str, rate: int = 24_000) -> tuple[bytes, ...]:
    """A tone of `SECONDS`, mono, as a vendor would send it: in `PIECES` pieces that joined are the file.

    ``format`` is one of OpenAI's six; ``rate`` matters to all but opus.
    """
    whole = whole_sound(format, rate)
    size = -(-len(whole) // PIECES)
    size += size % 2  # pcm goes out in whole samples
    return tuple(whole[start : start + size] for start in range(0, len(whole), size))


@cache
def whole_sound(format: str, rate: int = 24_000) -> bytes:
    samples = sounds.pcm(SECONDS, rate)
    if format == "pcm":
        return samples
    if format == "wav":
        return sounds.wav(samples, rate=rate)
    muxer, encoder = _MUXERS[format]
    target = io.BytesIO()
    with av.open(target, "w", format=muxer) as container:
        stream = container.add_stream(encoder, rate=48_000 if format == "opus" else rate, layout="mono")
        resampler = av.AudioResampler(format=stream.format, layout="mono", rate=stream.rate)
        frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
        frame.sample_rate = rate
        frame.planes[0].update(samples.ljust(frame.planes[0].buffer_size, b"\0"))
        for ready in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(ready))
        container.mux(stream.encode(None))
    return target.getvalue()


def seconds(audio: bytes, format: str) -> float:
    """How long it plays. Raises AssertionError where it is no file of that format."""
    if format == "pcm":
        assert len(audio) % 2 == 0
        return len(audio) / 2 / 24_000
    with av.open(io.BytesIO(audio)) as container:
        names = {"mp3": "mp3", "opus": "ogg", "aac": "aac", "flac": "flac", "wav": "wav"}
        assert container.format.name == names[format]
        return float(sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0)))
