from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator

import av
import pytest

from proxy.audio import codec, formats, wav
from proxy.audio.codec import PcmFormat
from proxy.audio.pool import WorkerPool
from proxy.errors import InvalidAudio, UnsupportedValue, UpstreamInvalid
from tests.audio import sounds
from tests.audio.conftest import WithPool

SPEECH = sounds.pcm(4)
ENCODED = ("mp3", "opus", "aac", "flac", "wav")


async def whole(stream: AsyncIterator[bytes]) -> bytes:
    return b"".join([data async for data in stream])


def heard(data: bytes, name: str) -> tuple[float, int, int]:
    """Seconds, rate and channels, by FFmpeg in this process (the tests' own files are trusted)."""
    with av.open(io.BytesIO(data), "r", format={"opus": "ogg"}.get(name, name)) as container:
        stream = container.streams.audio[0]
        frames = list(container.decode(stream))
        return sum(f.samples for f in frames) / stream.rate, stream.rate, stream.channels


def loudness(samples: bytes) -> float:
    values = memoryview(samples).cast("h")
    return sum(abs(value) for value in values) / len(values)


@pytest.mark.parametrize("rate", [24_000, 44_100])
def test_every_format_holds_the_whole_sound(warm_pool: WithPool, rate: int) -> None:
    samples = sounds.pcm(4, rate)

    async def test(pool: WorkerPool) -> None:
        for target in ENCODED:
            data = await whole(codec.encode(pool, sounds.arriving(samples), source=PcmFormat(rate), target=target))
            assert formats.sniff(data) == target
            seconds, found_rate, channels = heard(data, target)
            assert seconds == pytest.approx(4, rel=0.05)
            assert (found_rate, channels) == (48_000 if target == "opus" else 24_000, 1)
            decoded = await whole(codec.decode(pool, data, rate=24_000))
            assert len(decoded) / 48_000 == pytest.approx(4, rel=0.05)
            assert loudness(decoded) == pytest.approx(loudness(SPEECH), rel=0.1)
        pcm = await whole(codec.encode(pool, sounds.arriving(samples), source=PcmFormat(rate), target="pcm"))
        assert len(pcm) == pytest.approx(len(SPEECH), rel=0.01)

    warm_pool(test)


def test_stereo_and_samples_cut_in_two(warm_pool: WithPool) -> None:
    stereo = b"".join(SPEECH[i : i + 2] * 2 for i in range(0, len(SPEECH), 2))

    async def test(pool: WorkerPool) -> None:
        data = await whole(
            codec.encode(pool, sounds.arriving(stereo, 1001), source=PcmFormat(24_000, 2), target="flac")
        )
        assert heard(data, "flac") == (4, 24_000, 1)

    warm_pool(test)


