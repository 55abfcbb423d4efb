"""Speech made faster or slower than the vendor speaks."""

from __future__ import annotations

import array
import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from proxy.audio import codec
from proxy.audio.codec import PcmFormat
from proxy.audio.pool import WorkerPool
from tests.audio import sounds
from tests.audio.conftest import WithPool
from tests.audio.test_codec import SPEECH, heard, whole

FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")


def seconds_of(data: bytes, name: str) -> float:
    return len(data) / 48_000 if name == "pcm" else heard(data, name)[0]


def hertz(samples: bytes) -> float:
    """By the changes of sign: the tone of the tests is one of 440 Hz."""
    values = array.array("h", samples)
    loud = [value for value in values if abs(value) > 200]
    changes = sum((a < 0) != (b < 0) for a, b in pairwise(loud))
    return changes / 2 / (len(values) / 24_000)


@pytest.mark.parametrize("tempo", [0.25, 0.6, 1.3, 2.0, 4.0])
@pytest.mark.parametrize("target", FORMATS)
def test_the_length_changes_by_the_factor(warm_pool: WithPool, target: str, tempo: float) -> None:
    async def test(pool: WorkerPool) -> None:
        stretched = codec.encode(pool, sounds.arriving(SPEECH), source=PcmFormat(), target=target, tempo=tempo)
        assert seconds_of(await whole(stretched), target) == pytest.approx(4 / tempo, rel=0.03, abs=0.13)

    warm_pool(test)


@pytest.mark.parametrize("tempo", [0.25, 0.6, 1.7, 4.0])
def test_the_pitch_stays(warm_pool: WithPool, tempo: float) -> None:
    async def test(pool: WorkerPool) -> None:
        stretched = codec.encode(pool, sounds.arriving(SPEECH), source=PcmFormat(), target="pcm", tempo=tempo)
        assert hertz(await whole(stretched)) == pytest.approx(hertz(SPEECH), rel=0.05)

    warm_pool(test)


@pytest.mark.parametrize("source", ["mp3", "opus", "aac", "flac", "wav"])
def test_encoded_sources_are_stretched_as_well(warm_pool: WithPool, source: str) -> None:
    async def test(pool: WorkerPool) -> None:
        encoded = await whole(codec.encode(pool, sounds.arriving(SPEECH), source=PcmFormat(), target=source))
        stretched = codec.transcode(pool, sounds.arriving(encoded), source_format=source, target="wav", tempo=0.5)
        assert seconds_of(await whole(stretched), "wav") == pytest.approx(8, rel=0.03)

    warm_pool(test)


@pytest.mark.parametrize("tempo", [0.25, 4.0])
@pytest.mark.parametrize("target", FORMATS)
def test_first_bytes_leave_before_the_input_ends(warm_pool: WithPool, target: str, tempo: float) -> None:
    async def test(pool: WorkerPool) -> None:
        heard_something = asyncio.Event()

        async def speaking() -> AsyncIterator[bytes]:
            for piece in sounds.pieces(SPEECH[: len(SPEECH) // 2]):
                yield piece
            await heard_something.wait()
            for piece in sounds.pieces(SPEECH[len(SPEECH) // 2 :]):
                yield piece

        size = 0
        async with asyncio.timeout(10):
            async for data in codec.encode(pool, speaking(), source=PcmFormat(), target=target, tempo=tempo):
                size += len(data)
                if size > 100:
                    heard_something.set()
        assert heard_something.is_set()

    warm_pool(test)