def test_pcm_and_wav_at_their_own_rate_need_no_worker(with_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        assert await whole(codec.encode(pool, sounds.arriving(SPEECH), source=PcmFormat(), target="pcm")) == SPEECH
        data = await whole(codec.encode(pool, sounds.arriving(SPEECH), source=PcmFormat(), target="wav"))
        assert data == sounds.wav(SPEECH, size=0xFFFFFFFF)
        again = codec.transcode(pool, sounds.arriving(data, 7), source_format="wav", target="pcm")
        assert await whole(again) == SPEECH
        assert pool.workers == 0

    with_pool(test)


@pytest.mark.parametrize("target", [*ENCODED, "pcm"])
def test_first_bytes_leave_before_the_input_ends(warm_pool: WithPool, target: str) -> None:
    async def test(pool: WorkerPool) -> None:
        heard_something = asyncio.Event()

        async def speaking() -> AsyncIterator[bytes]:
            for piece in sounds.pieces(SPEECH[: len(SPEECH) // 4]):
                yield piece
            await asyncio.wait_for(heard_something.wait(), 20)  # the rest is only said when someone has heard the first

        async with contextlib.aclosing(codec.encode(pool, speaking(), source=PcmFormat(), target=target)) as output:
            async for data in output:
                assert data
                heard_something.set()
        assert heard_something.is_set()

    warm_pool(test)


@pytest.mark.parametrize("source", [*ENCODED, "webm without a duration", "mp4 in fragments"])
@pytest.mark.parametrize("target", ["mp3", "wav"])
def test_transcoding_is_a_stream_too(warm_pool: WithPool, source: str, target: str) -> None:
    async def test(pool: WorkerPool) -> None:
        if source in formats.SPEECH_FORMATS:
            given = await whole(codec.encode(pool, sounds.arriving(SPEECH), source=PcmFormat(), target=source))
        else:
            given = sounds.file(source, SPEECH)
        sent = 0

        async def arriving() -> AsyncIterator[bytes]:
            nonlocal sent
            async for piece in sounds.arriving(given, 700):
                sent += len(piece)
                yield piece

        first_after = 0
        data = b""
        container = formats.sniff(given) or source
        async for piece in codec.transcode(pool, arriving(), source_format=container, target=target):
            first_after = first_after or sent
            data += piece
        assert heard(data, target)[0] == pytest.approx(4, rel=0.05)
        if source != "mp4 in fragments":
            assert first_after < len(given) * 0.6

    warm_pool(test)


def test_wav_trailers_are_not_sound(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        given = sounds.wav(SPEECH) + b"LIST\x04\0\0\0INFO"
        output = codec.transcode(pool, sounds.arriving(given), source_format="wav", target="pcm")
        assert await whole(output) == SPEECH
        floats = sounds.file("wav of floats", SPEECH)
        data = await whole(codec.transcode(pool, sounds.arriving(floats), source_format="wav", target="flac"))
        assert heard(data, "flac")[0] == pytest.approx(4, rel=0.01)

    warm_pool(test)


@pytest.mark.parametrize(
    "answer", [b"", b'{"error": {"message": "quota"}}', b"<html><body>502</body></html>", b"\x12" * 5000]
)
def test_an_answer_that_is_no_audio_is_the_vendors_fault(warm_pool: WithPool, answer: bytes) -> None:
    async def test(pool: WorkerPool) -> None:
        with pytest.raises(UpstreamInvalid):
            await whole(codec.transcode(pool, sounds.arriving(answer, 10), source_format="mp3", target="wav"))

    warm_pool(test)


def test_unknown_target(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        with pytest.raises(UnsupportedValue, match="mp3, opus"):
            await whole(codec.encode(pool, sounds.arriving(b""), source=PcmFormat(), target="ogg"))

    warm_pool(test)


def test_decode_is_bounded(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        data = sounds.wav(SPEECH)
        assert len(await whole(codec.decode(pool, data, max_seconds=4.01))) == 4 * 32_000
        with pytest.raises(InvalidAudio, match="longer than 3 seconds"):
            await whole(codec.decode(pool, data, max_seconds=3))

    warm_pool(test)


def test_a_slow_reader_slows_the_source_down(warm_pool: WithPool) -> None:
    async def test(pool: WorkerPool) -> None:
        pulled = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal pulled
            while True:
                pulled += 1
                yield SPEECH[:9600]

        async with contextlib.aclosing(codec.encode(pool, endless(), source=PcmFormat(), target="mp3")) as output:
            await anext(output)
            before = pulled
            await asyncio.sleep(0.2)
            assert pulled == before

    warm_pool(test)


def test_wav_header_parser() -> None:
    data = sounds.wav(SPEECH, rate=16_000)
    assert [wav.parse(data[:size]) for size in (0, 12, 30, 43)] == [None] * 4
    assert wav.parse(data) == wav.Header(16_000, 1, 44, len(SPEECH))
    assert wav.parse(wav.header(24_000)) == wav.Header(24_000, 1, 44, None)
    odd = data[:12] + b"JUNK\x03\0\0\0abc\0" + data[12:]
    assert wav.parse(odd) == wav.Header(16_000, 1, 56, len(SPEECH))
    assert [header and header.is_s16 for header in map(wav.parse, (data, sounds.wav(SPEECH, channels=3)))] == [
        True,
        False,
    ]
    for content in (b"RIFX" + data[4:], data[:12] + data[36:]):
        with pytest.raises(ValueError, match=r"little-endian|before fmt"):
            wav.parse(content)
